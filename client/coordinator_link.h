// The client's way to the coordinator: gRPC on its own threads, so that the
// client's thread never waits for it.
//
// Thread-safety: all functions belong to the client's thread. Ownership: the
// fabric outlives it; it is woken when there is something to deliver.
#ifndef WHALE_CLIENT_COORDINATOR_LINK_H_
#define WHALE_CLIENT_COORDINATOR_LINK_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/core.h"
#include "control/cluster_client.h"
#include "fabric/fabric.h"

namespace whale::client {

class CoordinatorLink final : public MapSource {
 public:
  CoordinatorLink(const std::vector<std::string>& coordinators,
                  const control::ClientSecurity& security,
                  fabric::Fabric* fabric);

  // One question of each kind is on its way at a time.
  void RequestMap(uint64_t known_version) override;
  void RequestSession() override;

  // Hands what has arrived to the core.
  void Deliver(Core* core) {
    if (arrived_.load(std::memory_order_acquire)) DeliverArrived(core);
  }

 private:
  void DeliverArrived(Core* core);
  template <typename T>
  void Arrive(std::optional<absl::StatusOr<T>>* slot, absl::StatusOr<T> answer);

  fabric::Fabric* const fabric_;
  bool asking_map_ = false;
  bool asking_session_ = false;

  std::atomic<bool> arrived_ = false;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::optional<absl::StatusOr<proto::ClusterMap>> map_;
  std::optional<absl::StatusOr<proto::OpenSessionReply>> session_;

  // Last: its destructor runs the callbacks of what it cancels.
  control::AsyncClusterClient coordinator_;
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_COORDINATOR_LINK_H_

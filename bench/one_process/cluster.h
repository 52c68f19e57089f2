// A whole cluster and a client in one thread of one process, over the real
// shared-memory fabric: for counting instructions and for profilers, which
// want the same work in every run.
//
// Servers, client and coordinator are those of the programs; what differs is
// that they take turns, and that the driver says how long these took.
//
// Thread-safety: none. Ownership: owns everything; a directory in TMPDIR for
// sockets goes with it.
#ifndef WHALE_BENCH_ONE_PROCESS_CLUSTER_H_
#define WHALE_BENCH_ONE_PROCESS_CLUSTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/core.h"
#include "common/clock.h"
#include "control/coordinator_core.h"
#include "fabric/fabric.h"
#include "logstore/pool.h"
#include "node/server.h"
#include "pmem/shm_domain.h"

namespace whale::bench::one_process {

struct ClusterOptions {
  uint32_t replicas = 3;
  uint32_t shards = 3;
  uint32_t mirrors = 1;
  uint64_t log_bytes = uint64_t{64} << 20;  // room per server
};

// Time as the turns count it.
class TurnClock final : public Clock {
 public:
  int64_t NowNs() override { return now_ns_; }
  void Advance(int64_t ns) { now_ns_ += ns; }

 private:
  int64_t now_ns_ = 1'000'000'000;
};

class Cluster final : public client::MapSource {
 public:
  // Server 1 is primary of all shards. Returns when a client can write.
  // Errors: kResourceExhausted, kDeadlineExceeded (it does not form).
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(
      const ClusterOptions& options);
  ~Cluster() override;

  client::Core& client() { return *client_; }
  // One turn each. Callbacks of the client run in TurnClient; it returns how
  // many.
  size_t TurnClient() { return client_->Step(); }
  void TurnPrimary() { servers_[0]->server->Step(); }
  void TurnBackups();
  // Moves the clock on and does what the coordinator is asked for.
  void TurnControl(int64_t elapsed_ns);

 private:
  explicit Cluster(const ClusterOptions& options) : options_(options) {}
  absl::Status Form();
  absl::Status AddServer(uint32_t id);
  void Apply(control::Effects effects);
  // client::MapSource
  void RequestMap(uint64_t known_version) override;
  void RequestSession() override;

  struct Server final : public node::ControlLink {
    ~Server() override;
    void Send(const proto::ServerReport& report) override {
      reports.push_back(report);
    }
    pmem::ShmDomain domain;
    int fd = -1;
    std::byte* map = nullptr;
    uint64_t map_bytes = 0;
    std::unique_ptr<fabric::Fabric> fabric;
    std::unique_ptr<logstore::Pool> pool;
    std::unique_ptr<node::Server> server;
    std::vector<proto::ServerReport> reports;
  };

  const ClusterOptions options_;
  std::string directory_;
  TurnClock clock_;
  std::unique_ptr<control::CoordinatorCore> coordinator_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<fabric::Fabric> client_fabric_;
  std::unique_ptr<client::Core> client_;
  int64_t ticked_ns_ = 0;
  bool map_wanted_ = false, session_wanted_ = false;
};

}  // namespace whale::bench::one_process

#endif  // WHALE_BENCH_ONE_PROCESS_CLUSTER_H_

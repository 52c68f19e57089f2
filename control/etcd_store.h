// A configuration store in etcd: "etcd:http://host:port,...".
//
// The state is the value of one key. Whoever holds the other key, "leader",
// with an etcd lease leads; a background thread prolongs it. Every write
// compares both: that the state is the one last seen, and that the leader's key
// is still ours. So a former leader writes nothing, whatever its clock says;
// what it granted ends with its term, which is counted from before each
// prolongation was asked for, on a clock that runs while the machine sleeps.
//
// Thread-safety: as ConfigStore; LeadershipEndNs from any thread. Ownership:
// `clock` outlives the store.
#ifndef WHALE_CONTROL_ETCD_STORE_H_
#define WHALE_CONTROL_ETCD_STORE_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/clock.h"
#include "control/config_store.h"
#include "control/etcd_client.h"

namespace whale::control {

class EtcdStore final : public ConfigStore {
 public:
  EtcdStore(std::unique_ptr<EtcdClient> client, const StoreOptions& options,
            std::string name);
  // Gives the leadership up.
  ~EtcdStore() override;

  absl::StatusOr<bool> Campaign(absl::Duration timeout,
                                std::string* leader) override;
  absl::StatusOr<std::optional<proto::StoredState>> Load() override;
  absl::Status CompareAndSwap(uint64_t expected_revision,
                              const proto::StoredState& next) override;
  int64_t LeadershipEndNs() const override { return leads_until_ns_; }
  std::string Name() const override { return name_; }

 private:
  absl::Status EnsureLease(absl::Duration timeout);
  // One attempt to become the leader; `leader`: who is, if it is not us.
  absl::StatusOr<bool> TryToLead(absl::Duration timeout, std::string* leader);
  // Takes what a read of the state key brought.
  absl::StatusOr<std::optional<proto::StoredState>> Take(
      const etcdserverpb::RangeResponse& response);
  void NoteTerm(int64_t asked_ns, int64_t seconds);
  void KeepLeading();

  const std::unique_ptr<EtcdClient> client_;
  const StoreOptions options_;
  const std::string name_;
  const std::string leader_key_;
  const std::string state_key_;

  std::atomic<int64_t> lease_ = 0;  // 0: none
  std::atomic<int64_t> leads_until_ns_ = 0;
  int64_t leader_since_ = 0;    // create revision of our leader key
  int64_t state_revision_ = 0;  // mod revision of the state last seen

  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread keeper_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_ETCD_STORE_H_

// What goes wrong in a run, and when: drawn from the seed (swarm testing,
// Groce et al., ISSTA 2012: each run has its own subset of the kinds of fault).
//
// Never more damage than the store promises to survive: memory comes back as
// its domain says, but one pool at a time where there are mirrors; crashed
// processes are started again, links are healed.
//
// Thread-safety: none. Ownership: cluster and workload outlive it.
#ifndef WHALE_SIM_FAULTS_H_
#define WHALE_SIM_FAULTS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sim/cluster.h"
#include "sim/workload.h"

namespace whale::sim {

enum class Fault : uint8_t {
  kCrashServer,
  kCrashAllServers,
  kPowerServer,
  kPowerAll,
  kPauseServer,
  kSlowServer,
  kCutOneWay,
  kCutBothWays,
  kKillConnection,
  kCrashCoordinator,
  kPauseCoordinator,
  kKillClient,
  kPauseClient,
  // Longer than a lease: the others go on without it.
  kLongCrash,
  kLongPause,
  kNoCoordinator,  // one way or both
  kLosePool,
  // Among servers and coordinator; clients still reach it.
  kIsolateServer,
  kRotLog,  // a bit, while the server is down
  // Another coordinator leads; one server is alone with the former.
  kTakeOver,
  // The coordinator and a member, once the next configuration is stored.
  kCrashAtStore,
};
inline constexpr size_t kFaultKinds = 21;
const char* FaultName(Fault fault);

struct FaultOptions {
  std::array<bool, kFaultKinds> enabled{};
  int64_t mean_pause_ns = 300 * kMillisecond;
  int64_t max_down_ns = 300 * kMillisecond;
  int64_t max_long_ns = 3 * kSecond;
  // Pools are lost without mirrors, too: values are.
  bool lose_values = false;
};

class Faults {
 public:
  Faults(Cluster* cluster, Workload* workload, const FaultOptions& options);

  void Start();
  // Nothing more goes wrong, and all that did is mended.
  void Heal();
  const std::array<uint64_t, kFaultKinds>& counts() const { return counts_; }
  uint64_t pools_lost() const { return pools_lost_; }

 private:
  void Plan();
  void Inject(Fault fault);
  int64_t DownTime() {
    return cluster_->world().Between(kMillisecond, options_.max_down_ns);
  }
  size_t AnyServer() {
    return cluster_->world().random().Below(cluster_->server_count());
  }
  size_t PrimaryOf(int shard);
  int64_t LongTime() {
    return cluster_->world().Between(cluster_->setup().lease_us * 1000,
                                     options_.max_long_ns);
  }
  void CrashServer(size_t index, bool power, int64_t down_ns);
  void CrashAll(bool power);
  void WhenWhole(std::function<void()> harm);
  void LosePool(size_t index);
  void RotLog(size_t index);
  void IsolateServer();
  void TakeOver();
  void CrashAtStore(const proto::StoredShard& stored);
  // A server or a client.
  void CutFromCoordinator();
  void SlowServer();
  void Cut(bool both_ways);
  // From one node to another.
  using Links = std::vector<std::pair<uint32_t, uint32_t>>;
  void CutFor(const Links& links, int64_t for_ns);
  void CrashCoordinator();

  Cluster* const cluster_;
  Workload* const workload_;
  const FaultOptions options_;
  bool healed_ = false;
  bool at_next_store_ = false;
  std::array<uint64_t, kFaultKinds> counts_{};
  uint64_t pools_lost_ = 0;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_FAULTS_H_

// One server in the simulator: a machine (memory, clock) and, while it runs, a
// process on it (fabric, pool, node::Server).
//
// Thread-safety: none. Ownership: network and world outlive it.
#ifndef WHALE_SIM_SERVER_NODE_H_
#define WHALE_SIM_SERVER_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "logstore/pool.h"
#include "node/server.h"
#include "sim/sim_clock.h"
#include "sim/sim_fabric.h"
#include "sim/sim_memory.h"
#include "sim/stepper.h"

namespace whale::sim {

struct ServerNodeOptions {
  ServerId id;
  logstore::Geometry geometry;
  pmem::Survives survives = pmem::Survives::kProcess;
  int64_t clock_offset_ns = 0;
  int64_t clock_drift_ppm = 0;
};

class ServerNode final : public node::ControlLink {
 public:
  // Reports of the running process go here.
  using ReportSink = std::function<void(const proto::ServerReport&)>;

  ServerNode(World* world, SimNetwork* network,
             const ServerNodeOptions& options, ReportSink reports);
  ~ServerNode() override;

  uint32_t node() const { return options_.id.value(); }
  ServerId id() const { return options_.id; }
  bool running() const { return server_ != nullptr && !dead_; }
  Incarnation incarnation() const { return incarnation_; }
  node::Server* server() { return server_.get(); }
  logstore::Pool* pool() { return pool_.get(); }
  SimMemory* memory() { return &memory_; }
  // REQUIRES: running().
  const SimFabric& fabric() const { return *fabric_; }
  // The newest of what it told the operator, in all its lives. Among honest
  // neighbours there is nothing to tell.
  const std::string& warning() const { return warning_; }

  // Formats the pool the first time, recovers it later. A pool that cannot be
  // opened or recovered is an error: the simulator never harms what was
  // promised.
  absl::Status Start();
  // The process dies; with `power` the machine does.
  void Crash(bool power);
  // The same, but in the middle of a turn: before the `effects`-th time from
  // now that it persists, posts or sends something. `then` runs at that time.
  void CrashAfter(uint64_t effects, bool power, std::function<void()> then);
  // The crash that CrashAfter asked for and that has not come does not come.
  void CancelCrash() { effects_left_ = 0; }
  // The pool is gone for good; the next start begins with an empty one.
  // REQUIRES: !running().
  void LosePool();
  // A byte of a record that was there before the epoch began, so that nobody
  // takes it for a torn write; none if there is no such record. From now on the
  // server may say that its shard is damaged, until it holds it again.
  std::optional<size_t> PlaceToRot();
  bool MayBeDamaged(const proto::ShardReport& report);
  bool is_rotten() const { return rotten_shard_.has_value(); }
  void PauseUntil(int64_t time_ns);
  void Resume();
  // Turns take so many times longer.
  void SetSlowness(int64_t factor);

  void OnDirective(const proto::Directive& directive);
  void Wake();

  void Send(const proto::ServerReport& report) override;

 private:
  int64_t Turn();
  void OnEffect();
  void Die(bool power);
  void Bury();

  World* const world_;
  SimNetwork* const network_;
  ServerNodeOptions options_;
  const ReportSink reports_;
  SimMemory memory_;
  SimClock clock_;
  bool formatted_ = false;
  std::optional<uint32_t> rotten_shard_;
  std::string warning_;
  Incarnation incarnation_;
  int64_t turn_cost_ns_ = 1 * kMicrosecond;

  // A crash that is to come: effects left until then; 0: none.
  uint64_t effects_left_ = 0;
  bool crash_power_ = false;
  std::function<void()> after_crash_;
  bool in_turn_ = false;
  bool dead_ = false;  // died in a turn that is not over

  // For the next turn; a process that stands still takes none.
  std::vector<proto::Directive> directives_;
  std::unique_ptr<SimFabric> fabric_;
  std::unique_ptr<logstore::Pool> pool_;
  std::unique_ptr<node::Server> server_;
  std::unique_ptr<Stepper> stepper_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SERVER_NODE_H_

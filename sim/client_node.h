// One client process in the simulator: the SDK's core over a simulated fabric,
// its questions to the coordinator over a simulated channel.
//
// Thread-safety: none. Ownership: what the constructor gets outlives it.
#ifndef WHALE_SIM_CLIENT_NODE_H_
#define WHALE_SIM_CLIENT_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "client/core.h"
#include "sim/coordinator_node.h"
#include "sim/sim_clock.h"
#include "sim/sim_fabric.h"
#include "sim/stepper.h"

namespace whale::sim {

struct ClientNodeOptions {
  uint32_t node = 0;
  uint32_t coordinator_node = 0;
  uint64_t seed = 1;
  int64_t clock_offset_ns = 0;
  int64_t clock_drift_ppm = 0;
  uint64_t inline_value_max_bytes = 1024;
};

class ClientNode final : public client::MapSource {
 public:
  // Whoever leads now.
  using Coordinator = std::function<CoordinatorNode&()>;

  ClientNode(World* world, SimNetwork* network, Coordinator coordinator,
             const ClientNodeOptions& options);
  // The process dies: callbacks of unfinished operations do not run.
  ~ClientNode() override;

  uint32_t node() const { return options_.node; }
  client::Core* core() { return core_.get(); }
  void Submit(const client::Operation& operation,
              absl::AnyInvocable<void(client::OperationResult)> done);
  void PauseUntil(int64_t time_ns) { stepper_->PauseUntil(time_ns); }
  void Resume() { stepper_->Resume(); }
  void Wake() { stepper_->Wake(); }

  void RequestMap(uint64_t known_version) override;
  void RequestSession() override;

 private:
  int64_t Turn();
  bool CoordinatorReachable() const;
  int64_t Delay() { return world_->Between(50 * kMicrosecond, kMillisecond); }
  // Runs `action` later unless this process is gone by then.
  void Later(absl::AnyInvocable<void()> action);
  void AnswerMap(uint64_t known_version, int64_t until_ns);

  World* const world_;
  SimNetwork* const network_;
  const Coordinator coordinator_;
  const ClientNodeOptions options_;
  SimClock clock_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<SimFabric> fabric_;
  std::unique_ptr<client::Core> core_;
  std::unique_ptr<Stepper> stepper_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_CLIENT_NODE_H_

// When a simulated process gets the processor: turns, wake-ups, pauses.
//
// Between two turns a process sleeps until the time its last turn named or
// until something wakes it. Each turn costs virtual time. A paused process
// (SIGSTOP, a long page fault) takes no turn; its memory and its adapter go on.
//
// Thread-safety: none. Ownership: events that are still queued when a stepper
// goes find out and do nothing.
#ifndef WHALE_SIM_STEPPER_H_
#define WHALE_SIM_STEPPER_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "sim/world.h"

namespace whale::sim {

class Stepper {
 public:
  // `turn` does one turn and returns the world time of the next; times that
  // have passed mean at once.
  Stepper(World* world, std::function<int64_t()> turn)
      : world_(world), turn_(std::move(turn)) {}

  // Something happened; the turn comes soon.
  void Wake() {
    Plan(std::max(world_->now_ns() + world_->Between(200, 3000),
                  last_turn_ns_ + turn_cost_ns_));
  }
  void PauseUntil(int64_t time_ns) {
    paused_until_ns_ = std::max(paused_until_ns_, time_ns);
  }
  void Resume() {
    paused_until_ns_ = 0;
    Wake();
  }
  void set_turn_cost_ns(int64_t cost_ns) { turn_cost_ns_ = cost_ns; }

 private:
  void Plan(int64_t time_ns) {
    if (planned_ns_ <= time_ns) return;
    planned_ns_ = time_ns;
    std::weak_ptr<int> alive = alive_;
    world_->At(time_ns, [this, alive, time_ns] {
      if (alive.expired() || planned_ns_ != time_ns) return;
      planned_ns_ = INT64_MAX;
      Turn();
    });
  }
  void Turn() {
    if (world_->now_ns() < paused_until_ns_) return Plan(paused_until_ns_);
    last_turn_ns_ = world_->now_ns();
    std::weak_ptr<int> alive = alive_;
    const int64_t next_ns = turn_();
    if (alive.expired() || next_ns == INT64_MAX) return;
    Plan(std::max(next_ns, last_turn_ns_ + turn_cost_ns_));
  }

  World* const world_;
  const std::function<int64_t()> turn_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  int64_t planned_ns_ = INT64_MAX;
  int64_t last_turn_ns_ = 0;
  int64_t paused_until_ns_ = 0;
  int64_t turn_cost_ns_ = 1 * kMicrosecond;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_STEPPER_H_

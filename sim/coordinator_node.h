// The coordinator's process in the simulator: the real core, over a simulated
// store, clock and control channel.
//
// Thread-safety: none. Ownership: world, network, clock and store outlive it.
#ifndef WHALE_SIM_COORDINATOR_NODE_H_
#define WHALE_SIM_COORDINATOR_NODE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "control/coordinator_core.h"
#include "sim/sim_clock.h"
#include "sim/sim_config_store.h"
#include "sim/world.h"

namespace whale::sim {

class CoordinatorNode {
 public:
  using DirectiveSink = std::function<void(const control::SendDirective&)>;
  using SessionSink = std::function<void(uint64_t session)>;

  CoordinatorNode(World* world, SimClock* clock, SimConfigStore* store,
                  const control::CoreOptions& options, DirectiveSink directives)
      : world_(world),
        clock_(clock),
        store_(store),
        options_(options),
        directives_(std::move(directives)) {}

  bool running() const { return core_ != nullptr; }
  // Waits while another may lead on the store.
  void Start();
  // What it was writing to the store may still arrive there.
  void Crash();
  // The store is out of reach, and others may lead on it once `term_ns` is
  // over. This life goes on; it notices as a leader does whose term is not
  // prolonged any more.
  void LoseStore(int64_t term_ns);
  // Takes no event until then; they come late, in order.
  void PauseUntil(int64_t time_ns);

  void OnReport(const proto::ServerReport& report);
  void OnServerGone(ServerId server, Incarnation incarnation);
  // kUnavailable: ask again.
  absl::Status OpenSession(SessionSink done);
  const proto::ClusterMap* map() const {
    return core_ == nullptr ? nullptr : &core_->map();
  }
  // It knows of every write to the store that it has arrived, or not.
  bool settled() const { return writes_under_way_ == 0; }
  // An operator's request; false: refused, or the coordinator is away.
  bool Ask(control::CoordinatorCore::Plan plan);
  bool DeclareLost(const proto::DeclareLostRequest& request);
  // None: the coordinator is away.
  std::optional<proto::ClusterStatus> Status() const;
  // For people: what an operator would be warned of.
  std::string Warnings() const;
  int64_t session_lease_ns() const {
    return static_cast<int64_t>(options_.cluster.session_lease_us) * 1000;
  }

 private:
  using Input = absl::AnyInvocable<void(control::CoordinatorCore*, int64_t now,
                                        control::Effects*)>;
  void Feed(Input input);
  void Drain();
  void Apply(control::Effects effects);
  void Store(control::StoreState write);
  void Tick();

  World* const world_;
  SimClock* const clock_;
  SimConfigStore* const store_;
  const control::CoreOptions options_;
  const DirectiveSink directives_;

  std::unique_ptr<control::CoordinatorCore> core_;
  uint64_t life_ = 0;  // events of earlier lives are dropped
  bool store_lost_ = false;
  int64_t paused_until_ns_ = 0;
  std::deque<Input> inputs_;
  uint64_t writes_under_way_ = 0;  // of this life
  uint64_t next_token_ = 1;
  std::map<uint64_t, SessionSink> sessions_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_COORDINATOR_NODE_H_

// The thread that owns a coordinator's core: takes events from a queue, gives
// the core the time, and executes its effects on the configuration store and
// on whoever sends directives. Knows nothing of gRPC.
//
// Thread-safety: all functions may be called from any thread; callbacks run on
// the loop's thread, or on the caller's after Stop, and must not block.
// Ownership: `clock` outlives the loop.
#ifndef WHALE_CONTROL_COORDINATOR_LOOP_H_
#define WHALE_CONTROL_COORDINATOR_LOOP_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "control/config_store.h"
#include "control/coordinator_core.h"

namespace whale::control {

class CoordinatorLoop {
 public:
  template <typename T>
  using Callback = absl::AnyInvocable<void(absl::StatusOr<T>)>;

  // Loads the state. Errors: as ConfigStore::Load and CheckStoredState;
  // kInvalidArgument: options that make no sense.
  static absl::StatusOr<std::unique_ptr<CoordinatorLoop>> Create(
      const CoreOptions& options, std::shared_ptr<ConfigStore> store,
      Clock* clock);
  ~CoordinatorLoop();

  // `send` delivers a directive, or drops it; `on_change` is told of every
  // change that is over.
  void Start(absl::AnyInvocable<void(const SendDirective&)> send,
             absl::AnyInvocable<void(const ChangeRecord&)> on_change = {});
  // False once another coordinator leads, or the leadership has run out.
  bool Leads() const { return leads_; }
  // Answers everybody who waits with kUnavailable, and from now on at once.
  void Stop();

  // `done` runs when the report has been worked on: the time to read the next.
  void Report(proto::ServerReport report, absl::AnyInvocable<void()> done);
  void Gone(ServerId server, Incarnation incarnation);

  // Answers when the map's version differs from `known_version`, or after
  // `wait_us` (at most 10 s).
  void GetMap(uint64_t known_version, uint64_t wait_us,
              Callback<proto::ClusterMap> done);
  void OpenSession(Callback<proto::OpenSessionReply> done);
  void GetStatus(Callback<proto::ClusterStatus> done);
  // Answers when the policy is in force, or after at most 10 s with what it
  // waits for; it is stored in both cases.
  void SetPolicy(proto::SetPolicyRequest request,
                 Callback<proto::AdminReply> done);
  // A change of plans.h; answers when it is stored.
  using Plan =
      absl::AnyInvocable<absl::StatusOr<std::string>(proto::StoredState*)>;
  void Change(Plan plan, Callback<proto::AdminReply> done);
  // Answers when it is stored.
  void DeclareLost(proto::DeclareLostRequest request,
                   Callback<proto::AdminReply> done);

 private:
  using Event = absl::AnyInvocable<void(int64_t now_ns, Effects* effects)>;
  struct MapWait {
    uint64_t known_version;
    int64_t until_ns;
    Callback<proto::ClusterMap> done;
  };
  struct PlanWait {
    std::string message;
    Callback<proto::AdminReply> done;
  };
  struct PolicyWait {
    int64_t until_ns;
    Callback<proto::AdminReply> done;
  };

  CoordinatorLoop(const CoreOptions& options,
                  std::shared_ptr<ConfigStore> store,
                  std::optional<proto::StoredState> stored, Clock* clock);
  // False: stopped; the event is not taken.
  bool Post(Event event);
  void Run();
  void RunEvent(Event& event);
  void Execute(Effects effects);
  void StoreNow(const StoreState& store, Effects* effects);
  void AnswerWaiting(bool stopping);
  bool AnswerMap(MapWait& wait, bool stopping);
  bool AnswerPlan(PlanWait& wait, bool stopping);
  bool AnswerPolicy(PolicyWait& wait, bool stopping);

  // Constant after construction.
  Clock* const clock_;
  const std::shared_ptr<ConfigStore> store_;

  // Owned by the loop's thread.
  CoordinatorCore core_;
  absl::AnyInvocable<void(const SendDirective&)> send_;
  absl::AnyInvocable<void(const ChangeRecord&)> on_change_;
  std::vector<MapWait> map_waits_;
  std::vector<PlanWait> plan_waits_;
  std::vector<PolicyWait> policy_waits_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, Callback<proto::OpenSessionReply>> session_waits_;

  std::atomic<bool> leads_ = true;

  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Event> events_;  // guarded by mutex_
  bool stopped_ = false;      // guarded by mutex_
  std::thread thread_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_COORDINATOR_LOOP_H_

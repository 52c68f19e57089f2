// One shard's configuration and its changes (protocol, section 8): reserve,
// stop, seal, cut, store, adopt, activate.
//
// Reconciles: Advance() compares what is stored with what the members report
// and takes the next step if there is one; all that must survive a coordinator
// is in the stored state, the rest is read from the reports again. Everything
// a step decided counts only once it is stored.
//
// Who takes part in the next configuration is decided in change_members.cc
// alone; change.cc has the steps, change_directive.cc what others are told.
//
// Thread-safety: none; part of the core.
#ifndef WHALE_CONTROL_CHANGE_H_
#define WHALE_CONTROL_CHANGE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control/change_record.h"
#include "control/copy_progress.h"
#include "control/cut.h"
#include "control/leases.h"
#include "control/options.h"
#include "control/registry.h"
#include "proto/control.pb.h"

namespace whale::control {

// What a shard's machine looks at. `stored` is durable; a machine changes only
// its own shard in `wanted`, and says so in `*wanted_changed`.
struct ChangeContext {
  const CoreOptions& options;
  const Registry& registry;
  Leases& leases;
  const proto::StoredState& stored;
  proto::StoredState* wanted;
  bool* wanted_changed;
  std::vector<ChangeRecord>* records;  // of changes that are over
  int64_t silence_ns;
  int64_t now_ns;
};

class ShardMachine {
 public:
  explicit ShardMachine(uint32_t shard) : shard_(shard) {}

  // These processes, and no other, take part in the stored configuration.
  void Bind(std::map<uint32_t, uint64_t> incarnations);
  // `by` says that its connection to `about` died. Returns whether the shard
  // needs a new configuration for it: both take part and `by` serves.
  bool SuspectLink(const ChangeContext& context, const ServerState& by,
                   const ServerState& about);
  // The shard shall be led by `server` as soon as that can be: by the next
  // change, which begins at once. Forgotten if it cannot lead then.
  void WantPrimary(uint32_t server) { wanted_primary_ = server; }
  // Goes as far as it can.
  void Advance(const ChangeContext& context);

  // What `server` shall do with the shard.
  proto::ShardDirective DirectiveFor(const ChangeContext& context,
                                     const ServerState& server) const;
  proto::ShardEntry EntryFor(const ChangeContext& context) const;
  // Why the shard has fewer replicas than it should, and how far those are
  // that are being filled; empty: it has all.
  std::string WhyFewer(const ChangeContext& context) const;

  // Replicas that are to come or to go, and how far that is.
  void AddMoves(const ChangeContext& context, const CopyProgress& progress,
                proto::ClusterStatus* status) const;

  // What is missing at members that serve, if anything may be; and from where
  // it may come.
  void AddMissing(const ChangeContext& context,
                  proto::ClusterStatus* status) const;
  // Gives up those of `lsns` that are missing; the answer for the operator.
  // kFailedPrecondition: the shard does not serve. Nothing is changed then.
  absl::StatusOr<std::string> DeclareLost(
      const ChangeContext& context,
      const google::protobuf::RepeatedField<uint64_t>& lsns) const;

  // Whether this process has reported that it serves in the stored epoch and
  // may go on.
  bool Serves(const ChangeContext& context, const ServerState& server) const;
  // Whether this process cannot believe in an epoch that others have ended:
  // only then may they connect to it.
  bool MayConnect(const ChangeContext& context,
                  const ServerState& server) const;
  // Serves at all members, and nothing else is wanted of it.
  bool AtRest(const ChangeContext& context) const;

 private:
  // In the order of kChangeStepNames.
  enum class Step { kReserve, kStop, kSeal, kStore, kAdopt, kServe };
  // A change under way; forgotten when one of its processes fails.
  struct Change {
    uint64_t epoch = 0;              // reserved
    std::vector<uint32_t> members;   // survivors
    std::vector<uint32_t> learners;  // that become members; count for nothing
    std::vector<uint32_t> leaving;   // survivors that shall be so no longer
    std::map<uint32_t, uint64_t> incarnations;  // of both
    std::string reason;
    Step step = Step::kReserve;
    int64_t step_since_ns = 0;
    std::vector<uint32_t> revoke;

    bool Has(uint32_t server) const {
      return incarnations.find(server) != incarnations.end();
    }
  };
  // A learner that was taken in, or a member that was left out although it was
  // there or could not be let go, has to wait before that is tried again: a
  // change costs everybody.
  struct Pause {
    int64_t until_ns = 0;
    int64_t length_ns = 0;
  };
  // A process that had not done what it was told by then, until a change takes
  // it in again.
  struct Disobedient {
    uint64_t incarnation = 0;
    uint64_t epoch = 0;  // until it reports to have ended those before this
  };

  const proto::StoredShard& Stored(const ChangeContext& context) const {
    return context.stored.shards(static_cast<int>(shard_));
  }
  proto::StoredShard* Wanted(const ChangeContext& context) const {
    return context.wanted->mutable_shards(static_cast<int>(shard_));
  }
  const proto::ShardReport* ReportOf(const ChangeContext& context,
                                     uint32_t server) const {
    return context.registry.FindShard(server, shard_);
  }
  bool TakesPart(const ServerState& server) const;
  bool HasEnded(const ChangeContext& context, uint32_t server,
                proto::ShardPhase phase) const;

  // ---- change_missing.cc
  // By LSN: of all members that serve. `complete`: all members do, and told
  // all.
  std::map<uint64_t, proto::MissingValue> MissingValues(
      const ChangeContext& context, bool* complete) const;
  void FillMissing(const ChangeContext& context,
                   proto::ShardDirective* directive) const;
  bool AnyoneMisses(const ChangeContext& context) const;
  // Forgets what is settled, and learns of what was not known to be missing.
  void SettleMissing(const ChangeContext& context);

  // ---- change_members.cc
  bool IsMember(const ChangeContext& context, uint32_t server) const;
  uint32_t LeastSurvivors(const ChangeContext& context) const;
  // Why a stored member cannot go on; empty: it can.
  std::string WhyNotGoingOn(const ChangeContext& context,
                            uint32_t member) const;
  // What the stored configuration asks of it before it serves, or to serve.
  bool HasDoneItsPart(const ChangeContext& context, uint32_t member) const;
  bool LeaseIsOver(const ChangeContext& context, uint32_t server) const;
  // The members of the next configuration, in the stored order; or why the
  // shard has to wait.
  absl::StatusOr<std::vector<uint32_t>> Survivors(
      const ChangeContext& context) const;
  // Learners that have caught up and may become members now.
  std::vector<uint32_t> Joining(const ChangeContext& context) const;
  bool HasCaughtUp(const ChangeContext& context, uint32_t server) const;
  // Shall hold the shard.
  bool IsPlaced(const ChangeContext& context, uint32_t server) const;
  // Whoever shall hold it is a member and has all values below the cut.
  bool AllPlacedAreWhole(const ChangeContext& context) const;
  // Members that shall not hold it any more and may go now.
  std::vector<uint32_t> Leaving(const ChangeContext& context) const;
  // Nobody needs the log of a former member any more.
  bool MayFree(const ChangeContext& context) const;
  void StartPause(const ChangeContext& context, uint32_t server);
  // Marks those as disobedient, if the shard can go on without them.
  bool LeaveOut(const ChangeContext& context,
                const std::vector<uint32_t>& members);
  bool TookTooLong(const ChangeContext& context, int64_t since_ns) const;
  // Members that hold up the activation of the stored configuration.
  std::vector<uint32_t> Hindering(const ChangeContext& context) const;
  std::vector<uint32_t> LeftOut(const ChangeContext& context) const;

  // ---- change.cc
  std::string WhyChange(const ChangeContext& context) const;
  bool SameProcesses(const ChangeContext& context) const;
  void BindReported(const ChangeContext& context);
  void StartChange(const ChangeContext& context, std::string reason);
  void AdvanceChange(const ChangeContext& context);
  void EnterStep(const ChangeContext& context, Step step);
  void GiveUp(const ChangeContext& context);
  // The time since the last call, or since the change began, went to `step`.
  void CountStep(const ChangeContext& context, size_t step);
  void FinishRecord(const ChangeContext& context);
  void AdvanceStop(const ChangeContext& context);
  void AdvanceSeal(const ChangeContext& context);
  void NoteCut(const ChangeContext& context, const Cut& cut);
  void StoreCut(const ChangeContext& context);
  void AdvanceActivation(const ChangeContext& context);
  std::string WhyNotServing(const ChangeContext& context) const;

  // ---- change_directive.cc
  proto::ShardStep StepFor(const ChangeContext& context,
                           const ServerState& server) const;
  void FillMembers(const ChangeContext& context,
                   proto::ShardDirective* directive) const;

  const uint32_t shard_;
  std::optional<Change> change_;
  // Of the change under way, or of one that is stored and does not serve yet.
  std::optional<ChangeRecord> record_;
  int64_t record_at_ns_ = 0;
  std::string suspicion_;  // why a change is wanted, if a hint wants one
  uint32_t wanted_primary_ = 0;
  // Of the stored configuration: who takes part, and whether they may serve.
  std::map<uint32_t, uint64_t> bound_;
  bool activated_ = false;
  // Since when its members have been told what to do next; 0: not yet.
  int64_t told_since_ns_ = 0;
  std::map<uint32_t, Disobedient> disobedient_;
  std::map<uint32_t, Pause> pauses_;
  std::string why_not_;  // empty: serves, or is on its way to
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CHANGE_H_

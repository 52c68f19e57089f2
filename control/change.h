// One shard's configuration and its changes (protocol, section 8): reserve,
// stop, seal, cut, store, adopt, activate.
//
// Reconciles: Advance() compares what is stored with what the members report
// and takes the next step if there is one; all that must survive a coordinator
// is in the stored state, the rest is read from the reports again. Everything
// a step decided counts only once it is stored.
//
// Who takes part in the next configuration is decided in Survivors() alone.
// This version goes on only with all members of the stored configuration; a
// shard that misses one waits.
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
  const Leases& leases;
  const proto::StoredState& stored;
  proto::StoredState* wanted;
  bool* wanted_changed;
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
  // Goes as far as it can. Returns whether anything was decided.
  void Advance(const ChangeContext& context);

  // What `server` shall do with the shard; none: it has no part in it.
  std::optional<proto::ShardDirective> DirectiveFor(
      const ChangeContext& context, const ServerState& server) const;
  proto::ShardEntry EntryFor(const ChangeContext& context) const;

  // Whether this process has reported that it serves in the stored epoch and
  // may go on.
  bool Serves(const ChangeContext& context, const ServerState& server) const;

 private:
  enum class Step { kReserve, kStop, kSeal, kStore };
  // A change under way; forgotten when one of its processes fails.
  struct Change {
    uint64_t epoch = 0;  // reserved
    std::vector<uint32_t> members;
    std::map<uint32_t, uint64_t> incarnations;
    std::string reason;
    Step step = Step::kReserve;
    int64_t step_since_ns = 0;
    std::vector<uint32_t> revoke;
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

  // The members of the next configuration, in the stored order; or why the
  // shard has to wait.
  absl::StatusOr<std::vector<uint32_t>> Survivors(
      const ChangeContext& context) const;
  std::string WhyChange(const ChangeContext& context) const;
  bool SameProcesses(const ChangeContext& context) const;
  void BindReported(const ChangeContext& context);

  void StartChange(const ChangeContext& context, std::string reason);
  void AdvanceChange(const ChangeContext& context);
  void EnterStep(const ChangeContext& context, Step step);
  void AdvanceStop(const ChangeContext& context);
  void AdvanceSeal(const ChangeContext& context);
  void StoreCut(const ChangeContext& context);
  void AdvanceActivation(const ChangeContext& context);
  std::vector<uint32_t> LeftOut(const ChangeContext& context) const;
  std::string WhyNotServing(const ChangeContext& context) const;
  proto::ShardStep StepFor(const ChangeContext& context,
                           const ServerState& server) const;

  const uint32_t shard_;
  std::optional<Change> change_;
  std::string suspicion_;  // why a change is wanted, if a hint wants one
  // Of the stored configuration: who takes part, and whether they may serve.
  std::map<uint32_t, uint64_t> bound_;
  bool activated_ = false;
  std::string why_not_;  // empty: serves, or is on its way to
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CHANGE_H_

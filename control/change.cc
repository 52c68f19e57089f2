#include "control/change.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/planted_bug.h"
#include "control/cut.h"
#include "logstore/history.h"

namespace whale::control {
namespace {

const std::string& StoredPool(const proto::StoredState& stored,
                              uint32_t server) {
  for (const proto::StoredServer& entry : stored.servers()) {
    if (entry.server_id() == server) return entry.pool_uuid();
  }
  static const std::string kNone;
  return kNone;
}

void AppendHistory(proto::StoredShard* shard, uint64_t epoch, uint64_t start) {
  std::vector<logstore::EpochStart> entries;
  for (const proto::EpochStart& entry : shard->history()) {
    entries.push_back({Epoch(entry.epoch()), Lsn(entry.start())});
  }
  logstore::History history(entries);
  history.Add(Epoch(epoch), Lsn(start));
  shard->clear_history();
  for (const logstore::EpochStart& entry : history.entries()) {
    proto::EpochStart* added = shard->add_history();
    added->set_epoch(entry.epoch.value());
    added->set_start(entry.start.value());
  }
}

}  // namespace

void ShardMachine::Bind(std::map<uint32_t, uint64_t> incarnations) {
  bound_ = std::move(incarnations);
  activated_ = false;
}

bool ShardMachine::SuspectLink(const ChangeContext& context,
                               const ServerState& by,
                               const ServerState& about) {
  if (change_ || !Serves(context, by) || !TakesPart(about)) return false;
  suspicion_ = absl::StrCat("the connection from server ", by.id(),
                            " to server ", about.id(), " died");
  return true;
}

bool ShardMachine::TakesPart(const ServerState& server) const {
  const auto it = bound_.find(server.id());
  if (it == bound_.end()) return false;
  return it->second == server.incarnation() ||
         Planted(PlantedBug::kEpochResumed);
}

bool ShardMachine::HasEnded(const ChangeContext& context, uint32_t server,
                            proto::ShardPhase phase) const {
  const proto::ShardReport* report = ReportOf(context, server);
  return report != nullptr && report->ended_epoch() == change_->epoch &&
         report->phase() >= phase && report->phase() <= proto::SHARD_SEALED;
}

// ------------------------------------------------------------------ members

absl::StatusOr<std::vector<uint32_t>> ShardMachine::Survivors(
    const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  std::vector<uint32_t> survivors;
  for (const uint32_t member : stored.members()) {
    std::string why =
        context.registry.WhyAway(member, context.silence_ns, context.now_ns);
    if (!why.empty()) {
      return absl::UnavailableError(absl::StrCat(
          why, "; its shards answer unavailable until it returns"));
    }
    const ServerState* server = context.registry.Find(member);
    if (server->report.pool_uuid() != StoredPool(context.stored, member)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "server ", member,
          " came with another pool than the cluster knew. "
          "Start it with its old pool; going on without that is not supported "
          "yet by this version"));
    }
    survivors.push_back(member);
  }
  return survivors;
}

bool ShardMachine::SameProcesses(const ChangeContext& context) const {
  for (const auto& [member, incarnation] : change_->incarnations) {
    if (!context.registry.Present(member, context.silence_ns, context.now_ns) ||
        context.registry.Find(member)->incarnation() != incarnation) {
      return false;
    }
  }
  return true;
}

void ShardMachine::BindReported(const ChangeContext& context) {
  const proto::StoredShard& stored = Stored(context);
  for (const uint32_t member : stored.members()) {
    if (bound_.count(member) != 0) continue;
    const ServerState* server = context.registry.Find(member);
    const proto::ShardReport* report = ReportOf(context, member);
    if (server == nullptr || report == nullptr) continue;
    // Told so by an earlier leader.
    if (report->phase() >= proto::SHARD_ADOPTED &&
        report->epoch() == stored.epoch() &&
        report->ended_epoch() <= stored.epoch()) {
      bound_[member] = server->incarnation();
      activated_ |= report->phase() == proto::SHARD_ACTIVE;
    }
  }
}

std::string ShardMachine::WhyChange(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  if (stored.reserved_epoch() != 0) return "a change was under way";
  if (stored.has_next_policy()) return "a new policy was set";
  for (const uint32_t member : stored.members()) {
    const ServerState* server = context.registry.Find(member);
    if (server == nullptr) continue;
    if (!TakesPart(*server)) {
      return absl::StrCat("server ", member, " has restarted");
    }
    const proto::ShardReport* report = ReportOf(context, member);
    if (report != nullptr && report->ended_epoch() > stored.epoch()) {
      return absl::StrCat("server ", member, " has ended epoch ",
                          stored.epoch());
    }
  }
  return suspicion_;
}

// ------------------------------------------------------------------- change

void ShardMachine::Advance(const ChangeContext& context) {
  why_not_.clear();
  // Once a cut is on its way into the store, only the store says how it ends.
  if (change_ && change_->step != Step::kStore && !SameProcesses(context)) {
    change_.reset();
  }
  if (change_) AdvanceChange(context);
  if (change_) return;
  BindReported(context);
  std::string reason = WhyChange(context);
  if (reason.empty()) {
    AdvanceActivation(context);
    return;
  }
  StartChange(context, std::move(reason));
}

void ShardMachine::StartChange(const ChangeContext& context,
                               std::string reason) {
  absl::StatusOr<std::vector<uint32_t>> survivors = Survivors(context);
  if (!survivors.ok()) {
    why_not_ = std::string(survivors.status().message());
    return;
  }
  proto::StoredShard* wanted = Wanted(context);
  Change change;
  change.epoch = std::max(wanted->epoch(), wanted->reserved_epoch()) + 1;
  change.members = *std::move(survivors);
  change.reason = std::move(reason);
  for (const uint32_t member : change.members) {
    change.incarnations[member] = context.registry.Find(member)->incarnation();
  }
  wanted->set_reserved_epoch(change.epoch);
  wanted->clear_reserved_members();
  for (const uint32_t member : change.members) {
    wanted->add_reserved_members(member);
  }
  *context.wanted_changed = true;
  change_ = std::move(change);
  suspicion_.clear();
  EnterStep(context, Step::kReserve);
  AdvanceChange(context);
}

void ShardMachine::EnterStep(const ChangeContext& context, Step step) {
  change_->step = step;
  change_->step_since_ns = context.now_ns;
}

void ShardMachine::AdvanceChange(const ChangeContext& context) {
  const proto::StoredShard& stored = Stored(context);
  why_not_ = absl::StrCat("changes to epoch ", change_->epoch, " because ",
                          change_->reason);
  if (change_->step == Step::kReserve &&
      stored.reserved_epoch() == change_->epoch) {
    EnterStep(context, Step::kStop);
  }
  if (change_->step == Step::kStop) AdvanceStop(context);
  if (change_->step == Step::kSeal) AdvanceSeal(context);
  if (change_->step == Step::kStore && stored.epoch() == change_->epoch) {
    Bind(std::move(change_->incarnations));
    change_.reset();
    why_not_.clear();
  }
}

void ShardMachine::AdvanceStop(const ChangeContext& context) {
  std::vector<uint32_t> not_stopped;
  for (const uint32_t member : change_->members) {
    // A process that has restarted since is no sender of any epoch.
    const bool sender = TakesPart(*context.registry.Find(member));
    if (sender && !HasEnded(context, member, proto::SHARD_STOPPED)) {
      not_stopped.push_back(member);
    }
  }
  for (const uint32_t member : LeftOut(context)) {
    if (bound_.count(member) != 0) not_stopped.push_back(member);
  }
  const bool waited_enough = context.now_ns - change_->step_since_ns >=
                             context.options.stop_timeout_ns;
  if (!not_stopped.empty() && !waited_enough) return;
  change_->revoke = std::move(not_stopped);
  EnterStep(context, Step::kSeal);
}

void ShardMachine::AdvanceSeal(const ChangeContext& context) {
  for (const uint32_t member : change_->members) {
    if (!HasEnded(context, member, proto::SHARD_SEALED)) {
      absl::StrAppend(&why_not_, "; waits for server ", member, " to end it");
      const std::string& note = context.registry.Find(member)->report.note();
      if (!note.empty()) absl::StrAppend(&why_not_, ", which says: ", note);
      return;
    }
  }
  StoreCut(context);
}

void ShardMachine::StoreCut(const ChangeContext& context) {
  const proto::StoredShard& stored = Stored(context);
  std::vector<SealedMember> sealed;
  for (const uint32_t member : change_->members) {
    sealed.push_back({member, ReportOf(context, member)});
  }
  absl::StatusOr<Cut> cut =
      ComputeCut(stored, sealed, context.stored.segment_bytes());
  if (!cut.ok()) {
    why_not_ = absl::StrCat("waits: ", std::string(cut.status().message()));
    return;
  }
  proto::StoredShard* wanted = Wanted(context);
  WHALE_CHECK(wanted->reserved_epoch() == change_->epoch);
  wanted->set_epoch(change_->epoch);
  wanted->set_committed(cut->committed);
  wanted->set_start(cut->start);
  wanted->clear_members();
  for (const uint32_t member : cut->members) wanted->add_members(member);
  AppendHistory(wanted, change_->epoch, cut->start);
  wanted->clear_reserved_epoch();
  wanted->clear_reserved_members();
  if (wanted->has_next_policy()) {
    wanted->mutable_policy()->Swap(wanted->mutable_next_policy());
    wanted->clear_next_policy();
  }
  *context.wanted_changed = true;
  EnterStep(context, Step::kStore);
}

// --------------------------------------------------------------- activation

std::vector<uint32_t> ShardMachine::LeftOut(
    const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  std::vector<uint32_t> members(stored.members().begin(),
                                stored.members().end());
  if (change_) members = change_->members;
  std::vector<uint32_t> left_out;
  for (const proto::StoredServer& server : context.stored.servers()) {
    if (std::find(members.begin(), members.end(), server.server_id()) ==
        members.end()) {
      left_out.push_back(server.server_id());
    }
  }
  return left_out;
}

void ShardMachine::AdvanceActivation(const ChangeContext& context) {
  why_not_ = WhyNotServing(context);
  if (activated_) return;
  for (const uint32_t member : Stored(context).members()) {
    const proto::ShardReport* report = ReportOf(context, member);
    if (!context.registry.Present(member, context.silence_ns, context.now_ns) ||
        report == nullptr || report->phase() < proto::SHARD_ADOPTED ||
        report->epoch() != Stored(context).epoch()) {
      return;
    }
  }
  if (context.now_ns < context.leases.FreeAtNs(shard_, LeftOut(context))) {
    why_not_ = "waits until the leases of the servers left out have run out";
    return;
  }
  activated_ = true;
}

std::string ShardMachine::WhyNotServing(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  for (const uint32_t member : stored.members()) {
    std::string why =
        context.registry.WhyAway(member, context.silence_ns, context.now_ns);
    if (!why.empty()) {
      return absl::StrCat(why,
                          "; its shards answer unavailable until it returns");
    }
    const proto::ShardReport* report = ReportOf(context, member);
    if (report == nullptr || report->phase() != proto::SHARD_ACTIVE ||
        report->epoch() != stored.epoch()) {
      why = absl::StrCat("server ", member, " does not serve in epoch ",
                         stored.epoch(), " yet");
      const std::string& note = context.registry.Find(member)->report.note();
      if (!note.empty()) absl::StrAppend(&why, ": ", note);
      return why;
    }
  }
  return "";
}

// ---------------------------------------------------------------- directive

proto::ShardStep ShardMachine::StepFor(const ChangeContext& context,
                                       const ServerState& server) const {
  const proto::StoredShard& stored = Stored(context);
  if (stored.reserved_epoch() != 0) {
    const bool sealing =
        change_ && change_->epoch == stored.reserved_epoch() &&
        (change_->step == Step::kSeal || change_->step == Step::kStore);
    return sealing ? proto::STEP_SEAL : proto::STEP_STOP;
  }
  if (!TakesPart(server)) return proto::STEP_NONE;
  return activated_ ? proto::STEP_ACTIVATE : proto::STEP_ADOPT;
}

std::optional<proto::ShardDirective> ShardMachine::DirectiveFor(
    const ChangeContext& context, const ServerState& server) const {
  const proto::StoredShard& stored = Stored(context);
  if (std::find(stored.members().begin(), stored.members().end(),
                server.id()) == stored.members().end()) {
    return std::nullopt;
  }
  proto::ShardDirective directive;
  directive.set_shard(shard_);
  directive.set_step(StepFor(context, server));
  const bool ends = directive.step() == proto::STEP_STOP ||
                    directive.step() == proto::STEP_SEAL;
  directive.set_epoch(ends ? stored.reserved_epoch() : stored.epoch());
  *directive.mutable_members() =
      ends ? stored.reserved_members() : stored.members();
  if (!ends) {
    for (const uint32_t member : stored.members()) {
      const auto it = bound_.find(member);
      directive.add_member_incarnations(it == bound_.end() ? 0 : it->second);
    }
  }
  directive.set_committed(stored.committed());
  directive.set_start(stored.start());
  *directive.mutable_history() = stored.history();
  *directive.mutable_policy() = stored.policy();
  if (directive.step() == proto::STEP_SEAL) {
    for (const uint32_t peer : change_->revoke) {
      if (peer != server.id()) directive.add_revoke(peer);
    }
  }
  return directive;
}

proto::ShardEntry ShardMachine::EntryFor(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  proto::ShardEntry entry;
  entry.set_shard(shard_);
  entry.set_epoch(stored.epoch());
  *entry.mutable_members() = stored.members();
  *entry.mutable_policy() = stored.policy();
  entry.set_active(!change_ && stored.reserved_epoch() == 0 && activated_ &&
                   why_not_.empty());
  if (!entry.active()) entry.set_why_not(why_not_);
  return entry;
}

bool ShardMachine::Serves(const ChangeContext& context,
                          const ServerState& server) const {
  if (StepFor(context, server) != proto::STEP_ACTIVATE) return false;
  const proto::ShardReport* report = ReportOf(context, server.id());
  return report != nullptr && report->phase() == proto::SHARD_ACTIVE &&
         report->epoch() == Stored(context).epoch();
}

}  // namespace whale::control

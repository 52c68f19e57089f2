#include "control/change.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "control/cut.h"
#include "logstore/history.h"

namespace whale::control {
namespace {

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
  told_since_ns_ = 0;
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

// ------------------------------------------------------------------- change

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
    RareBranch<"change: members found by their reports">();
    // Told so by an earlier leader.
    if (report->phase() >= proto::SHARD_ADOPTED &&
        report->phase() <= proto::SHARD_ACTIVE &&
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
    std::string lost = WhyNotGoingOn(context, member);
    if (!lost.empty() && LeaseIsOver(context, member)) return lost;
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
  if (!suspicion_.empty()) return suspicion_;
  if (!activated_ || !WhyNotServing(context).empty()) return "";
  const std::vector<uint32_t> joining = Joining(context);
  if (!joining.empty()) {
    return absl::StrCat("server ", joining.front(), " has caught up");
  }
  const std::vector<uint32_t> leaving = Leaving(context);
  if (!leaving.empty()) {
    return absl::StrCat("server ", leaving.front(), " shall not hold it");
  }
  if (wanted_primary_ == 0) return "";
  return absl::StrCat("server ", wanted_primary_, " shall lead it");
}

void ShardMachine::Advance(const ChangeContext& context) {
  why_not_.clear();
  // Once a cut is on its way into the store, only the store says how it ends.
  if (change_ && change_->step != Step::kStore && !SameProcesses(context)) {
    RareBranch<"change: begun anew since somebody else failed">();
    GiveUp(context);
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
    RareBranch<"change: too few survivors">();
    why_not_ = std::string(survivors.status().message());
    return;
  }
  proto::StoredShard* wanted = Wanted(context);
  Change change;
  change.epoch = std::max(wanted->epoch(), wanted->reserved_epoch()) + 1;
  change.members = *std::move(survivors);
  change.reason = std::move(reason);
  // Nobody waits for a learner when something has failed.
  const bool healthy =
      suspicion_.empty() && activated_ && WhyNotServing(context).empty();
  if (healthy) change.learners = Joining(context);
  if (Planted(PlantedBug::kLearnerCounts)) {
    for (const uint32_t server : std::exchange(change.learners, {})) {
      change.members.push_back(server);
    }
  }
  if (healthy && change.learners.empty()) change.leaving = Leaving(context);
  for (const auto& servers : {change.learners, change.leaving}) {
    for (const uint32_t server : servers) StartPause(context, server);
  }
  for (const auto& servers : {change.members, change.learners}) {
    for (const uint32_t server : servers) {
      change.incarnations[server] =
          context.registry.Find(server)->incarnation();
    }
  }
  wanted->set_reserved_epoch(change.epoch);
  wanted->clear_reserved_members();
  for (const auto& servers : {change.members, change.learners}) {
    for (const uint32_t server : servers) wanted->add_reserved_members(server);
  }
  for (const uint32_t member : change.members) disobedient_.erase(member);
  *context.wanted_changed = true;
  // The one before was stored and never served everywhere.
  FinishRecord(context);
  record_ = ChangeRecord{
      .shard = shard_, .epoch = change.epoch, .reason = change.reason};
  record_at_ns_ = context.now_ns;
  change_ = std::move(change);
  suspicion_.clear();
  EnterStep(context, Step::kReserve);
  AdvanceChange(context);
}

void ShardMachine::CountStep(const ChangeContext& context, size_t step) {
  if (!record_) return;
  record_->step_ns[step] += context.now_ns - record_at_ns_;
  record_at_ns_ = context.now_ns;
}

void ShardMachine::GiveUp(const ChangeContext& context) {
  if (record_) {
    CountStep(context, static_cast<size_t>(change_->step));
    record_->abandoned = true;
    record_->members = change_->members;
    context.records->push_back(*std::move(record_));
    record_.reset();
  }
  change_.reset();
}

void ShardMachine::FinishRecord(const ChangeContext& context) {
  if (!record_ || record_->epoch != Stored(context).epoch()) return;
  CountStep(context, static_cast<size_t>(Step::kServe));
  context.records->push_back(*std::move(record_));
  record_.reset();
}

void ShardMachine::EnterStep(const ChangeContext& context, Step step) {
  CountStep(context, static_cast<size_t>(change_->step));
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
  if (!change_) return;  // given up
  if (change_->step == Step::kStore && stored.epoch() == change_->epoch) {
    Bind(std::move(change_->incarnations));
    CountStep(context, static_cast<size_t>(Step::kStore));
    change_.reset();
    why_not_.clear();
  }
}

void ShardMachine::AdvanceStop(const ChangeContext& context) {
  std::vector<uint32_t> not_stopped;
  for (const uint32_t member : change_->members) {
    // A process that has restarted since is no sender of any epoch.
    const proto::ShardReport* report = ReportOf(context, member);
    const bool sender =
        report == nullptr || report->phase() != proto::SHARD_RECOVERED;
    if (sender && !HasEnded(context, member, proto::SHARD_STOPPED)) {
      not_stopped.push_back(member);
    }
  }
  const bool waited_enough = context.now_ns - change_->step_since_ns >=
                             context.options.stop_timeout_ns;
  if (!not_stopped.empty() && !waited_enough) return;
  // Nobody waits for those that are left out.
  for (const uint32_t member : Stored(context).members()) {
    if (!change_->Has(member) &&
        !HasEnded(context, member, proto::SHARD_STOPPED)) {
      not_stopped.push_back(member);
    }
  }
  change_->revoke = std::move(not_stopped);
  EnterStep(context, Step::kSeal);
}

void ShardMachine::AdvanceSeal(const ChangeContext& context) {
  std::vector<uint32_t> not_sealed;
  for (const auto& [server, incarnation] : change_->incarnations) {
    if (HasEnded(context, server, proto::SHARD_SEALED)) continue;
    not_sealed.push_back(server);
    absl::StrAppend(&why_not_, "; waits for server ", server, " to end it");
    const std::string& note = context.registry.Find(server)->report.note();
    if (!note.empty()) absl::StrAppend(&why_not_, ", which says: ", note);
  }
  if (not_sealed.empty()) {
    StoreCut(context);
  } else if (TookTooLong(context, change_->step_since_ns) &&
             LeaveOut(context, not_sealed)) {
    GiveUp(context);
  }
}

void ShardMachine::NoteCut(const ChangeContext& context, const Cut& cut) {
  if (!record_) return;
  record_->members = cut.members;
  for (const uint32_t learner : change_->learners) {
    record_->members.push_back(learner);
  }
  record_->joined = change_->learners;
  for (const uint32_t member : Stored(context).members()) {
    if (std::count(cut.members.begin(), cut.members.end(), member) == 0) {
      record_->left_out.push_back(member);
    }
  }
  record_->committed = cut.committed;
  record_->start = cut.start;
}

void ShardMachine::StoreCut(const ChangeContext& context) {
  const proto::StoredShard& stored = Stored(context);
  std::vector<SealedMember> sealed;
  for (const uint32_t member : change_->members) {
    sealed.push_back({member, ReportOf(context, member)});
  }
  absl::StatusOr<Cut> cut =
      ComputeCut(stored, sealed,
                 {.first_lsn = context.stored.segment_bytes(),
                  .least_survivors = LeastSurvivors(context),
                  .wanted_primary = wanted_primary_,
                  .leaving = change_->leaving});
  if (!cut.ok()) {
    why_not_ = absl::StrCat("waits: ", std::string(cut.status().message()));
    // Somebody with more may have come back meanwhile.
    const auto survivors = Survivors(context);
    if (survivors.ok() && *survivors != change_->members) GiveUp(context);
    return;
  }
  proto::StoredShard* wanted = Wanted(context);
  WHALE_CHECK(wanted->reserved_epoch() == change_->epoch);
  NoteCut(context, *cut);
  wanted->set_epoch(change_->epoch);
  wanted->set_committed(Planted(PlantedBug::kTailCommitted) ? cut->start
                                                            : cut->committed);
  wanted->set_start(cut->start);
  if (cut->lacks_values) wanted->set_lacks_values(true);
  if (wanted->lacks_values()) {
    for (const uint32_t member : stored.members()) {
      const auto& at = wanted->missing_at();
      if (std::count(cut->members.begin(), cut->members.end(), member) == 0 &&
          std::count(at.begin(), at.end(), member) == 0) {
        wanted->add_missing_at(member);
      }
    }
  }
  wanted->clear_members();
  for (const uint32_t member : cut->members) wanted->add_members(member);
  for (const uint32_t learner : change_->learners) wanted->add_members(learner);
  const std::map<uint32_t, uint64_t> sealed_by_all = change_->incarnations;
  // Who was not good enough for the cut, or leaves, takes no part.
  std::erase_if(change_->incarnations, [&](const auto& process) {
    return std::count(wanted->members().begin(), wanted->members().end(),
                      process.first) == 0;
  });
  // Whoever has ended the old epoch uses no lease of it any more.
  for (const auto& [server, incarnation] : sealed_by_all) {
    context.leases.GivenBack(shard_, server, incarnation);
  }
  wanted_primary_ = 0;
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

void ShardMachine::AdvanceActivation(const ChangeContext& context) {
  if (told_since_ns_ == 0) told_since_ns_ = context.now_ns;
  why_not_ = WhyNotServing(context);
  if (why_not_.empty() && activated_) {
    FinishRecord(context);
    SettleMissing(context);
    return;
  }
  const std::vector<uint32_t> hindering = Hindering(context);
  if (!hindering.empty()) {
    if (TookTooLong(context, told_since_ns_)) LeaveOut(context, hindering);
    return;
  }
  if (activated_) return;
  if (context.now_ns < context.leases.FreeAtNs(shard_, LeftOut(context))) {
    why_not_ = "waits until the leases of the servers left out have run out";
    return;
  }
  activated_ = true;
  told_since_ns_ = context.now_ns;
  CountStep(context, static_cast<size_t>(Step::kAdopt));
}

std::string ShardMachine::WhyNotServing(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  for (const uint32_t member : stored.members()) {
    std::string why =
        context.registry.WhyAway(member, context.silence_ns, context.now_ns);
    if (!why.empty()) {
      return absl::StrCat(
          why, "; the shard goes on when it returns or its lease is over");
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

}  // namespace whale::control

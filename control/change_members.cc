// Who takes part in a shard's next configuration, and who does not any more.

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "control/change.h"

namespace whale::control {
namespace {

constexpr int64_t kMaxPauseNs = 8'000'000'000;
// A learner has caught up when it lacks no more than this part of the window:
// what is left is delivered within the configuration that takes it in.
constexpr uint64_t kWindowPart = 16;

bool Contains(const google::protobuf::RepeatedField<uint32_t>& servers,
              uint32_t server) {
  return std::find(servers.begin(), servers.end(), server) != servers.end();
}

const std::string& StoredPool(const proto::StoredState& stored,
                              uint32_t server) {
  for (const proto::StoredServer& entry : stored.servers()) {
    if (entry.server_id() == server) return entry.pool_uuid();
  }
  static const std::string kNone;
  return kNone;
}

}  // namespace

bool ShardMachine::IsMember(const ChangeContext& context,
                            uint32_t server) const {
  return Contains(Stored(context).members(), server);
}

// A shard that was formed, or has gone on, with fewer than the policy asks for
// must not wait for more than it has; nor for more than the operator asks for
// since.
uint32_t ShardMachine::LeastSurvivors(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  uint32_t least = stored.policy().min_replicas();
  if (stored.has_next_policy()) {
    least = std::min(least, stored.next_policy().min_replicas());
  }
  least = std::min(least, static_cast<uint32_t>(stored.members_size()));
  if (Planted(PlantedBug::kEmptyLearnerCounts)) {
    for (const uint32_t id : stored.placed()) {
      const bool learns =
          !IsMember(context, id) && WhyNotGoingOn(context, id).empty();
      if (learns && least > 1) --least;
    }
  }
  return least;
}

std::string ShardMachine::WhyNotGoingOn(const ChangeContext& context,
                                        uint32_t member) const {
  std::string why =
      context.registry.WhyAway(member, context.silence_ns, context.now_ns);
  if (!why.empty()) return why;
  const ServerState* server = context.registry.Find(member);
  if (server->report.pool_uuid() != StoredPool(context.stored, member)) {
    return absl::StrCat("server ", member,
                        " came with another pool than the cluster knew");
  }
  const auto it = disobedient_.find(member);
  if (it == disobedient_.end() ||
      it->second.incarnation != server->incarnation()) {
    return "";
  }
  const proto::ShardReport* report = ReportOf(context, member);
  if (report != nullptr && report->ended_epoch() >= it->second.epoch) return "";
  // Or it does by now what held up the activation. It may have a lease then,
  // and there is no change yet that would keep it from having the next one.
  if (Stored(context).reserved_epoch() == 0 &&
      HasDoneItsPart(context, member)) {
    RareBranch<"activate: who held it up has gone on">();
    return "";
  }
  return absl::StrCat("server ", member,
                      " reports but does not do what it is told");
}

bool ShardMachine::HasDoneItsPart(const ChangeContext& context,
                                  uint32_t member) const {
  const proto::ShardReport* report = ReportOf(context, member);
  return report != nullptr && report->epoch() == Stored(context).epoch() &&
         report->phase() >=
             (activated_ ? proto::SHARD_ACTIVE : proto::SHARD_ADOPTED) &&
         report->phase() <= proto::SHARD_ACTIVE;
}

bool ShardMachine::LeaseIsOver(const ChangeContext& context,
                               uint32_t server) const {
  if (context.now_ns < context.leases.FreeAtNs(shard_, {server})) return false;
  return context.registry.Find(server) != nullptr ||
         context.now_ns - context.leases.leading_since_ns() >=
             context.options.register_grace_ns;
}

absl::StatusOr<std::vector<uint32_t>> ShardMachine::Survivors(
    const ChangeContext& context) const {
  std::vector<uint32_t> survivors;
  std::vector<std::string> lost;
  const auto& candidates = Planted(PlantedBug::kSurvivorsNotStored)
                               ? Stored(context).placed()
                               : Stored(context).members();
  for (const uint32_t member : candidates) {
    std::string why = WhyNotGoingOn(context, member);
    if (why.empty()) {
      survivors.push_back(member);
    } else if (!LeaseIsOver(context, member)) {
      return absl::UnavailableError(absl::StrCat(
          why, "; the shard goes on when it returns or its lease is over"));
    } else {
      lost.push_back(std::move(why));
    }
  }
  const uint32_t least = LeastSurvivors(context);
  if (survivors.size() >= least) return survivors;
  return absl::UnavailableError(
      absl::StrCat(absl::StrJoin(lost, ", "), "; the shard needs ", least,
                   " replicas to go on and has ", survivors.size(),
                   ": bring one of those servers back, with its pool"));
}

// ------------------------------------------------------------------ learners

bool ShardMachine::HasCaughtUp(const ChangeContext& context,
                               uint32_t server) const {
  const proto::StoredShard& stored = Stored(context);
  const proto::ShardReport* own = ReportOf(context, server);
  const proto::ShardReport* primary = ReportOf(context, stored.members(0));
  if (own == nullptr || primary == nullptr || own->damaged() ||
      own->phase() != proto::SHARD_LEARNING || own->epoch() != stored.epoch()) {
    return false;
  }
  return own->durable() + stored.policy().window_bytes() / kWindowPart >=
         primary->announced();
}

std::vector<uint32_t> ShardMachine::Joining(
    const ChangeContext& context) const {
  std::vector<uint32_t> joining;
  for (const uint32_t id : Stored(context).placed()) {
    if (IsMember(context, id) || !WhyNotGoingOn(context, id).empty()) continue;
    const auto pause = pauses_.find(id);
    if (pause != pauses_.end() && context.now_ns < pause->second.until_ns) {
      continue;
    }
    if (!HasCaughtUp(context, id)) continue;
    joining.push_back(id);
  }
  return joining;
}

// Twice as long each time, unless the last one is long ago.
void ShardMachine::StartPause(const ChangeContext& context, uint32_t server) {
  Pause& pause = pauses_[server];
  const bool long_ago = context.now_ns > pause.until_ns + 10 * pause.length_ns;
  pause.length_ns = long_ago ? context.options.hint_pause_ns
                             : std::min(2 * pause.length_ns, kMaxPauseNs);
  pause.until_ns = context.now_ns + pause.length_ns;
}

// ------------------------------------------------------------------- leaving

bool ShardMachine::IsPlaced(const ChangeContext& context,
                            uint32_t server) const {
  return Contains(Stored(context).placed(), server);
}

bool ShardMachine::AllPlacedAreWhole(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  return std::all_of(
      stored.placed().begin(), stored.placed().end(), [&](uint32_t server) {
        const proto::ShardReport* report = ReportOf(context, server);
        return IsMember(context, server) && report != nullptr &&
               report->phase() == proto::SHARD_ACTIVE &&
               report->epoch() == stored.epoch() &&
               report->durable() >= stored.start();
      });
}

std::vector<uint32_t> ShardMachine::Leaving(
    const ChangeContext& context) const {
  std::vector<uint32_t> leaving;
  if (!AllPlacedAreWhole(context)) return leaving;
  for (const uint32_t member : Stored(context).members()) {
    if (IsPlaced(context, member)) continue;
    const auto pause = pauses_.find(member);
    if (pause != pauses_.end() && context.now_ns < pause->second.until_ns) {
      continue;
    }
    leaving.push_back(member);
  }
  return leaving;
}

bool ShardMachine::MayFree(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  return !change_ && stored.reserved_epoch() == 0 && activated_ &&
         !stored.lacks_values() && AllPlacedAreWhole(context);
}

void ShardMachine::AddMoves(const ChangeContext& context,
                            const CopyProgress& progress,
                            proto::ClusterStatus* status) const {
  const proto::StoredShard& stored = Stored(context);
  const proto::ShardReport* primary = ReportOf(context, stored.members(0));
  const uint64_t first = context.stored.segment_bytes();
  const uint64_t end = primary == nullptr ? first : primary->announced();
  for (const uint32_t server : stored.placed()) {
    if (IsMember(context, server)) continue;
    proto::ShardMove* move = status->add_moves();
    move->set_shard(shard_);
    move->set_server_id(server);
    move->set_total_bytes(end - std::min(end, first));
    move->set_waits_for(WhyNotGoingOn(context, server));
    const proto::ShardReport* own = ReportOf(context, server);
    if (own == nullptr || own->phase() != proto::SHARD_LEARNING) continue;
    const uint64_t durable = std::max(own->durable(), first);
    move->set_copied_bytes(std::min(durable - first, move->total_bytes()));
    move->set_bytes_per_second(progress.BytesPerSecond(server, shard_));
  }
  for (const uint32_t member : stored.members()) {
    if (IsPlaced(context, member)) continue;
    proto::ShardMove* move = status->add_moves();
    move->set_shard(shard_);
    move->set_server_id(member);
    move->set_leaving(true);
    if (!AllPlacedAreWhole(context)) {
      move->set_waits_for("the replicas that stay are not whole yet");
    }
  }
}

std::vector<uint32_t> ShardMachine::LeftOut(
    const ChangeContext& context) const {
  std::vector<uint32_t> left_out;
  for (const proto::StoredServer& server : context.stored.servers()) {
    const uint32_t id = server.server_id();
    if (change_ ? !change_->Has(id) : !IsMember(context, id)) {
      left_out.push_back(id);
    }
  }
  return left_out;
}

bool ShardMachine::TookTooLong(const ChangeContext& context,
                               int64_t since_ns) const {
  return context.now_ns - since_ns >=
         context.silence_ns + context.options.stop_timeout_ns;
}

bool ShardMachine::LeaveOut(const ChangeContext& context,
                            const std::vector<uint32_t>& members) {
  if (members.empty()) return false;
  size_t others = 0;
  for (const uint32_t member : Stored(context).members()) {
    const bool leaves =
        std::find(members.begin(), members.end(), member) != members.end();
    if (leaves && !LeaseIsOver(context, member)) return false;
    others += !leaves && WhyNotGoingOn(context, member).empty();
  }
  if (others < LeastSurvivors(context)) return false;
  const proto::StoredShard* wanted = Wanted(context);
  for (const uint32_t member : members) {
    const ServerState* server = context.registry.Find(member);
    if (server == nullptr) continue;
    // What it would end next.
    const uint64_t epoch =
        change_ ? change_->epoch
                : std::max(wanted->epoch(), wanted->reserved_epoch()) + 1;
    disobedient_[member] = {server->incarnation(), epoch};
    StartPause(context, member);
  }
  return true;
}

// Those who do nothing; if all have done what they can, the one that cannot
// reach the others, or cannot be reached by them.
std::vector<uint32_t> ShardMachine::Hindering(
    const ChangeContext& context) const {
  std::vector<uint32_t> idle;
  std::vector<uint32_t> cut_off;
  std::map<uint32_t, int> complaints;
  for (const uint32_t member : Stored(context).members()) {
    if (HasDoneItsPart(context, member)) continue;
    const proto::ShardReport* report = ReportOf(context, member);
    if (report == nullptr || report->unreached().empty()) {
      idle.push_back(member);
      continue;
    }
    cut_off.push_back(member);
    for (const uint32_t peer : report->unreached()) {
      ++complaints[member];
      ++complaints[peer];
    }
  }
  if (!idle.empty() || cut_off.empty()) return idle;
  // Of equals the last: the primary leaves least readily.
  uint32_t worst = cut_off.front();
  for (const uint32_t member : cut_off) {
    if (complaints[member] >= complaints[worst]) worst = member;
  }
  return {worst};
}

std::string ShardMachine::WhyFewer(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  const auto has = static_cast<uint32_t>(stored.members_size());
  if (has >= context.stored.replicas()) return "";
  std::vector<std::string> others;
  for (const uint32_t id : stored.placed()) {
    if (IsMember(context, id)) continue;
    std::string why = WhyNotGoingOn(context, id);
    const proto::ShardReport* own = ReportOf(context, id);
    const proto::ShardReport* primary = ReportOf(context, stored.members(0));
    if (why.empty() && own != nullptr && primary != nullptr) {
      why = absl::StrCat("server ", id, " has copied ", own->durable() >> 20,
                         " of ", primary->announced() >> 20, " MiB");
    }
    if (!why.empty()) others.push_back(std::move(why));
  }
  return absl::StrCat(has, " of ", context.stored.replicas(),
                      " replicas: ", absl::StrJoin(others, ", "));
}

}  // namespace whale::control

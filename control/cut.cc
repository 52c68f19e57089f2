#include "control/cut.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"

namespace whale::control {
namespace {

// A survivor as the cut sees it: it has values in [0, announced) but in holes.
struct Holding {
  uint32_t server;
  uint64_t announced;
  std::vector<proto::LsnRange> holes;  // ascending, below `announced`
};

Holding HoldingOf(const SealedMember& member, uint64_t announced) {
  Holding holding{member.server, announced, {}};
  for (const proto::LsnRange& hole : member.report->holes()) {
    if (hole.begin() >= hole.end() || hole.begin() >= announced) continue;
    holding.holes.push_back(hole);
    holding.holes.back().set_end(std::min(hole.end(), announced));
  }
  std::sort(holding.holes.begin(), holding.holes.end(),
            [](const auto& a, const auto& b) { return a.begin() < b.begin(); });
  return holding;
}

// End of the values that `holding` has without a gap from `lsn` on; `lsn`
// itself if it lacks the value there.
uint64_t RunEnd(const Holding& holding, uint64_t lsn) {
  if (lsn >= holding.announced) return lsn;
  uint64_t end = holding.announced;
  for (const proto::LsnRange& hole : holding.holes) {
    if (hole.end() <= lsn) continue;
    end = std::min(end, std::max(lsn, hole.begin()));
  }
  return end;
}

bool HasAllBelow(const Holding& holding, uint64_t lsn) {
  return holding.holes.empty() || holding.holes.front().begin() >= lsn;
}

bool Leaves(const CutRules& rules, uint32_t server) {
  return std::find(rules.leaving.begin(), rules.leaving.end(), server) !=
         rules.leaving.end();
}

// Whether `other` lacks all that `holding` lacks below `lsn`.
bool HasAllOf(const Holding& holding, const Holding& other, uint64_t lsn) {
  return std::all_of(holding.holes.begin(), holding.holes.end(),
                     [&](const proto::LsnRange& hole) {
                       const uint64_t end = std::min(hole.end(), lsn);
                       uint64_t covered = std::min(hole.begin(), lsn);
                       for (const proto::LsnRange& of_other : other.holes) {
                         if (of_other.begin() > covered) break;
                         covered = std::max(covered, of_other.end());
                       }
                       return covered >= end;
                     });
}

// Whether nobody has a value below `lsn` that `holding` lacks.
bool HasMostBelow(const Holding& holding, const std::vector<Holding>& holdings,
                  uint64_t lsn) {
  return std::all_of(
      holdings.begin(), holdings.end(),
      [&](const Holding& other) { return HasAllOf(holding, other, lsn); });
}

uint64_t LackedBelow(const Holding& holding, uint64_t lsn) {
  uint64_t bytes = 0;
  for (const proto::LsnRange& hole : holding.holes) {
    bytes += std::min(hole.end(), lsn) - std::min(hole.begin(), lsn);
  }
  return bytes;
}

// Where each lacks what another has below `lsn`: leaves only the first of those
// that lack least, which is returned, and those that have nothing that it
// lacks. The others keep their logs and offer what is in them.
uint32_t LeaveOutWhoHasMore(uint64_t lsn, std::vector<Holding>* holdings) {
  const Holding leader =
      *std::min_element(holdings->begin(), holdings->end(),
                        [lsn](const Holding& a, const Holding& b) {
                          return LackedBelow(a, lsn) < LackedBelow(b, lsn);
                        });
  std::erase_if(*holdings, [&](const Holding& other) {
    return !HasAllOf(leader, other, lsn);
  });
  return leader.server;
}

// Null: nobody of whom `may_lead` is true. One that leaves only if nobody else
// can.
template <typename Predicate>
const Holding* ChoosePrimary(const std::vector<Holding>& holdings,
                             const CutRules& rules, Predicate may_lead) {
  const Holding* first = nullptr;
  for (const Holding& holding : holdings) {
    if (!may_lead(holding)) continue;
    if (first == nullptr ||
        (Leaves(rules, first->server) && !Leaves(rules, holding.server)) ||
        holding.server == rules.wanted_primary) {
      first = &holding;
    }
  }
  return first;
}

std::vector<uint32_t> InOrder(const std::vector<Holding>& holdings,
                              uint32_t primary, uint32_t wanted) {
  std::vector<uint32_t> members;
  members.reserve(holdings.size());
  for (const Holding& holding : holdings) members.push_back(holding.server);
  for (const uint32_t front : {wanted, primary}) {
    const auto it = std::find(members.begin(), members.end(), front);
    if (it != members.end()) std::rotate(members.begin(), it, it + 1);
  }
  return members;
}

}  // namespace

uint64_t AnnouncedInHistory(const proto::ShardReport& report,
                            const proto::StoredShard& stored,
                            uint64_t first_lsn) {
  uint64_t announced = std::max(report.announced(), first_lsn);
  if (Planted(PlantedBug::kNoHistory)) return announced;
  for (const proto::EpochStart& entry : stored.history()) {
    if (entry.epoch() > report.epoch()) {
      announced = std::min(announced, std::max(entry.start(), first_lsn));
    }
  }
  return announced;
}

std::string WhyNotComplete(const SealedMember& member,
                           const proto::StoredShard& stored, uint64_t first_lsn,
                           uint64_t known_committed) {
  const proto::ShardReport& report = *member.report;
  if (report.damaged() && !Planted(PlantedBug::kDamagedCounts)) {
    return absl::StrCat(
        "server ", member.server, " is damaged: ",
        report.damage().empty() ? "no cause given" : report.damage());
  }
  const uint64_t announced = AnnouncedInHistory(report, stored, first_lsn);
  const uint64_t from =
      Planted(PlantedBug::kCompleteAtT) ? stored.start() : stored.committed();
  const uint64_t needed = std::max(from, known_committed);
  if (announced < needed) {
    return absl::StrCat("server ", member.server,
                        " is incomplete: its log ends at ", announced,
                        ", but all below ", needed, " may be committed");
  }
  return "";
}

absl::StatusOr<Cut> ComputeCut(const proto::StoredShard& stored,
                               const std::vector<SealedMember>& members,
                               const CutRules& rules) {
  uint64_t known_committed = 0;
  for (const SealedMember& member : members) {
    if (member.report->epoch() > stored.epoch()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "server ", member.server, " has adopted epoch ",
          member.report->epoch(), ", but the configuration store knows only ",
          stored.epoch(),
          ": the store is older than the cluster. Bring back the newest "
          "store"));
    }
    // What a damaged member says of itself is not believed.
    if (member.report->damaged()) continue;
    known_committed = std::max(known_committed, member.report->committed());
  }
  std::vector<Holding> holdings;
  std::vector<std::string> unfit;
  Cut cut;
  cut.committed = UINT64_MAX;
  for (const SealedMember& member : members) {
    std::string why =
        WhyNotComplete(member, stored, rules.first_lsn, known_committed);
    if (!why.empty()) {
      RareBranch<"cut: member is not whole">();
      unfit.push_back(std::move(why));
      continue;
    }
    const uint64_t announced =
        AnnouncedInHistory(*member.report, stored, rules.first_lsn);
    holdings.push_back(HoldingOf(member, announced));
    cut.committed = std::min(cut.committed, announced);
  }
  if (holdings.empty() || holdings.size() < rules.least_survivors) {
    return absl::FailedPreconditionError(
        absl::StrCat(absl::StrJoin(unfit, "; "), "; only ", holdings.size(),
                     " of the replicas are whole, and ", rules.least_survivors,
                     " are needed: bring back the undamaged pool of another"));
  }
  const Holding* primary =
      ChoosePrimary(holdings, rules, [&cut](const Holding& holding) {
        return HasAllBelow(holding, cut.committed);
      });
  if (primary == nullptr) {
    RareBranch<"cut: nobody has all values">();
    cut.lacks_values = true;
    primary = ChoosePrimary(holdings, rules, [&](const Holding& holding) {
      return HasMostBelow(holding, holdings, cut.committed);
    });
  }
  if (primary == nullptr) {
    const uint32_t leader = LeaveOutWhoHasMore(cut.committed, &holdings);
    if (holdings.size() < rules.least_survivors) {
      return absl::FailedPreconditionError(absl::StrCat(
          "no replica that is there has all committed values, and each lacks "
          "what another has: bring back a server that was left out, with its "
          "pool; or, if there is none, let server ",
          leader, " go on and fetch what the others have: `whale admin ",
          "set-policy --min-replicas ", holdings.size(), "` for this shard"));
    }
    unfit.emplace_back("who has what the primary lacks");
    primary = &*std::find_if(
        holdings.begin(), holdings.end(),
        [leader](const Holding& holding) { return holding.server == leader; });
  }
  cut.start = RunEnd(*primary, cut.committed);
  if (Planted(PlantedBug::kCutTooLow)) {
    cut.start = cut.committed = std::max(stored.committed(), known_committed);
  }
  cut.members = InOrder(holdings, primary->server, rules.wanted_primary);
  if (unfit.empty() && !Leaves(rules, primary->server)) {
    std::erase_if(cut.members,
                  [&](uint32_t server) { return Leaves(rules, server); });
  }
  return cut;
}

}  // namespace whale::control

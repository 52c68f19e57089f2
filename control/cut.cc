#include "control/cut.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"

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

// The largest LSN such that each value in [from, it) is held by someone.
uint64_t UnionEnd(const std::vector<Holding>& holdings, uint64_t from) {
  uint64_t end = from;
  for (bool progress = true; progress;) {
    progress = false;
    for (const Holding& holding : holdings) {
      const uint64_t run_end = RunEnd(holding, end);
      progress |= run_end > end;
      end = run_end;
    }
  }
  return end;
}

// Bytes below `start` whose values `holding` lacks.
uint64_t MissingBytes(const Holding& holding, uint64_t start) {
  uint64_t missing = start - std::min(start, holding.announced);
  uint64_t counted_to = 0;
  for (const proto::LsnRange& hole : holding.holes) {
    const uint64_t begin = std::max(hole.begin(), counted_to);
    const uint64_t end = std::min(hole.end(), start);
    if (begin >= end) continue;
    missing += end - begin;
    counted_to = end;
  }
  return missing;
}

std::vector<uint32_t> PrimaryFirst(const std::vector<Holding>& holdings,
                                   uint64_t start) {
  const auto primary = std::min_element(
      holdings.begin(), holdings.end(), [&](const auto& a, const auto& b) {
        return MissingBytes(a, start) < MissingBytes(b, start);
      });
  std::vector<uint32_t> members = {primary->server};
  for (const Holding& holding : holdings) {
    if (holding.server != primary->server) members.push_back(holding.server);
  }
  return members;
}

std::string Advice(uint32_t server) {
  return absl::StrCat(
      ". Bring back the undamaged pool of server ", server,
      "; going on without it is not supported yet by this version");
}

}  // namespace

uint64_t AnnouncedInHistory(const proto::ShardReport& report,
                            const proto::StoredShard& stored,
                            uint64_t first_lsn) {
  uint64_t announced = std::max(report.announced(), first_lsn);
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
  if (report.damaged()) {
    return absl::StrCat(
        "server ", member.server, " is damaged: ",
        report.damage().empty() ? "no cause given" : report.damage(),
        Advice(member.server));
  }
  if (report.epoch() > stored.epoch()) {
    return absl::StrCat(
        "server ", member.server, " has adopted epoch ", report.epoch(),
        ", but the configuration store knows only ", stored.epoch(),
        ": the store is older than the cluster. Bring back the newest store");
  }
  const uint64_t announced = AnnouncedInHistory(report, stored, first_lsn);
  const uint64_t needed = std::max(stored.committed(), known_committed);
  if (announced < needed) {
    return absl::StrCat(
        "server ", member.server, " is incomplete: its log ends at ", announced,
        ", but all below ", needed, " may be committed", Advice(member.server));
  }
  return "";
}

absl::StatusOr<Cut> ComputeCut(const proto::StoredShard& stored,
                               const std::vector<SealedMember>& survivors,
                               uint64_t first_lsn) {
  WHALE_CHECK(!survivors.empty());
  uint64_t known_committed = 0;
  for (const SealedMember& member : survivors) {
    // What a damaged member says of itself is not believed.
    if (member.report->damaged()) continue;
    known_committed = std::max(known_committed, member.report->committed());
  }
  std::vector<Holding> holdings;
  Cut cut;
  cut.committed = UINT64_MAX;
  for (const SealedMember& member : survivors) {
    std::string why =
        WhyNotComplete(member, stored, first_lsn, known_committed);
    if (!why.empty()) return absl::FailedPreconditionError(why);
    const uint64_t announced =
        AnnouncedInHistory(*member.report, stored, first_lsn);
    holdings.push_back(HoldingOf(member, announced));
    cut.committed = std::min(cut.committed, announced);
  }
  cut.start = UnionEnd(holdings, cut.committed);
  cut.members = PrimaryFirst(holdings, cut.start);
  return cut;
}

}  // namespace whale::control

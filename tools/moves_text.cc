#include "tools/moves_text.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/status_text.h"
#include "tools/table.h"

namespace whale::tools {
namespace {

uint64_t Left(const proto::ShardMove& move) {
  return move.total_bytes() - std::min(move.total_bytes(), move.copied_bytes());
}

std::string MoveState(const proto::ShardMove& move) {
  if (!move.waits_for().empty()) return "waits: " + move.waits_for();
  if (move.leaving()) return "goes";
  if (move.bytes_per_second() == 0) return "begins to copy";
  return absl::StrCat("copies, ", HumanBytes(move.bytes_per_second()), "/s");
}

}  // namespace

MovesSummary Summarize(const proto::ClusterStatus& status) {
  MovesSummary summary;
  // Servers copy side by side; the slowest says how long it takes.
  std::map<uint32_t, std::pair<uint64_t, uint64_t>> by_server;  // left, rate
  for (const proto::ShardMove& move : status.moves()) {
    if (move.leaving()) {
      ++summary.going;
      continue;
    }
    ++summary.coming;
    summary.copied_bytes += move.copied_bytes();
    summary.total_bytes += move.total_bytes();
    summary.bytes_per_second += move.bytes_per_second();
    by_server[move.server_id()].first += Left(move);
    by_server[move.server_id()].second += move.bytes_per_second();
  }
  for (const auto& [server, left_and_rate] : by_server) {
    const auto [left, rate] = left_and_rate;
    if (rate == 0) continue;
    summary.seconds_left =
        std::max(summary.seconds_left.value_or(0), (left + rate - 1) / rate);
  }
  return summary;
}

bool MovesDone(const proto::ClusterStatus& status) {
  return status.moves().empty() && status.removing().empty();
}

std::string MovesLine(const proto::ClusterStatus& status) {
  if (MovesDone(status)) return "done";
  const MovesSummary summary = Summarize(status);
  std::string text =
      absl::StrCat(summary.coming, " replicas to come, ", summary.going,
                   " to go; copied ", HumanBytes(summary.copied_bytes), " of ",
                   HumanBytes(summary.total_bytes));
  if (summary.seconds_left) {
    absl::StrAppend(&text, ", ", HumanBytes(summary.bytes_per_second),
                    "/s, about ", *summary.seconds_left, " s left");
  }
  return text;
}

std::string MovesText(const proto::ClusterStatus& status) {
  std::string text;
  if (!status.moves().empty()) {
    Table table({"MOVE", "SERVER", "COPIED", "OF", "STATE"});
    for (const proto::ShardMove& move : status.moves()) {
      const bool comes = !move.leaving();
      table.Add({absl::StrCat(comes ? "to" : "from"),
                 absl::StrCat(move.server_id(), ", shard ", move.shard()),
                 comes ? HumanBytes(move.copied_bytes()) : "-",
                 comes ? HumanBytes(move.total_bytes()) : "-",
                 MoveState(move)});
    }
    text = table.Text();
  }
  if (!status.removing().empty()) {
    absl::StrAppend(&text, "being removed: server ",
                    absl::StrJoin(status.removing(), ", "), "\n");
  }
  if (!status.drained().empty()) {
    absl::StrAppend(&text, "drained: server ",
                    absl::StrJoin(status.drained(), ", "), "\n");
  }
  return text;
}

}  // namespace whale::tools

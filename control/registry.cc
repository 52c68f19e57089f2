#include "control/registry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "control/refusals.h"

namespace whale::control {
namespace {

// A process that has reported so often since a rival appeared is alive; one
// report may still have been on its way when the process died.
constexpr int kReportsThatProveLife = 2;
// Rejected processes that are remembered; more are refused anew.
constexpr size_t kMaxRejected = 64;

}  // namespace

Registry::Answer Registry::OnReport(const proto::ServerReport& report,
                                    const ClusterOptions& wanted,
                                    const proto::StoredState* stored,
                                    int64_t silence_ns, int64_t now_ns) {
  std::string why = WhyRefused(report, wanted, stored);
  for (const auto& [id, other] : servers_) {
    if (!why.empty()) break;
    if (id == report.server_id() || !Present(id, silence_ns, now_ns)) continue;
    why = WhyNotWith(report, other.report);
  }
  if (!why.empty()) return {Verdict::kRefused, why};
  const auto rejected =
      rejected_.find({report.server_id(), report.incarnation()});
  if (rejected != rejected_.end()) return {Verdict::kRefused, rejected->second};

  ServerState& state = servers_[report.server_id()];
  if (state.incarnation() == report.incarnation()) {
    if (state.rival != 0) ++state.reports_since_rival;
    const bool newer = report.sequence() > state.report.sequence();
    // A stream that was opened again says the same once more: it is there.
    if (!newer && state.attached) return {Verdict::kIgnored, ""};
    if (newer) {
      Accept(state, report, now_ns);
    } else {
      state.attached = true;
    }
    return {Verdict::kAccepted, ""};
  }
  const bool holder_lives =
      state.attached && now_ns - state.heard_ns <= silence_ns;
  if (holder_lives) return OnRival(state, report);
  state = ServerState();
  Accept(state, report, now_ns);
  return {Verdict::kAccepted, ""};
}

Registry::Answer Registry::OnRival(ServerState& state,
                                   const proto::ServerReport& report) {
  if (state.rival != report.incarnation()) {
    state.rival = report.incarnation();
    state.reports_since_rival = 0;
  }
  state.rival_report = report;
  // Either the holder has just died and its stream is not closed yet, or two
  // processes run with one id. Which, its next reports tell.
  if (state.reports_since_rival < kReportsThatProveLife) {
    return {Verdict::kIgnored, ""};
  }
  std::string why = absl::StrCat(
      "another process with server id ", state.id(), " is attached (fabric ",
      state.report.fabric_address(), ", http ", state.report.http_address(),
      "): give each server its own id, or stop the other process");
  if (rejected_.size() >= kMaxRejected) rejected_.clear();
  rejected_[{report.server_id(), report.incarnation()}] = why;
  state.rival = 0;
  return {Verdict::kRefused, why};
}

void Registry::Accept(ServerState& state, const proto::ServerReport& report,
                      int64_t now_ns) {
  const bool first = state.incarnation() == 0;
  if (first || report.data_progress() != state.progress) {
    state.progress = report.data_progress();
    state.progress_ns = now_ns;
  }
  state.report = report;
  state.attached = true;
  state.heard_ns = now_ns;
}

void Registry::OnGone(uint32_t server, uint64_t incarnation, int64_t now_ns) {
  const auto it = servers_.find(server);
  if (it == servers_.end()) return;
  ServerState& state = it->second;
  if (state.rival == incarnation) state.rival = 0;
  if (state.incarnation() != incarnation || !state.attached) return;
  if (state.rival != 0) {
    const proto::ServerReport successor = state.rival_report;
    state = ServerState();
    Accept(state, successor, now_ns);
    return;
  }
  state.attached = false;
  state.away_since_ns = now_ns;
}

void Registry::Keep(const proto::StoredState& stored) {
  std::erase_if(servers_, [&](const auto& entry) {
    return std::none_of(stored.servers().begin(), stored.servers().end(),
                        [&](const proto::StoredServer& server) {
                          return server.server_id() == entry.first;
                        });
  });
}

const ServerState* Registry::Find(uint32_t server) const {
  const auto it = servers_.find(server);
  return it == servers_.end() ? nullptr : &it->second;
}

const proto::ShardReport* Registry::FindShard(uint32_t server,
                                              uint32_t shard) const {
  const ServerState* state = Find(server);
  if (state == nullptr) return nullptr;
  const auto& shards = state->report.shards();
  // Usually a report names all shards, by number.
  const int at = static_cast<int>(shard);
  if (at < shards.size() && shards[at].shard() == shard) return &shards[at];
  const auto it =
      std::find_if(shards.begin(), shards.end(),
                   [&](const auto& s) { return s.shard() == shard; });
  return it == shards.end() ? nullptr : &*it;
}

std::string Registry::WhyAway(uint32_t server, int64_t silence_ns,
                              int64_t now_ns) const {
  const ServerState* state = Find(server);
  if (state == nullptr) {
    return absl::StrCat("server ", server, " has not registered yet");
  }
  if (!state->attached) return absl::StrCat("server ", server, " is away");
  if (state->report.leaving()) {
    return absl::StrCat("server ", server, " is shutting down");
  }
  if (now_ns - state->heard_ns > silence_ns) {
    return absl::StrCat("server ", server, " is silent");
  }
  const bool counts_turns = state->progress != 0;
  if (counts_turns && now_ns - state->progress_ns > silence_ns) {
    return absl::StrCat("server ", server,
                        " hangs: its data threads stand still");
  }
  return "";
}

}  // namespace whale::control

#include "control/cluster_map.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace whale::control {
namespace {

constexpr std::array<std::string_view, 3> kSurvives = {"process", "os",
                                                       "power"};

size_t Rank(std::string_view survives) {
  const auto it = std::find(kSurvives.begin(), kSurvives.end(), survives);
  // What is not known promises nothing more than the least.
  return it == kSurvives.end() ? 0 : it - kSurvives.begin();
}

void WarnOfServer(const ServerState& server, const std::string& away,
                  int64_t now_ns, std::vector<std::string>* warnings) {
  if (!away.empty()) {
    const int64_t since =
        server.attached ? server.heard_ns : server.away_since_ns;
    warnings->push_back(absl::StrCat(away, " (since ",
                                     (now_ns - since) / 1'000'000'000, " s)"));
  }
  if (!server.report.note().empty()) {
    warnings->push_back(
        absl::StrCat("server ", server.id(), " says: ", server.report.note()));
  }
  for (const proto::ShardReport& shard : server.report.shards()) {
    if (!shard.damaged()) continue;
    warnings->push_back(absl::StrCat("shard ", shard.shard(), " of server ",
                                     server.id(),
                                     " is damaged: ", shard.damage()));
  }
}

void WarnOfShards(const proto::ClusterMap& map,
                  std::vector<std::string>* warnings) {
  // One line per cause, not per shard.
  std::map<std::string, std::vector<uint32_t>> shards_by_cause;
  for (const proto::ShardEntry& shard : map.shards()) {
    if (!shard.active())
      shards_by_cause[shard.why_not()].push_back(shard.shard());
  }
  for (const auto& [cause, shards] : shards_by_cause) {
    warnings->push_back(absl::StrCat("not served: shard",
                                     shards.size() == 1 ? " " : "s ",
                                     absl::StrJoin(shards, ", "), ": ", cause));
  }
}

void WarnOfOptions(const ClusterOptions& options,
                   const proto::StoredState& stored,
                   std::vector<std::string>* warnings) {
  if (options.replicas == stored.replicas() &&
      options.shard_count == stored.shard_count()) {
    return;
  }
  warnings->push_back(absl::StrCat(
      "the coordinator was started for ", options.replicas, " replicas and ",
      options.shard_count, " shards; the stored cluster has ",
      stored.replicas(), " and ", stored.shard_count(), ", which counts"));
}

}  // namespace

void AddServers(const Registry& registry, int64_t silence_ns, int64_t now_ns,
                proto::ClusterMap* map) {
  for (const auto& [id, server] : registry.servers()) {
    proto::ServerEntry* entry = map->add_servers();
    entry->set_server_id(id);
    entry->set_incarnation(server.incarnation());
    entry->set_fabric(server.report.fabric());
    entry->set_fabric_address(server.report.fabric_address());
    entry->set_http_address(server.report.http_address());
    entry->set_alive(registry.Present(id, silence_ns, now_ns));
  }
}

std::string WeakestSurvival(const Registry& registry) {
  if (registry.servers().empty()) return "";
  size_t weakest = kSurvives.size() - 1;
  for (const auto& [id, server] : registry.servers()) {
    weakest = std::min(weakest, Rank(server.report.survives()));
  }
  return std::string(kSurvives[weakest]);
}

void AddReports(const Registry& registry, int64_t now_ns,
                proto::ClusterStatus* status) {
  for (const auto& [id, server] : registry.servers()) {
    *status->add_reports() = server.report;
    status->add_report_age_us(static_cast<uint64_t>(now_ns - server.heard_ns) /
                              1000);
  }
  status->set_survives(WeakestSurvival(registry));
}

void WarnOfMissing(proto::ClusterStatus* status) {
  for (const proto::ShardMissing& shard : status->missing()) {
    if (shard.values() == 0) continue;
    std::string lsns;
    if (!shard.first().empty()) {
      lsns = absl::StrCat(" (LSN ", shard.first(0).lsn(), " to ",
                          shard.first(shard.first_size() - 1).lsn(), ")");
    }
    status->add_warnings(absl::StrCat(
        "shard ", shard.shard(), " lacks ", shard.values(), " committed values",
        lsns,
        ", whose keys answer \"unavailable\": they "
        "may be in the pools of servers ",
        absl::StrJoin(shard.may_be_at(), ", "),
        "; bring them back, or give the values up with `whale admin "
        "declare-lost ",
        shard.shard(), "`"));
  }
}

std::vector<std::string> Warnings(const Registry& registry,
                                  const ClusterOptions& options,
                                  const proto::StoredState* stored,
                                  const proto::ClusterMap& map,
                                  int64_t silence_ns, int64_t now_ns) {
  std::vector<std::string> warnings;
  for (const auto& [id, server] : registry.servers()) {
    WarnOfServer(server, registry.WhyAway(id, silence_ns, now_ns), now_ns,
                 &warnings);
  }
  if (stored == nullptr) return warnings;
  for (const proto::StoredServer& server : stored->servers()) {
    if (registry.Find(server.server_id()) != nullptr) continue;
    warnings.push_back(absl::StrCat("server ", server.server_id(),
                                    " has not registered since this "
                                    "coordinator began"));
  }
  WarnOfShards(map, &warnings);
  WarnOfOptions(options, *stored, &warnings);
  return warnings;
}

}  // namespace whale::control

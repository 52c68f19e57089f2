#include "tools/status_text.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/moves_text.h"
#include "tools/table.h"

namespace whale::tools {
namespace {

using Json = nlohmann::ordered_json;

// "SHARD_ACTIVE" -> "active".
std::string PhaseName(proto::ShardPhase phase) {
  const std::string name = proto::ShardPhase_Name(phase);
  const size_t dash = name.find('_');
  return absl::AsciiStrToLower(
      dash == std::string_view::npos ? name : name.substr(dash + 1));
}

// The newest report of a server and its age; nullptr when there is none.
struct Reported {
  const proto::ServerReport* report = nullptr;
  uint64_t age_us = 0;
};
Reported ReportOf(const proto::ClusterStatus& status, uint32_t server) {
  for (int i = 0; i < status.reports_size(); ++i) {
    if (status.reports(i).server_id() != server) continue;
    return {&status.reports(i),
            i < status.report_age_us_size() ? status.report_age_us(i) : 0};
  }
  return {};
}

const proto::ShardReport* ShardOf(const proto::ServerReport* report,
                                  uint32_t shard) {
  if (report == nullptr) return nullptr;
  for (const proto::ShardReport& s : report->shards()) {
    if (s.shard() == shard) return &s;
  }
  return nullptr;
}

std::string PolicyText(const proto::Policy& policy) {
  return absl::StrCat("mirrors ", policy.mirrors(), ", by value up to ",
                      HumanBytes(policy.by_value_max_bytes()), ", window ",
                      HumanBytes(policy.window_bytes()), ", lease ",
                      HumanTime(policy.lease_us()), ", at least ",
                      policy.min_replicas(), " replicas");
}

std::string ServersText(const proto::ClusterStatus& status) {
  Table table({"SERVER", "STATE", "FABRIC", "MEMORY", "SURVIVES",
               "FREE SEGMENTS", "HTTP", "HEARD"});
  for (const proto::ServerEntry& server : status.map().servers()) {
    const auto [report, age_us] = ReportOf(status, server.server_id());
    const auto of = [&, report = report](const std::string& text) {
      return report == nullptr || text.empty() ? "-" : text;
    };
    table.Add({absl::StrCat(server.server_id()),
               server.alive() ? "alive" : "gone", server.fabric(),
               report == nullptr ? "-" : of(report->domain()),
               report == nullptr ? "-" : of(report->survives()),
               report == nullptr ? "-"
                                 : absl::StrCat(report->free_segments(), " of ",
                                                report->pool_segments()),
               server.http_address().empty() ? "-" : server.http_address(),
               report == nullptr ? "never" : HumanTime(age_us) + " ago"});
  }
  std::string text = table.Text();
  for (const proto::ServerEntry& server : status.map().servers()) {
    const proto::ServerReport* report =
        ReportOf(status, server.server_id()).report;
    if (report == nullptr || report->fabric_detail().empty()) continue;
    absl::StrAppend(&text, "server ", server.server_id(), " uses ",
                    report->fabric_detail(), "\n");
  }
  return text;
}

void AddReplica(const proto::ClusterStatus& status,
                const proto::ShardEntry& shard, int position, Table* table) {
  const uint32_t server = shard.members(position);
  const proto::ShardReport* report =
      ShardOf(ReportOf(status, server).report, shard.shard());
  const std::string first = position == 0 ? absl::StrCat(shard.shard()) : "";
  const std::string role(
      RoleName(position, shard.members_size(), shard.policy().mirrors()));
  if (report == nullptr) {
    table->Add({first, absl::StrCat(server), role, "unknown", "-", "-", "-",
                "-", "-", "-", "-", "-"});
    return;
  }
  table->Add({first, absl::StrCat(server), role,
              report->damaged() ? "damaged" : PhaseName(report->phase()),
              absl::StrCat(report->epoch()), absl::StrCat(report->announced()),
              absl::StrCat(report->committed()),
              absl::StrCat(report->durable()), absl::StrCat(report->applied()),
              absl::StrCat(report->records()), HumanBytes(report->lag_bytes()),
              HumanTime(report->lag_us())});
}

std::string ShardsText(const proto::ClusterStatus& status) {
  Table table({"SHARD", "SERVER", "ROLE", "STATE", "EPOCH", "ANNOUNCED",
               "COMMITTED", "DURABLE", "APPLIED", "KEYS", "LAG", "LAG TIME"});
  for (const proto::ShardEntry& shard : status.map().shards()) {
    for (int i = 0; i < shard.members_size(); ++i) {
      AddReplica(status, shard, i, &table);
    }
  }
  return table.Text();
}

std::string TroublesText(const proto::ClusterStatus& status) {
  std::string text;
  for (const std::string& warning : status.warnings()) {
    absl::StrAppend(&text, "warning: ", warning, "\n");
  }
  for (const proto::ShardEntry& shard : status.map().shards()) {
    if (shard.active()) continue;
    absl::StrAppend(&text, "shard ", shard.shard(), " does not serve: ",
                    shard.why_not().empty() ? "its configuration is being "
                                              "changed"
                                            : shard.why_not(),
                    "\n");
  }
  for (const proto::ServerReport& report : status.reports()) {
    if (!report.note().empty()) {
      absl::StrAppend(&text, "server ", report.server_id(), ": ", report.note(),
                      "\n");
    }
    for (const proto::ShardReport& shard : report.shards()) {
      if (!shard.damaged()) continue;
      absl::StrAppend(&text, "server ", report.server_id(), ", shard ",
                      shard.shard(), " is damaged: ", shard.damage(), "\n");
    }
  }
  return text;
}

Json ReplicaJson(const proto::ClusterStatus& status,
                 const proto::ShardEntry& shard, int position) {
  const uint32_t server = shard.members(position);
  Json json = {{"server", server},
               {"role", std::string(RoleName(position, shard.members_size(),
                                             shard.policy().mirrors()))}};
  const proto::ShardReport* report =
      ShardOf(ReportOf(status, server).report, shard.shard());
  if (report == nullptr) {
    json["state"] = "unknown";
    return json;
  }
  json["state"] = PhaseName(report->phase());
  json["epoch"] = report->epoch();
  json["announced"] = report->announced();
  json["committed"] = report->committed();
  json["durable"] = report->durable();
  json["applied"] = report->applied();
  json["replicated"] = report->replicated();
  json["keys"] = report->records();
  json["log_bytes"] = report->log_bytes();
  json["lag_bytes"] = report->lag_bytes();
  json["lag_us"] = report->lag_us();
  json["window_high_water_bytes"] = report->window_high_water_bytes();
  json["open_sessions"] = report->open_sessions();
  json["has_lease"] = report->has_lease();
  json["holes"] = report->holes_size();
  json["damaged"] = report->damaged();
  if (report->damaged()) json["damage"] = report->damage();
  return json;
}

Json ShardJson(const proto::ClusterStatus& status,
               const proto::ShardEntry& shard) {
  const proto::Policy& policy = shard.policy();
  Json json = {{"shard", shard.shard()},
               {"epoch", shard.epoch()},
               {"active", shard.active()},
               {"why_not", shard.why_not()},
               {"policy",
                {{"mirrors", policy.mirrors()},
                 {"by_value_max_bytes", policy.by_value_max_bytes()},
                 {"window_bytes", policy.window_bytes()},
                 {"lease_us", policy.lease_us()},
                 {"session_lease_us", policy.session_lease_us()},
                 {"copy_bytes_per_second", policy.copy_bytes_per_second()},
                 {"min_replicas", policy.min_replicas()}}},
               {"placed", shard.placed()},
               {"replicas", Json::array()}};
  json["missing_values"] = 0;
  json["lost_values"] = 0;
  for (const proto::ShardMissing& missing : status.missing()) {
    if (missing.shard() != shard.shard()) continue;
    json["missing_values"] = missing.values();
    json["lost_values"] = missing.lost_values();
    json["missing_may_be_at"] = missing.may_be_at();
    json["missing"] = Json::array();
    for (const proto::MissingValue& value : missing.first()) {
      json["missing"].push_back(
          {{"begin", value.lsn()},
           {"end", value.lsn() + value.record_bytes()},
           {"key_hash", absl::StrFormat("%016x", value.key_hash())}});
    }
  }
  for (int i = 0; i < shard.members_size(); ++i) {
    json["replicas"].push_back(ReplicaJson(status, shard, i));
  }
  return json;
}

Json ServerJson(const proto::ClusterStatus& status,
                const proto::ServerEntry& server) {
  Json json = {{"server", server.server_id()},
               {"alive", server.alive()},
               {"incarnation", server.incarnation()},
               {"fabric", server.fabric()},
               {"fabric_address", server.fabric_address()},
               {"http_address", server.http_address()}};
  const auto [report, age_us] = ReportOf(status, server.server_id());
  if (report == nullptr) return json;
  json["fabric_detail"] = report->fabric_detail();
  json["domain"] = report->domain();
  json["survives"] = report->survives();
  json["pool_uuid"] = absl::BytesToHexString(report->pool_uuid());
  json["segment_bytes"] = report->segment_bytes();
  json["pool_segments"] = report->pool_segments();
  json["free_segments"] = report->free_segments();
  json["note"] = report->note();
  json["report_age_us"] = age_us;
  for (const proto::StageReport& stage : report->stages()) {
    json["stages"][stage.stage()] = {
        {"count", stage.count()},     {"samples", stage.samples()},
        {"mean_ns", stage.mean_ns()}, {"p50_ns", stage.p50_ns()},
        {"p99_ns", stage.p99_ns()},   {"max_ns", stage.max_ns()}};
  }
  return json;
}

Json MoveJson(const proto::ShardMove& move) {
  return {{"shard", move.shard()},
          {"server", move.server_id()},
          {"leaving", move.leaving()},
          {"copied_bytes", move.copied_bytes()},
          {"total_bytes", move.total_bytes()},
          {"bytes_per_second", move.bytes_per_second()},
          {"waits_for", move.waits_for()}};
}

}  // namespace

std::string_view RoleName(size_t position, size_t members, uint32_t mirrors) {
  if (position == 0) return "primary";
  if (position <= mirrors) return "mirror";
  if (position + 1 == members) return "tail";
  return position == mirrors + 1 ? "head" : "middle";
}

std::string_view SurvivesText(std::string_view survives) {
  if (survives == "process") {
    return "a crash of its processes, not of the machine";
  }
  if (survives == "os") return "a crash of the operating system, not of power";
  if (survives == "power") return "loss of power";
  return "unknown";
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanTime(uint64_t microseconds) {
  if (microseconds < 1000) return absl::StrCat(microseconds, " us");
  const double ms = static_cast<double>(microseconds) / 1000;
  return ms < 1000 ? absl::StrFormat("%.1f ms", ms)
                   : absl::StrFormat("%.1f s", ms / 1000);
}

std::string StatusText(const proto::ClusterStatus& status) {
  const proto::ClusterMap& map = status.map();
  std::string text = absl::StrCat(
      TroublesText(status), "cluster ",
      map.cluster_uuid().empty() ? "not formed yet"
                                 : absl::BytesToHexString(map.cluster_uuid()),
      ", ", status.coordinator(), "\n");
  if (!status.survives().empty()) {
    absl::StrAppend(&text, "its memory survives ",
                    std::string(SurvivesText(status.survives())), " (",
                    status.survives(), ")\n");
  }
  if (map.shards_size() > 0) {
    absl::StrAppend(&text, "policy: ", PolicyText(map.shards(0).policy()),
                    "\n");
  }
  if (map.servers_size() > 0) {
    absl::StrAppend(&text, "\n", ServersText(status));
  }
  if (map.shards_size() > 0) {
    absl::StrAppend(&text, "\n", ShardsText(status));
  }
  const std::string moves = MovesText(status);
  if (!moves.empty()) absl::StrAppend(&text, "\n", moves);
  return text;
}

std::string StagesText(const proto::ClusterStatus& status) {
  Table table({"SERVER", "STAGE", "COUNT", "TIMED", "MEAN ns", "P50 ns",
               "P99 ns", "MAX ns", "TOTAL ms"});
  for (const proto::ServerReport& report : status.reports()) {
    std::string server = absl::StrCat(report.server_id());
    for (const proto::StageReport& stage : report.stages()) {
      if (stage.count() == 0) continue;
      const double total_ns =
          stage.mean_ns() * static_cast<double>(stage.count());
      table.Add({server, stage.stage(), absl::StrCat(stage.count()),
                 absl::StrCat(stage.samples()),
                 absl::StrFormat("%.0f", stage.mean_ns()),
                 absl::StrFormat("%.0f", stage.p50_ns()),
                 absl::StrFormat("%.0f", stage.p99_ns()),
                 absl::StrFormat("%.0f", stage.max_ns()),
                 absl::StrFormat("%.1f", total_ns / 1e6)});
      server.clear();
    }
  }
  return table.Text();
}

std::string StatusJson(const proto::ClusterStatus& status) {
  const proto::ClusterMap& map = status.map();
  Json json = {{"cluster_uuid", absl::BytesToHexString(map.cluster_uuid())},
               {"protocol_version", map.protocol_version()},
               {"map_version", map.version()},
               {"coordinator", status.coordinator()},
               {"survives", status.survives()},
               {"all_active", AllActive(status)},
               {"warnings", Json::array()},
               {"servers", Json::array()},
               {"shards", Json::array()},
               {"moves", Json::array()},
               {"removing", status.removing()},
               {"drained", status.drained()}};
  for (const proto::ShardMove& move : status.moves()) {
    json["moves"].push_back(MoveJson(move));
  }
  for (const std::string& w : status.warnings()) json["warnings"].push_back(w);
  for (const auto& server : map.servers()) {
    json["servers"].push_back(ServerJson(status, server));
  }
  for (const auto& shard : map.shards()) {
    json["shards"].push_back(ShardJson(status, shard));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool AllActive(const proto::ClusterStatus& status) {
  for (const proto::ShardEntry& shard : status.map().shards()) {
    if (!shard.active()) return false;
  }
  return status.map().shards_size() > 0;
}

}  // namespace whale::tools

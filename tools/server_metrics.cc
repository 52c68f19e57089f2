#include "tools/server_metrics.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tools/metric_families.h"

namespace whale::tools {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Families = MetricFamilies;

void AddCounters(const node::Server::Counters& c, Families* families) {
  MetricFamily& requests = families->Family(
      "requests_total", "Requests of clients answered", MetricType::Counter);
  const auto request = [&](const char* type, uint64_t count) {
    Families::Add(requests, static_cast<double>(count), {{"type", type}});
  };
  request("get", c.gets);
  request("put", c.puts);
  request("delete", c.deletes);
  request("compare", c.compares);
  MetricFamily& refused = families->Family(
      "refused_total", "Requests refused, by reason", MetricType::Counter);
  const auto refusal = [&](const char* reason, uint64_t count) {
    Families::Add(refused, static_cast<double>(count), {{"reason", reason}});
  };
  refusal("window", c.refused_window);
  refusal("pool", c.refused_pool);
  refusal("epoch", c.refused_epoch);
  const auto counter = [&](const char* name, const char* help, uint64_t count) {
    Families::Add(families->Family(name, help, MetricType::Counter),
                  static_cast<double>(count));
  };
  counter("written_bytes_total", "Bytes of values written by clients",
          c.bytes_written);
  counter("read_bytes_total", "Bytes of values read by clients", c.bytes_read);
  counter("commits_total", "Records committed", c.commits);
  counter("duplicates_total", "Retries recognised", c.duplicates);
  counter("forwarded_reads_total", "Reads whose value came from another server",
          c.forwarded_reads);
  counter("commit_cell_reads_total", "One-sided reads of a commit cell",
          c.commit_cell_reads);
  counter("epoch_cell_reads_total", "One-sided reads of epoch cells",
          c.epoch_cell_reads);
  counter("delivered_bytes_total", "Bytes delivered by value",
          c.delivered_bytes);
  counter("delivered_metadata_total", "Metadata records delivered",
          c.delivered_metadata);
  counter("copied_bytes_total",
          "Bytes copied of other servers' logs, to become a replica",
          c.copied_bytes);
  counter("chain_bytes_total", "Bytes sent along the chain", c.chain_bytes);
  counter("bad_messages_total", "Messages that broke the rules",
          c.bad_messages);
  counter("damaged_records_total", "Records whose checksum disagreed",
          c.damaged_records);
  counter("turns_total", "Turns of the worker", c.turns);
  const auto gauge = [&](const char* name, const char* help, uint64_t value) {
    Families::Add(families->Family(name, help, MetricType::Gauge),
                  static_cast<double>(value));
  };
  gauge("connections", "Open data connections", c.connections);
}

void AddPool(const proto::ServerReport& report, Families* families) {
  const auto gauge = [&](const char* name, const char* help, uint64_t value) {
    Families::Add(families->Family(name, help, MetricType::Gauge),
                  static_cast<double>(value));
  };
  gauge("pool_segments", "Segments of the pool", report.pool_segments());
  gauge("pool_free_segments", "Free segments of the pool",
        report.free_segments());
  gauge("segment_bytes", "Size of a segment", report.segment_bytes());
  Families::Add(
      families->Family("server_info", "What this server is", MetricType::Gauge),
      1,
      {{"server", absl::StrCat(report.server_id())},
       {"fabric", report.fabric()},
       {"domain", report.domain()},
       {"survives", report.survives()}});
}

void AddVerbs(const Snapshot& snapshot, Families* families) {
  const fabric::VerbsFabric::Counters& c = *snapshot.verbs;
  Families::Add(families->Family("verbs_info", "What the fabric verbs uses",
                                 MetricType::Gauge),
                1, {{"path", snapshot.verbs_description}});
  MetricFamily& requests = families->Family(
      "verbs_requests_total", "Work requests posted to the adapter, by kind",
      MetricType::Counter);
  const std::pair<const char*, uint64_t> kinds[] = {
      {"write", c.writes},
      {"write_with_imm", c.writes_with_imm},
      {"read", c.reads},
      {"compare_swap", c.compare_swaps},
      {"flush", c.flushes},
      {"message", c.messages},
      {"notice", c.credit_messages}};
  for (const auto& [kind, count] : kinds) {
    Families::Add(requests, static_cast<double>(count), {{"kind", kind}});
  }
  Families::Add(families->Family("verbs_doorbells_total",
                                 "Lists of work requests posted at once",
                                 MetricType::Counter),
                static_cast<double>(c.doorbells));
  Families::Add(
      families->Family("verbs_receives_total",
                       "Completions of the receive queue", MetricType::Counter),
      static_cast<double>(c.receives));
  Families::Add(families->Family("verbs_connections", "Queue pairs in use",
                                 MetricType::Gauge),
                static_cast<double>(c.connections));
}

// Durations are sampled: sums are estimates, counts are not.
void AddStages(const proto::ServerReport& report, Families* families) {
  if (report.stages().empty()) return;
  MetricFamily& family = families->Family(
      "stage_seconds",
      "What stages of puts and gets cost; since the process began",
      MetricType::Summary);
  for (const proto::StageReport& stage : report.stages()) {
    ClientMetric& metric = family.metric.emplace_back();
    metric.label = {{"stage", stage.stage()}};
    metric.summary.sample_count = stage.count();
    metric.summary.sample_sum =
        stage.mean_ns() * static_cast<double>(stage.count()) / 1e9;
    metric.summary.quantile = {{0.5, stage.p50_ns() / 1e9},
                               {0.99, stage.p99_ns() / 1e9},
                               {1, stage.max_ns() / 1e9}};
  }
}

void AddShards(const proto::ServerReport& report, Families* families) {
  using Field = uint64_t (proto::ShardReport::*)() const;
  static constexpr struct {
    const char* name;
    const char* help;
    Field field;
  } kFields[] = {
      {"shard_epoch", "Epoch of the configuration adopted",
       &proto::ShardReport::epoch},
      {"shard_announced_lsn", "Announced watermark",
       &proto::ShardReport::announced},
      {"shard_committed_lsn", "Commit watermark known here",
       &proto::ShardReport::committed},
      {"shard_durable_lsn", "Durable watermark", &proto::ShardReport::durable},
      {"shard_applied_lsn", "Applied watermark", &proto::ShardReport::applied},
      {"shard_replicated_lsn", "Least durable watermark of all replicas",
       &proto::ShardReport::replicated},
      {"shard_keys", "Keys in the index", &proto::ShardReport::records},
      {"shard_log_bytes", "Bytes of live segments",
       &proto::ShardReport::log_bytes},
      {"shard_open_sessions", "Clients' sessions",
       &proto::ShardReport::open_sessions},
      {"shard_lag_bytes", "Bytes this replica (primary: any) still lacks",
       &proto::ShardReport::lag_bytes},
      {"shard_lag_microseconds", "Age of the oldest of them",
       &proto::ShardReport::lag_us},
      {"shard_window_high_water_bytes", "Most bytes in the window so far",
       &proto::ShardReport::window_high_water_bytes},
  };
  for (const auto& field : kFields) {
    MetricFamily& family =
        families->Family(field.name, field.help, MetricType::Gauge);
    for (const proto::ShardReport& shard : report.shards()) {
      Families::Add(family, static_cast<double>((shard.*field.field)()),
                    {{"shard", absl::StrCat(shard.shard())}});
    }
  }
  const auto per_shard = [&](const char* name, const char* help, auto value) {
    MetricFamily& family = families->Family(name, help, MetricType::Gauge);
    for (const proto::ShardReport& shard : report.shards()) {
      Families::Add(family, static_cast<double>(value(shard)),
                    {{"shard", absl::StrCat(shard.shard())}});
    }
  };
  per_shard("shard_active", "Whether the shard serves here",
            [](const auto& s) { return s.phase() == proto::SHARD_ACTIVE; });
  per_shard("shard_has_lease", "Whether the lease is valid",
            [](const auto& s) { return s.has_lease(); });
  per_shard("shard_missing_values", "Committed values that no member has",
            [](const auto& s) { return s.missing_values(); });
  per_shard("shard_lost_values", "Values given up by an operator",
            [](const auto& s) { return s.lost_values(); });
  per_shard("shard_holes", "Ranges whose values are not here",
            [](const auto& s) { return s.holes_size(); });
  per_shard("shard_damaged", "Whether the replica is damaged",
            [](const auto& s) { return s.damaged(); });
}

}  // namespace

std::string MetricsText(const Snapshot& snapshot) {
  Families families;
  AddCounters(snapshot.counters, &families);
  AddPool(snapshot.report, &families);
  if (snapshot.verbs) AddVerbs(snapshot, &families);
  AddStages(snapshot.report, &families);
  AddShards(snapshot.report, &families);
  return families.Text();
}

std::string WhyNotReady(const proto::ServerReport& report) {
  if (!report.note().empty()) return report.note();
  if (report.shards().empty()) return "no shard is assigned to this server yet";
  for (const proto::ShardReport& shard : report.shards()) {
    // No replica of it is here, nor shall be.
    if (shard.phase() == proto::SHARD_ABSENT ||
        shard.phase() == proto::SHARD_RELEASED) {
      continue;
    }
    if (shard.phase() != proto::SHARD_ACTIVE) {
      return absl::StrCat(
          "shard ", shard.shard(), " is ",
          absl::AsciiStrToLower(proto::ShardPhase_Name(shard.phase())));
    }
    if (!shard.has_lease()) {
      return absl::StrCat("shard ", shard.shard(), " has no lease");
    }
  }
  return "";
}

}  // namespace whale::tools

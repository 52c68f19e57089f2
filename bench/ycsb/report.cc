#include "bench/ycsb/report.h"

#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace whale::bench::ycsb {
namespace {

using Json = nlohmann::ordered_json;

struct Point {
  const char* text_name;
  const char* json_name;
  double percent;
};
constexpr Point kPoints[] = {
    {"50thPercentileLatency(us)", "p50_us", 50},
    {"95thPercentileLatency(us)", "p95_us", 95},
    {"99thPercentileLatency(us)", "p99_us", 99},
    {"99.9PercentileLatency(us)", "p99_9_us", 99.9},
};

double Us(double ns) { return ns / 1000; }

const char* PhaseName(Phase phase) {
  return phase == Phase::kLoad ? "load" : "run";
}

bool Used(const OperationStats& stats) {
  return stats.ok + stats.not_found + stats.failed > 0;
}

void AppendOperation(std::string* out, std::string_view name,
                     const OperationStats& stats) {
  const std::string head = absl::StrCat("[", std::string(name), "], ");
  const Histogram& latency = stats.latency_ns;
  absl::StrAppend(out, head, "Operations, ",
                  stats.ok + stats.not_found + stats.failed, "\n");
  const auto line = [&](const char* what, double ns) {
    absl::StrAppendFormat(out, "%s%s, %.2f\n", head, what, Us(ns));
  };
  line("AverageLatency(us)", latency.Mean());
  line("MinLatency(us)", static_cast<double>(latency.min()));
  line("MaxLatency(us)", static_cast<double>(latency.max()));
  for (const Point& point : kPoints) {
    line(point.text_name,
         static_cast<double>(latency.Percentile(point.percent)));
  }
  absl::StrAppend(out, head, "Return=OK, ", stats.ok, "\n");
  const auto others = [&](const char* what, uint64_t count) {
    if (count > 0) absl::StrAppend(out, head, what, count, "\n");
  };
  others("Return=NOT_FOUND, ", stats.not_found);
  others("Return=ERROR, ", stats.failed);
  others("Return=UNEXPECTED_STATE, ", stats.wrong_value);
}

Json OperationJson(const OperationStats& stats) {
  const Histogram& latency = stats.latency_ns;
  Json json = {{"ok", stats.ok},
               {"not_found", stats.not_found},
               {"failed", stats.failed},
               {"wrong_value", stats.wrong_value},
               {"mean_us", Us(latency.Mean())},
               {"min_us", Us(static_cast<double>(latency.min()))}};
  for (const Point& point : kPoints) {
    json[point.json_name] =
        Us(static_cast<double>(latency.Percentile(point.percent)));
  }
  json["max_us"] = Us(static_cast<double>(latency.max()));
  return json;
}

// One entry per interval: since when, how many operations, how long they took.
Json SeriesJson(const PhaseResult& result, int64_t interval_ns) {
  Json series = Json::array();
  for (const Histogram& interval : result.series) {
    const double length_ns = static_cast<double>(interval_ns);
    Json one = {
        {"from_ms", static_cast<double>(series.size()) * length_ns / 1e6},
        {"operations", interval.count()}};
    for (const Point& point : kPoints) {
      one[point.json_name] =
          Us(static_cast<double>(interval.Percentile(point.percent)));
    }
    one["max_us"] = Us(static_cast<double>(interval.max()));
    series.push_back(std::move(one));
  }
  return series;
}

Json PhaseJson(const PhaseResult& result, int64_t interval_ns) {
  Json json = {{"phase", PhaseName(result.phase)},
               {"elapsed_ms", static_cast<double>(result.elapsed_ns) / 1e6},
               {"operations", result.operations},
               {"operations_per_second", result.throughput()},
               {"gave_up", result.gave_up}};
  for (int i = 0; i < kOperationKinds; ++i) {
    if (!Used(result.kinds[i])) continue;
    const auto name = OperationName(static_cast<OperationKind>(i));
    json["kinds"][std::string(name)] = OperationJson(result.kinds[i]);
  }
  json["errors"] = result.errors;
  json["series"] = SeriesJson(result, interval_ns);
  return json;
}

std::string OrUnknown(const std::string& text) {
  return text.empty() ? "unknown" : text;
}

}  // namespace

std::string ProgressLine(const Progress& progress) {
  const double rate = progress.recent_ns == 0
                          ? 0
                          : static_cast<double>(progress.recent_operations) *
                                1e9 / static_cast<double>(progress.recent_ns);
  std::string line = absl::StrFormat(
      "%s: %d s, %d of %d operations, %.0f operations/s",
      PhaseName(progress.phase), progress.elapsed_ns / 1'000'000'000,
      progress.operations, progress.total, rate);
  if (rate >= 1) {
    const double left = static_cast<double>(progress.total) -
                        static_cast<double>(progress.operations);
    absl::StrAppendFormat(&line, ", %.0f s to go", left / rate);
  }
  return line;
}

std::string TextSummary(const PhaseResult& result) {
  std::string out = absl::StrFormat(
      "[OVERALL], Phase, %s\n"
      "[OVERALL], RunTime(ms), %.0f\n"
      "[OVERALL], Throughput(ops/sec), %.2f\n",
      PhaseName(result.phase), static_cast<double>(result.elapsed_ns) / 1e6,
      result.throughput());
  for (int i = 0; i < kOperationKinds; ++i) {
    if (!Used(result.kinds[i])) continue;
    AppendOperation(&out, OperationName(static_cast<OperationKind>(i)),
                    result.kinds[i]);
  }
  return out;
}

std::string JsonReport(const RunOptions& options,
                       const std::vector<PhaseResult>& phases,
                       const Circumstances& circumstances) {
  Json json;
  json["benchmark"] = "ycsb";
  json["workload"] = std::string(1, options.workload.letter);
  json["distribution"] =
      std::string(DistributionName(options.workload.distribution));
  json["records"] = options.records;
  json["operations"] = options.operations;
  json["processes"] = options.processes;
  json["threads"] = options.threads;
  json["pipeline"] = options.pipeline;
  json["rate"] = options.rate;
  json["warmup_ms"] = static_cast<double>(options.warmup_ns) / 1e6;
  json["interval_ms"] = static_cast<double>(options.interval_ns) / 1e6;
  json["value_bytes"] = options.value_bytes;
  json["seed"] = options.seed;
  json["commit"] = OrUnknown(circumstances.commit);
  json["host"] = OrUnknown(circumstances.host);
  json["fabric"] = OrUnknown(circumstances.fabric);
  json["domain"] = OrUnknown(circumstances.domain);
  json["policy"] = OrUnknown(circumstances.policy);
  json["pinning"] = OrUnknown(circumstances.pinning);
  json["verified"] = OrUnknown(circumstances.verified);
  json["phases"] = Json::array();
  for (const PhaseResult& phase : phases) {
    json["phases"].push_back(PhaseJson(phase, options.interval_ns));
  }
  // Error texts may quote bytes that are no UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace whale::bench::ycsb

// whale_floor: what shared memory on this machine allows a replicated put.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/floor/floor.h"
#include "bench/ycsb/report.h"

namespace whale::bench::floor {
namespace {

int Run(const FloorOptions& options, const std::string& json_file) {
  const auto result = RunFloor(options);
  if (!result.ok()) {
    std::fprintf(stderr, "whale_floor: %s\n",
                 std::string(result.status().message()).c_str());
    return 2;
  }
  const Histogram& latency =
      result->of(ycsb::OperationKind::kUpdate).latency_ns;
  std::printf(
      "floor: %.0f operations/s, p50 %.2f us, p99 %.2f us, p99.9 %.2f us, "
      "max %.0f us\n",
      result->throughput(), latency.Percentile(50) / 1e3,
      latency.Percentile(99) / 1e3, latency.Percentile(99.9) / 1e3,
      latency.max() / 1e3);
  if (json_file.empty()) return 0;
  ycsb::RunOptions run;
  run.workload.letter = 'w';
  run.operations = options.operations;
  run.pipeline = options.depth;
  run.value_bytes = options.value_bytes;
  constexpr const char* kModes[] = {"sleep", "poll", "none"};
  ycsb::Circumstances circumstances;
  circumstances.fabric = "none: shared memory";
  circumstances.domain =
      options.write_back ? "lines written back" : "lines not written back";
  circumstances.policy = absl::StrCat(
      "backups=", options.backups,
      ",backup-mode=", kModes[static_cast<int>(options.backup_mode)]);
  circumstances.pinning =
      options.pin_cpus.empty() ? "none" : absl::StrJoin(options.pin_cpus, ",");
  std::ofstream file(json_file);
  file << ycsb::JsonReport(run, {*result}, circumstances);
  file.close();
  return file ? 0 : 2;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "What shared memory allows: client to primary and back, the value copied "
      "into three logs. No index, no checksum, no protocol.");
  FloorOptions options;
  std::string json_file;
  app.add_option("--operations", options.operations);
  app.add_option("--warmup", options.warmup, "operations not measured");
  app.add_option("--depth", options.depth, "operations in flight")
      ->check(CLI::Range(1, 4096));
  app.add_option("--value-bytes", options.value_bytes)
      ->check(CLI::Range(1, 4 << 20));
  app.add_option("--backups", options.backups)->check(CLI::Range(0, 8));
  app.add_option("--backup-mode", options.backup_mode,
                 "sleep: as the cluster's; poll; none: nobody looks")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Backups>{{"sleep", Backups::kSleep},
                                         {"poll", Backups::kPoll},
                                         {"none", Backups::kNone}}));
  app.add_flag("--write-back", options.write_back,
               "write cache lines back, as persistent memory needs");
  app.add_option("--spin-ns", options.most_spin_ns,
                 "the longest before a process sleeps; 0: at once")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--log-bytes", options.log_bytes, "of each log");
  app.add_option("--pin-cpus", options.pin_cpus,
                 "client, primary, backups, in turn")
      ->delimiter(',')
      ->check(CLI::Range(0, CPU_SETSIZE - 1));
  app.add_option("--json", json_file);
  CLI11_PARSE(app, argc, argv);
  if (options.log_bytes < 256 * (options.value_bytes + 64)) {
    std::fprintf(stderr, "whale_floor: --log-bytes must hold 256 values\n");
    return 2;
  }
  return Run(options, json_file);
}

}  // namespace
}  // namespace whale::bench::floor

int main(int argc, char** argv) {
  return whale::bench::floor::Main(argc, argv);
}

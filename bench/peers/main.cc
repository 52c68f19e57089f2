// whale_bench_peer: the YCSB harness of `whale bench ycsb` on another store, so
// that a comparison differs in the store alone.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/peers/etcd_store.h"
#include "bench/peers/null_store.h"
#include "bench/peers/redis_store.h"
#include "bench/ycsb/report.h"
#include "bench/ycsb/runner.h"

namespace whale::bench::peers {
namespace {

struct Flags {
  std::string store = "redis";
  std::string workload = "w";
  std::string distribution = "uniform";
  std::string phase = "run";
  std::string json_file = "-";
  ycsb::RunOptions run;
  RedisOptions redis;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "whale_bench_peer: %s\n",
               std::string(status.message()).c_str());
  return 2;
}

absl::StatusOr<std::unique_ptr<ycsb::Store>> Open(const Flags& flags) {
  if (flags.store == "none") return std::make_unique<NullStore>();
  if (flags.store == "etcd") {
    return OpenEtcdStore(absl::StrCat("127.0.0.1:", flags.redis.port));
  }
  return RedisStore::Open(flags.redis);
}

int Run(Flags flags) {
  auto workload = ycsb::WorkloadByName(flags.workload);
  if (!workload.ok()) return Fail(workload.status());
  const auto distribution = ycsb::ParseDistribution(flags.distribution);
  if (!distribution.ok()) return Fail(distribution.status());
  workload->distribution = *distribution;
  flags.run.workload = *workload;
  flags.redis.value_bytes = flags.run.value_bytes;
  flags.redis.connections = flags.run.pipeline;

  ycsb::InsertSequence sequence(flags.run.records);
  const auto result = ycsb::RunPhase(
      flags.phase == "load" ? ycsb::Phase::kLoad : ycsb::Phase::kRun, flags.run,
      [&](int) { return Open(flags); }, &sequence,
      [](const ycsb::Progress&) { return true; });
  if (!result.ok()) return Fail(result.status());
  const std::string json = ycsb::JsonReport(flags.run, {*result}, {});
  if (flags.json_file == "-") {
    std::printf("%s", json.c_str());
  } else {
    std::ofstream(flags.json_file) << json;
  }
  if (result->failures() == 0) return 0;
  return Fail(absl::UnavailableError(result->errors.begin()->second));
}

int Main(int argc, char** argv) {
  CLI::App app("YCSB workloads on stores other than Whale");
  Flags flags;
  flags.run.records = flags.run.operations = 100'000;
  flags.run.value_bytes = 100;
  app.add_option("--store", flags.store,
                 "redis; etcd; none: the harness alone, writes only")
      ->check(CLI::IsMember({"redis", "etcd", "none"}));
  app.add_option("--port", flags.redis.port,
                 "of the Redis primary, or of an etcd member");
  app.add_option("--wait", flags.redis.wait_replicas,
                 "replicas that must have a write before it counts");
  app.add_flag("--gather", flags.redis.gather,
               "one connection, one WAIT per batch of --pipeline writes");
  app.add_option("--phase", flags.phase)->check(CLI::IsMember({"load", "run"}));
  app.add_option("--workload", flags.workload, "as whale bench ycsb's");
  app.add_option("--distribution", flags.distribution);
  app.add_option("--records", flags.run.records);
  app.add_option("--operations", flags.run.operations);
  app.add_option("--pipeline", flags.run.pipeline,
                 "operations in flight, each on a connection of its own")
      ->check(CLI::Range(1, 4096));
  app.add_option("--value-bytes", flags.run.value_bytes);
  app.add_option("--json", flags.json_file, "- prints it");
  CLI11_PARSE(app, argc, argv);
  return Run(flags);
}

}  // namespace
}  // namespace whale::bench::peers

int main(int argc, char** argv) {
  return whale::bench::peers::Main(argc, argv);
}

// whale bench ycsb: YCSB's core workloads on a cluster.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "bench/ycsb/client_store.h"
#include "bench/ycsb/report.h"
#include "bench/ycsb/runner.h"
#include "bench/ycsb/team.h"
#include "bench/ycsb/verify.h"
#include "common/status_macros.h"
#include "control/cluster_client.h"
#include "logstore/record.h"
#include "tools/cluster_flags.h"
#include "tools/dev_cluster.h"
#include "tools/formation_flags.h"
#include "tools/host.h"
#include "tools/net.h"
#include "tools/pool_compare.h"
#include "tools/pool_open.h"
#include "tools/program.h"
#include "tools/serve_flags.h"
#include "tools/signals.h"
#include "tools/status_text.h"
#include "tools/version.h"

namespace whale::tools {
namespace {

using namespace bench::ycsb;  // NOLINT: this file is its front end

struct Flags {
  ClusterFlags cluster;
  ReadOptions read;
  WriteOptions write;
  RunOptions run;
  std::string workload = "a";
  std::string distribution;
  std::string phase = "both";
  uint64_t value_bytes = 0;  // 0: field count times field length
  uint64_t field_count = 10;
  uint64_t field_length = 100;
  std::vector<std::string> pin_cpus;
  std::string policy;
  std::string json_file;
  bool verify = false;
  uint64_t verify_samples = 1000;
  absl::Duration verify_timeout = absl::Seconds(120);
  bool quiet = false;
  absl::Duration warmup = absl::ZeroDuration();
  absl::Duration interval = absl::Seconds(1);
  // The cluster of --dev.
  bool dev = false;
  DevOptions dev_options;
  ServeFlags serve;
  Options* options = nullptr;
};

bool Interrupted() {
  const int signal = WaitForSignal(absl::ZeroDuration());
  return signal == SIGINT || signal == SIGTERM;
}

// --policy mirrors=1,by-value-max-bytes=4096,.. into the flags of a cluster.
absl::Status ApplyPolicy(const std::string& text,
                         control::ClusterOptions* cluster) {
  CLI::App app;
  Options options(&app, "policy");
  AddFormationFlags(&options, cluster);
  std::string toml;
  for (const std::string& part : ParseList(text)) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    absl::StrAppend(&toml, pair.first, " = '", pair.second, "'\n");
  }
  // What --policy does not say keeps the value that it has.
  const control::ClusterOptions before = *cluster;
  WHALE_ASSIGN_OR_RETURN(const ConfigFile file,
                         ConfigFile::Parse(toml, "--policy"));
  WHALE_RETURN_IF_ERROR(
      file.CheckKeys({{"policy",
                       {"mirrors", "by-value-max-bytes", "window-bytes",
                        "lease", "min-replicas"}}}));
  WHALE_RETURN_IF_ERROR(
      options.Resolve(file, [](const std::string&) { return std::nullopt; }));
  cluster->shard_count = before.shard_count;
  return absl::OkStatus();
}

absl::Status ResolveRun(Flags* flags) {
  RunOptions& run = flags->run;
  WHALE_ASSIGN_OR_RETURN(run.workload, WorkloadByName(flags->workload));
  if (!flags->distribution.empty()) {
    WHALE_ASSIGN_OR_RETURN(run.workload.distribution,
                           ParseDistribution(flags->distribution));
  }
  run.warmup_ns = absl::ToInt64Nanoseconds(flags->warmup);
  run.interval_ns = absl::ToInt64Nanoseconds(flags->interval);
  if (run.interval_ns < 1'000'000) {
    return absl::InvalidArgumentError(
        "--interval must be at least a millisecond");
  }
  run.value_bytes = flags->value_bytes != 0
                        ? flags->value_bytes
                        : flags->field_count * flags->field_length;
  if (run.value_bytes > kMaxValueBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("values of ", run.value_bytes,
                     " bytes are larger than a value may be (", kMaxValueBytes,
                     "); lower --value-bytes or --field-count"));
  }
  const auto cpus = static_cast<uint64_t>(sysconf(_SC_NPROCESSORS_CONF));
  for (const std::string& text : flags->pin_cpus) {
    WHALE_ASSIGN_OR_RETURN(const uint64_t cpu, ParseCount(text, 0, cpus - 1));
    run.pin_cpus.push_back(static_cast<int>(cpu));
  }
  for (const char* phase : {"load", "run", "both"}) {
    if (flags->phase == phase) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--phase: \"", flags->phase, "\" is none of load, run and both"));
}

// Bytes that all this writes into the log of each replica.
uint64_t LogBytes(const RunOptions& run) {
  const Workload& w = run.workload;
  const double writes = static_cast<double>(run.records) +
                        static_cast<double>(run.operations) *
                            (w.updates + w.inserts + w.read_modify_writes);
  constexpr uint64_t kKeyBytes = 23;
  return static_cast<uint64_t>(writes) *
         logstore::RecordBytes(kKeyBytes, run.value_bytes);
}

// A pool that holds the run without cleaning, unevenly spread over shards.
uint64_t PoolBytesFor(const Flags& flags) {
  const uint64_t log = LogBytes(flags.run);
  const uint64_t spare =
      flags.dev_options.cluster.shard_count * 8 * flags.serve.segment_bytes;
  return RoundUp(log + log / 3 + spare + 64 * kMiB, kMiB);
}

bool PortsAreFree(uint16_t port, uint32_t replicas) {
  if (!CheckPortIsFree("127.0.0.1", port).ok()) return false;
  for (uint32_t i = 0; i < replicas; ++i) {
    const auto http = static_cast<uint16_t>(port + kHttpPortOffset + i);
    if (!CheckPortIsFree("127.0.0.1", http).ok()) return false;
  }
  return true;
}

absl::StatusOr<std::unique_ptr<DevCluster>> StartDev(Flags* flags) {
  DevOptions dev = flags->dev_options;
  WHALE_RETURN_IF_ERROR(ApplyPolicy(flags->policy, &dev.cluster));
  if (!flags->options->Given("pool-bytes")) {
    flags->serve.pool_bytes = PoolBytesFor(*flags);
  }
  dev.pool_bytes = flags->serve.pool_bytes;
  if (flags->cluster.fabric != "auto") {
    flags->serve.fabric = flags->cluster.fabric;
  }
  flags->serve.verbs = flags->cluster.verbs;
  dev.serve_arguments = ServeArguments(flags->serve);
  dev.replicas_given = flags->options->Given("replicas");
  // Another cluster may be running; this one is nobody else's.
  while (!flags->options->Given("port") && dev.port < 20000 &&
         !PortsAreFree(dev.port, dev.cluster.replicas)) {
    dev.port += 100;
  }
  WHALE_ASSIGN_OR_RETURN(auto cluster, DevCluster::Start(dev, Interrupted));
  flags->cluster.cluster = {cluster->coordinator()};
  return cluster;
}

Circumstances CircumstancesOf(const Flags& flags,
                              const proto::ClusterStatus& status) {
  Circumstances c;
  c.commit = Commit();
  c.host = HostText();
  if (status.map().servers_size() > 0) {
    c.fabric = status.map().servers(0).fabric();
  }
  if (status.reports_size() > 0) {
    c.domain = absl::StrCat(status.reports(0).domain(), " (survives ",
                            status.survives(), ")");
  }
  if (status.map().shards_size() > 0) {
    const proto::Policy& policy = status.map().shards(0).policy();
    c.policy = absl::StrCat("replicas=", status.map().shards(0).members_size(),
                            ",shards=", status.map().shards_size(),
                            ",mirrors=", policy.mirrors(),
                            ",by-value-max-bytes=", policy.by_value_max_bytes(),
                            ",window-bytes=", policy.window_bytes());
  }
  c.pinning = flags.pin_cpus.empty()
                  ? "none"
                  : "clients on " + absl::StrJoin(flags.pin_cpus, ",");
  c.verified = "no";
  return c;
}

// The servers' pools on this machine: below DIR as `whale dev` has them.
std::map<uint32_t, std::string> PoolPaths(const std::string& dir,
                                          const proto::ClusterStatus& status) {
  std::map<uint32_t, std::string> paths;
  for (const proto::ServerEntry& server : status.map().servers()) {
    paths[server.server_id()] =
        absl::StrCat(dir, "/server-", server.server_id(), "/", kPoolName);
  }
  return paths;
}

// What the checks found, in words. Errors: a difference, or no way to tell.
absl::StatusOr<std::string> Verify(const Flags& flags, const std::string& dir,
                                   uint64_t records) {
  WHALE_ASSIGN_OR_RETURN(
      const auto coordinators,
      OpenCoordinators(flags.cluster.cluster, flags.cluster.security));
  WHALE_ASSIGN_OR_RETURN(
      const proto::ClusterStatus status,
      WaitUntilReplicated(coordinators.get(), flags.verify_timeout));
  WHALE_ASSIGN_OR_RETURN(const ClientOptions client,
                         ClientOptionsOf(flags.cluster));
  WHALE_ASSIGN_OR_RETURN(
      const uint64_t reads,
      CompareReads(client, status, records, flags.verify_samples,
                   flags.run.value_bytes));
  std::string text =
      absl::StrCat(reads, " reads at all replicas agree and are whole");
  if (dir.empty()) {
    return absl::StrCat(text,
                        "; logs not compared (--dir says where they are)");
  }
  WHALE_ASSIGN_OR_RETURN(const uint64_t bytes,
                         ComparePools(PoolPaths(dir, status), status));
  return absl::StrCat(text,
                      "; logs of all replicas are byte-identical below "
                      "the commit watermark (",
                      HumanBytes(bytes), " compared)");
}

// A phase with the clients in this process; `target`: the coordinators.
absl::StatusOr<PhaseResult> RunHere(
    const Flags& flags, const RunOptions& run, Phase phase,
    const std::string& target, InsertSequence* sequence,
    const std::function<bool(const Progress&)>& report,
    const std::function<int64_t()>& start) {
  ClusterFlags cluster = flags.cluster;
  cluster.cluster = ParseList(target);
  ClientStoreOptions store;
  WHALE_ASSIGN_OR_RETURN(store.client, ClientOptionsOf(cluster));
  store.read = flags.read;
  store.write = flags.write;
  return RunPhase(
      phase, run, [&store](int) { return ClientStore::Open(store); }, sequence,
      report, start);
}

// What a process of the team keeps from phase to phase.
absl::StatusOr<std::unique_ptr<Team>> ForkTeam(const Flags& flags) {
  struct Own {
    RunOptions run;
    std::optional<InsertSequence> sequence;
  };
  const auto own = std::make_shared<Own>();
  return Team::Fork(
      flags.run.processes,
      [&flags, own](uint32_t process, Phase phase, const std::string& target,
                    const std::function<bool(const Progress&)>& report,
                    const std::function<int64_t()>& start) {
        if (!own->sequence) {
          own->run = flags.run;
          own->run.process = process;
          own->sequence.emplace(flags.run.records, process,
                                flags.run.processes);
        }
        return RunHere(flags, own->run, phase, target, &*own->sequence, report,
                       start);
      });
}

// One benchmark from start to end.
class Benchmark {
 public:
  // `team`: where the clients run; nullptr: here.
  Benchmark(const Flags& flags, Team* team)
      : flags_(flags), team_(team), sequence_(flags.run.records) {}

  absl::Status Run(const std::string& dir) {
    WHALE_ASSIGN_OR_RETURN(
        const auto client,
        OpenCoordinators(flags_.cluster.cluster, flags_.cluster.security));
    const auto status = client->GetStatus(flags_.cluster.timeout);
    if (!status.ok()) return WithCure(status.status());
    circumstances_ = CircumstancesOf(flags_, *status);
    if (flags_.phase != "run") WHALE_RETURN_IF_ERROR(RunOne(Phase::kLoad));
    // A load that was given up leaves nothing worth measuring.
    const bool loaded = results_.empty() || !results_.back().gave_up;
    if (flags_.phase != "load" && loaded) {
      WHALE_RETURN_IF_ERROR(RunOne(Phase::kRun));
    }
    absl::Status verified;
    if (flags_.verify && loaded) {
      const auto text = Verify(flags_, dir, sequence_.stored());
      verified = text.status();
      circumstances_.verified =
          text.ok() ? *text : absl::StrCat("FAILED: ", text.status().message());
      std::printf("[VERIFY], %s\n", circumstances_.verified.c_str());
    }
    WHALE_RETURN_IF_ERROR(WriteJson());
    WHALE_RETURN_IF_ERROR(verified);
    return Failures();
  }

 private:
  absl::Status RunOne(Phase phase) {
    const auto report = [this](const Progress& progress) {
      if (!flags_.quiet) {
        std::fprintf(stderr, "%s\n", ProgressLine(progress).c_str());
      }
      return !Interrupted();
    };
    const std::string target = absl::StrJoin(flags_.cluster.cluster, ",");
    const uint64_t total =
        phase == Phase::kLoad ? flags_.run.records : flags_.run.operations;
    WHALE_ASSIGN_OR_RETURN(PhaseResult result,
                           team_ == nullptr
                               ? RunHere(flags_, flags_.run, phase, target,
                                         &sequence_, report, bench::MonotonicNs)
                               : team_->Run(phase, target, total, report));
    std::printf("%s", TextSummary(result).c_str());
    std::fflush(stdout);
    results_.push_back(std::move(result));
    return absl::OkStatus();
  }

  absl::Status WriteJson() const {
    if (flags_.json_file.empty()) return absl::OkStatus();
    const std::string text = JsonReport(flags_.run, results_, circumstances_);
    if (flags_.json_file == "-") {
      std::printf("%s", text.c_str());
      return absl::OkStatus();
    }
    std::ofstream file(flags_.json_file);
    file << text;
    file.close();
    if (file) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("cannot write --json ", flags_.json_file));
  }

  absl::Status Failures() const {
    for (const PhaseResult& result : results_) {
      if (result.failures() == 0) continue;
      const auto& [code, text] = *result.errors.begin();
      return absl::UnavailableError(
          absl::StrCat(result.failures(), " operations failed",
                       result.gave_up ? " and the phase was given up" : "",
                       "; first ", code, ": ", text));
    }
    return absl::OkStatus();
  }

  const Flags& flags_;
  Team* const team_;
  InsertSequence sequence_;
  Circumstances circumstances_;
  std::vector<PhaseResult> results_;
};

absl::Status Bench(Flags* flags) {
  WHALE_RETURN_IF_ERROR(ResolveRun(flags));
  WHALE_RETURN_IF_ERROR(CheckAddresses(flags->cluster.cluster));
  if (!flags->dev && !flags->policy.empty()) {
    return absl::InvalidArgumentError(
        "--policy is for a cluster that --dev starts; change a running one "
        "with whale admin set-policy");
  }
  BlockSignals();
  std::unique_ptr<Team> team;  // forked before there is any thread
  if (flags->run.processes > 1) {
    WHALE_ASSIGN_OR_RETURN(team, ForkTeam(*flags));
  }
  std::unique_ptr<DevCluster> cluster;  // outlives all clients
  std::string dir = flags->dev_options.dir;
  if (flags->dev) {
    WHALE_ASSIGN_OR_RETURN(cluster, StartDev(flags));
    dir = cluster->dir();
  }
  const absl::Status status = Benchmark(*flags, team.get()).Run(dir);
  team.reset();  // its clients before their cluster
  return status;
}

int Run(Flags* flags) {
  const absl::Status status = Bench(flags);
  return status.ok() ? kExitOk : PrintError(status);
}

void AddWorkloadFlags(Options* options, Flags* flags) {
  flags->run.records = 1000;
  flags->run.operations = 1000;
  options->AddString("workload", &flags->workload,
                     "a: half updates; b: 5 % updates; c: reads; d: reads of "
                     "the latest, 5 % inserts; f: half read-modify-write; w: "
                     "updates (not YCSB's)");
  options->AddCount("records", &flags->run.records, "to load", 1);
  options->AddCount("operations", &flags->run.operations, "to run");
  options->AddCount("processes", &flags->run.processes,
                    "of clients, each with so many threads", 1, 256);
  options->AddCount("threads", &flags->run.threads,
                    "each with a client of its own", 1, 1024);
  options->AddCount("pipeline", &flags->run.pipeline,
                    "operations in flight per thread", 1, 65536);
  options->AddBytes("value-bytes", &flags->value_bytes,
                    "of a record; 0: field-count times field-length");
  options->AddCount("field-count", &flags->field_count, "of a record");
  options->AddCount("field-length", &flags->field_length, "in bytes");
  options->AddString("distribution", &flags->distribution,
                     "zipfian, latest or uniform; the workload's own if not "
                     "given");
  options->AddString("phase", &flags->phase, "load, run or both");
  options->AddCount("seed", &flags->run.seed, "of all choices");
  options->Add("rate", "N", "0",
               "operations per second in all, each due at its time and its "
               "latency counted from then; 0: as fast as it goes",
               [flags](std::string_view text) {
                 WHALE_ASSIGN_OR_RETURN(const uint64_t rate,
                                        ParseCount(text, 0, 1'000'000'000));
                 flags->run.rate = static_cast<double>(rate);
                 return absl::OkStatus();
               });
  options->AddDuration("warmup", &flags->warmup,
                       "of the run phase, before it is measured");
  options->AddDuration("interval", &flags->interval,
                       "of the time series in the JSON");
  options->AddList("pin-cpus", &flags->pin_cpus,
                   "processors of the client threads, in turn");
}

}  // namespace

void RegisterBenchYcsb(Program& program) {
  program.Group("bench", "Benchmarks");
  Command& command = program.Add(
      "bench ycsb", "Runs a YCSB core workload",
      "Loads the records, runs the operations, prints YCSB's summary. A record "
      "is one key and one\nvalue; an update writes the whole value. Workload e "
      "(scans) is not supported.");
  auto flags = std::make_shared<Flags>();
  Options& options = command.options;
  flags->options = &options;
  AddClusterFlags(&options, &flags->cluster);
  AddReadFlags(&options, &flags->read);
  AddDurabilityFlag(&options, &flags->write);
  AddWorkloadFlags(&options, flags.get());
  options.AddString("json", &flags->json_file,
                    "file for the results as JSON; - prints them");
  options.AddFlag("verify", &flags->verify,
                  "afterwards check that all replicas are the same");
  options.AddCount("verify-samples", &flags->verify_samples,
                   "records read at every replica", 1);
  options.AddDuration("verify-timeout", &flags->verify_timeout,
                      "for all replicas to catch up");
  options.AddFlag("quiet", &flags->quiet, "no progress lines");
  options.AddFlag("dev", &flags->dev,
                  "on a cluster started for it, as by whale dev");
  options.AddString("dir", &flags->dev_options.dir,
                    "of the cluster's data: with --dev where it shall lie; "
                    "without, for --verify to compare the logs");
  options.AddCount("port", &flags->dev_options.port,
                   "with --dev; a free one if not given", 1);
  options.AddString("policy", &flags->policy,
                    "with --dev: mirrors=N,by-value-max-bytes=SIZE,..");
  AddFormationFlags(&options, &flags->dev_options.cluster);
  // --fabric and --verbs are the clients' and, with --dev, the servers'.
  AddPoolFlags(&options, &flags->serve);
  command.run = [flags] { return Run(flags.get()); };
}

}  // namespace whale::tools

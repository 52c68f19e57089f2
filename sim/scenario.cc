#include "sim/scenario.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "sim/checkers/durability.h"
#include "sim/checkers/exactly_once.h"
#include "sim/checkers/linearizability.h"
#include "sim/checkers/log_identity.h"
#include "sim/operator.h"

namespace whale::sim {
namespace {

using checkers::Answer;

inline constexpr int64_t kQuietNs = 30 * kSecond;
inline constexpr int64_t kFinalNs = 60 * kSecond;
inline constexpr int64_t kFinalTimeoutNs = 2 * kSecond;

template <typename T, size_t N>
T Pick(Prng& random, const T (&choices)[N]) {
  return choices[random.Below(N)];
}

NetworkOptions DrawNetwork(Prng& random, bool power) {
  NetworkOptions network;
  network.min_delay_ns = kMicrosecond;
  network.max_delay_ns = Pick<int64_t>(random, {3, 10, 50, 300}) * kMicrosecond;
  network.slow_chance = Pick(random, {0.0, 0.0, 0.01, 0.1});
  network.slow_delay_ns = Pick<int64_t>(random, {1, 5, 20}) * kMillisecond;
  network.max_land_delay_ns =
      Pick<int64_t>(random, {1, 10, 100}) * kMicrosecond;
  network.slow_land_chance = Pick(random, {0.0, 0.02, 0.2});
  network.slow_land_delay_ns = Pick<int64_t>(random, {1, 5}) * kMillisecond;
  network.max_pieces = 1 + random.Below(8);
  network.shuffle_chance = Pick(random, {0.0, 0.3, 1.0});
  network.queue_depth = Pick<size_t>(random, {64, 128, 512});
  network.message_depth = Pick<size_t>(random, {16, 64, 256});
  network.receive_buffers = Pick<size_t>(random, {64, 512, 4096});
  network.retry_ns = Pick<int64_t>(random, {20, 100, 400}) * kMillisecond;
  network.flush_method =
      !power ? fabric::FlushMethod::kNone
             : Pick(random, {fabric::FlushMethod::kNativeFlush,
                             fabric::FlushMethod::kReadAfterWrite});
  return network;
}

ClusterSetup DrawCluster(Prng& random) {
  ClusterSetup cluster;
  const bool power = random.Chance(0.6);
  cluster.survives = power ? pmem::Survives::kPower : pmem::Survives::kProcess;
  cluster.network = DrawNetwork(random, power);
  cluster.servers = Pick<uint32_t>(random, {1, 2, 3, 3, 3, 3, 3, 4});
  cluster.shards = 1 + random.Below(3);
  cluster.segment_bytes = Pick<uint64_t>(random, {32, 64, 128}) << 10;
  cluster.segment_slots = (2 << 20) / cluster.segment_bytes;
  cluster.ring_slots = Pick<uint32_t>(random, {64, 256});
  cluster.mirrors = random.Below(cluster.servers);
  cluster.by_value_max_bytes = Pick<uint64_t>(random, {0, 0, 100, 256, 4096});
  cluster.window_bytes = Pick<uint64_t>(random, {64, 128, 1024}) << 10;
  cluster.lease_us = Pick<uint64_t>(random, {100, 200, 500}) * 1000;
  cluster.session_lease_ns =
      Pick<int64_t>(random, {300, 2000, 60000, 60000}) * kMillisecond;
  cluster.max_drift_ppm = Pick<int64_t>(random, {0, 100, 5000});
  cluster.control_loss = Pick(random, {0.0, 0.0, 0.05});
  cluster.control_delay_ns =
      Pick<int64_t>(random, {100, 1000, 20000}) * kMicrosecond;
  return cluster;
}

WorkloadOptions DrawWorkload(Prng& random, const ClusterSetup& cluster) {
  WorkloadOptions workload;
  workload.clients = 1 + random.Below(4);
  workload.keys = Pick<uint32_t>(random, {1, 2, 4, 8});
  workload.in_flight = Pick<uint32_t>(random, {1, 4, 12});
  workload.max_value_bytes =
      std::min<uint64_t>(Pick<uint64_t>(random, {60, 400, 3000, 12000}),
                         cluster.segment_bytes / 6);
  workload.max_key_bytes = Pick<uint64_t>(random, {1, 30, 200});
  workload.think_ns = Pick<int64_t>(random, {500, 3000, 10000}) * kMicrosecond;
  workload.max_timeout_ns = Pick<int64_t>(random, {400, 2000}) * kMillisecond;
  // Whoever asks a server that stands still soon asks again.
  workload.max_get_timeout_ns =
      Pick<int64_t>(random, {30, 2000}) * kMillisecond;
  workload.gets = Pick<uint32_t>(random, {4, 10, 20});
  workload.max_written_bytes =
      cluster.segment_slots * cluster.segment_bytes / cluster.shards / 3;
  return workload;
}

// All but what belongs to one kind of scenario only.
std::span<bool> Drawn(FaultOptions& faults) {
  return std::span(faults.enabled)
      .first(static_cast<size_t>(Fault::kIsolateServer));
}

FaultOptions DrawFaults(Prng& random, const ClusterSetup& cluster) {
  FaultOptions faults;
  for (bool& enabled : Drawn(faults)) enabled = random.Chance(0.3);
  for (Fault fault : {Fault::kLongCrash, Fault::kLongPause,
                      Fault::kNoCoordinator, Fault::kLosePool}) {
    faults.enabled[static_cast<size_t>(fault)] &= random.Chance(0.4);
  }
  if (cluster.survives != pmem::Survives::kPower) {
    faults.enabled[static_cast<size_t>(Fault::kPowerServer)] = false;
    faults.enabled[static_cast<size_t>(Fault::kPowerAll)] = false;
  }
  faults.mean_pause_ns = Pick<int64_t>(random, {100, 300, 800}) * kMillisecond;
  faults.max_down_ns = Pick<int64_t>(random, {5, 100, 600}) * kMillisecond;
  return faults;
}

// Much goes wrong in a short time, and values travel late: for what takes
// several failures on end, or a failure in the middle of something.
void Hammer(Prng& random, ScenarioOptions* options) {
  ClusterSetup& cluster = options->cluster;
  cluster.servers = 3;
  cluster.shards = 1;
  cluster.mirrors = random.Below(2);
  cluster.by_value_max_bytes = Pick<uint64_t>(random, {0, 100});
  cluster.lease_us = 100'000;
  cluster.control_loss = 0;
  cluster.control_delay_ns = 100 * kMicrosecond;
  WorkloadOptions& workload = options->workload;
  workload.clients = 3;
  workload.in_flight = 8;
  workload.keys = Pick<uint32_t>(random, {2, 6});
  workload.think_ns = 2 * kMillisecond;
  workload.max_written_bytes =
      cluster.segment_slots * cluster.segment_bytes / 3;
  workload.gets = 6;
  FaultOptions& faults = options->faults;
  faults.enabled.fill(false);
  const bool power = cluster.survives == pmem::Survives::kPower;
  faults.enabled[static_cast<size_t>(power ? Fault::kPowerServer
                                           : Fault::kCrashServer)] = true;
  for (Fault fault : {Fault::kCrashServer, Fault::kKillConnection,
                      Fault::kPowerAll, Fault::kCrashCoordinator}) {
    if (fault == Fault::kPowerAll && !power) continue;
    faults.enabled[static_cast<size_t>(fault)] |= random.Chance(0.5);
  }
  faults.mean_pause_ns = Pick<int64_t>(random, {30, 120}) * kMillisecond;
  faults.max_down_ns = Pick<int64_t>(random, {3, 30}) * kMillisecond;
}

// Servers are gone for longer than their leases: the others go on, and take
// them in again when they are back.
void LoseServers(Prng& random, ScenarioOptions* options) {
  ClusterSetup& cluster = options->cluster;
  cluster.servers = Pick<uint32_t>(random, {2, 3, 3, 3, 4});
  cluster.mirrors = random.Below(cluster.servers);
  cluster.lease_us = Pick<uint64_t>(random, {100, 300}) * 1000;
  cluster.control_delay_ns =
      Pick<int64_t>(random, {100, 1000, 20000}) * kMicrosecond;
  FaultOptions& faults = options->faults;
  for (bool& enabled : Drawn(faults)) enabled &= random.Chance(0.3);
  for (Fault fault : {Fault::kLongCrash, Fault::kLongPause,
                      Fault::kNoCoordinator, Fault::kLosePool}) {
    faults.enabled[static_cast<size_t>(fault)] = random.Chance(0.6);
  }
  faults.mean_pause_ns = Pick<int64_t>(random, {300, 800}) * kMillisecond;
  options->safety_ns = Pick<int64_t>(random, {4, 8}) * kSecond;
}

// There are more servers than replicas, and replicas move between them. Drawn
// apart from the rest, which stays as it is for the other seeds.
void AddOperator(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x6f70657261746f72);
  if (!random.Chance(0.2)) return;
  ClusterSetup& cluster = options->cluster;
  cluster.replicas = 2 + random.Below(2);
  cluster.mirrors = std::min(cluster.mirrors, cluster.replicas - 1);
  cluster.servers = cluster.replicas + 1 + random.Below(2);
  options->with_operator = true;
  options->safety_ns = std::max(options->safety_ns, 4 * kSecond);
}

// Bytes rot where a pool may be lost: it is the same loss to the others.
void AddRot(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x726f74);
  auto& enabled = options->faults.enabled;
  enabled[static_cast<size_t>(Fault::kRotLog)] =
      enabled[static_cast<size_t>(Fault::kLosePool)] && random.Chance(0.5);
}

// Records that do not fit into one READ of a learner, where there are such.
void AddLongValues(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x6c6f6e67);
  const auto& enabled = options->faults.enabled;
  if (!enabled[static_cast<size_t>(Fault::kLosePool)]) return;
  if (!random.Chance(0.2)) return;
  ClusterSetup& cluster = options->cluster;
  cluster.segment_bytes = 1 << 20;
  cluster.segment_slots = 12 * cluster.shards;
  WorkloadOptions& workload = options->workload;
  workload.max_value_bytes = 200'000;
  workload.max_written_bytes = 4 << 20;
}

// A server is alone with the clients, again and again, and they read there what
// they write elsewhere: its lease must have ended before the others go on.
void IsolateServers(Prng& random, ScenarioOptions* options) {
  ClusterSetup& cluster = options->cluster;
  cluster.servers = 3;
  cluster.shards = 1;
  cluster.mirrors = random.Below(2);
  cluster.lease_us = Pick<uint64_t>(random, {100, 200}) * 1000;
  cluster.control_loss = 0;
  cluster.control_delay_ns = Pick<int64_t>(random, {100, 5000}) * kMicrosecond;
  cluster.network.retry_ns =
      Pick<int64_t>(random, {100, 400, 1000}) * kMillisecond;
  WorkloadOptions& workload = options->workload;
  workload.clients = 3;
  workload.in_flight = 8;
  workload.keys = 1 + random.Below(2);
  workload.think_ns = Pick<int64_t>(random, {1, 3}) * kMillisecond;
  workload.max_timeout_ns = Pick<int64_t>(random, {400, 2000}) * kMillisecond;
  // Whoever asks a server that stands still soon asks again.
  workload.max_get_timeout_ns =
      Pick<int64_t>(random, {30, 2000}) * kMillisecond;
  workload.max_value_bytes = 200;
  // A write that nobody answers keeps its place for long.
  workload.gets = Pick<uint32_t>(random, {10, 60});
  // Room for writes to the end: what is stale shows only beside something new.
  cluster.segment_bytes = 32768;
  cluster.segment_slots = 512;
  workload.max_written_bytes = 5 << 20;
  FaultOptions& faults = options->faults;
  faults.enabled.fill(false);
  faults.enabled[static_cast<size_t>(Fault::kIsolateServer)] = true;
  faults.mean_pause_ns = Pick<int64_t>(random, {300, 800}) * kMillisecond;
  options->safety_ns = 4 * kSecond;
}

// Changes are interrupted where all is stored and nobody knows of it, and logs
// that go on differ in length. Drawn apart, as above.
void AddCrashesAtStore(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x73746f7265);
  auto& enabled = options->faults.enabled;
  if (!enabled[static_cast<size_t>(Fault::kLongCrash)]) return;
  if (!random.Chance(0.4)) return;
  for (bool& drawn : Drawn(options->faults)) drawn &= random.Chance(0.3);
  enabled[static_cast<size_t>(Fault::kLongCrash)] = true;
  enabled[static_cast<size_t>(Fault::kCrashAtStore)] = true;
  ClusterSetup& cluster = options->cluster;
  if (random.Chance(0.6)) cluster.min_replicas = 1;
  cluster.network.slow_chance = 0.2;
  cluster.network.slow_delay_ns = Pick<int64_t>(random, {5, 20}) * kMillisecond;
  options->workload.in_flight = 12;
  options->workload.think_ns = kMillisecond;
}

// Another coordinator leads while a server is still with the former, where
// servers are alone with clients. Drawn apart, as above.
void AddTakeOvers(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x6c6561646572);
  auto& enabled = options->faults.enabled;
  if (!enabled[static_cast<size_t>(Fault::kIsolateServer)]) return;
  if (!random.Chance(0.4)) return;
  enabled[static_cast<size_t>(Fault::kIsolateServer)] = random.Chance(0.3);
  enabled[static_cast<size_t>(Fault::kTakeOver)] = true;
  enabled[static_cast<size_t>(Fault::kCrashCoordinator)] = random.Chance(0.3);
  options->workload.think_ns = 4 * kMillisecond;
  options->safety_ns = 8 * kSecond;
}

// Values are lost with the only pool that has them: the others go on without,
// and an operator gives them up. Drawn apart, as above.
void LoseValues(uint64_t seed, ScenarioOptions* options) {
  Prng random(seed ^ 0x6c6f73656c617374);
  if (!random.Chance(0.12)) return;
  ClusterSetup& cluster = options->cluster;
  cluster.servers = 3 + random.Below(2);
  cluster.replicas = 0;
  cluster.mirrors = 0;
  cluster.shards = 1 + random.Below(2);
  cluster.by_value_max_bytes = Pick<uint64_t>(random, {0, 0, 100});
  cluster.lease_us = Pick<uint64_t>(random, {100, 300}) * 1000;
  options->with_operator = false;
  // Values are on their way to the chain for long.
  cluster.network.slow_land_chance = 0.3;
  cluster.network.slow_land_delay_ns = 5 * kMillisecond;
  WorkloadOptions& workload = options->workload;
  workload.keys = Pick<uint32_t>(random, {4, 8});
  workload.in_flight = Pick<uint32_t>(random, {4, 12});
  workload.think_ns = kMillisecond;
  workload.gets = 6;
  workload.max_written_bytes =
      cluster.segment_slots * cluster.segment_bytes / cluster.shards / 3;
  FaultOptions& faults = options->faults;
  for (bool& enabled : Drawn(faults)) enabled &= random.Chance(0.3);
  for (Fault fault :
       {Fault::kIsolateServer, Fault::kTakeOver, Fault::kCrashAtStore,
        Fault::kRotLog, Fault::kLongCrash}) {
    faults.enabled[static_cast<size_t>(fault)] = false;
  }
  faults.enabled[static_cast<size_t>(Fault::kLosePool)] = true;
  faults.mean_pause_ns = Pick<int64_t>(random, {50, 200}) * kMillisecond;
  faults.max_long_ns = Pick<int64_t>(random, {500, 2000}) * kMillisecond;
  faults.lose_values = true;
  options->safety_ns = 5 * kSecond;
  // One that is left goes on; values are fetched slowly.
  if (!random.Chance(0.4)) return;
  cluster.min_replicas = 1;
  cluster.network.min_delay_ns = kMillisecond;
  cluster.network.max_delay_ns = 3 * kMillisecond;
}

class Run {
 public:
  Run(uint64_t seed, FILE* trace) : world_(seed) {
    world_.set_trace(trace);
    options_ = DrawScenario(world_.random());
    AddOperator(seed, &options_);
    AddRot(seed, &options_);
    AddLongValues(seed, &options_);
    AddCrashesAtStore(seed, &options_);
    AddTakeOvers(seed, &options_);
    LoseValues(seed, &options_);
    world_.Trace(Describe(options_));
    cluster_ = std::make_unique<Cluster>(&world_, options_.cluster);
    workload_ = std::make_unique<Workload>(cluster_.get(), options_.workload,
                                           &history_);
    faults_ = std::make_unique<Faults>(cluster_.get(), workload_.get(),
                                       options_.faults);
    operator_ = std::make_unique<Operator>(cluster_.get(), seed);
  }

  Report Go();

 private:
  bool Fails(Result result, std::string problem) {
    report_.result = result;
    report_.problem = std::move(problem);
    return false;
  }
  // Runs until `done`, at most so long; false if it took longer.
  template <typename Predicate>
  bool RunUntil(int64_t limit_ns, Predicate done);

  bool FormCluster();
  bool AddSpareServers();
  bool FinishMoves();
  // What is missing comes back, or is given up where its pool is lost.
  bool FinishMissing();
  // The servers that hold the key.
  std::vector<uint32_t> HoldersOf(const std::string& key);
  bool Safety();
  bool Heal();
  bool FinalReads();
  bool FinalWrites();
  bool Check();
  void ReadUntilAnswered(const std::string& key, uint32_t replica);
  void PutUntilAnswered(const std::string& key, int attempt);
  bool WaitForFinals(const char* what);
  std::string State();
  bool LogsAreIdentical();

  World world_;
  ScenarioOptions options_;
  checkers::History history_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Faults> faults_;
  std::unique_ptr<Operator> operator_;
  Report report_;
  size_t finals_open_ = 0;
  std::string last_refusal_;
};

template <typename Predicate>
bool Run::RunUntil(int64_t limit_ns, Predicate done) {
  const int64_t end = world_.now_ns() + limit_ns;
  while (!done()) {
    if (!world_.RunOne(end)) return done();
  }
  return true;
}

// What the shards say of themselves, for liveness failures.
std::string Run::State() {
  std::string text =
      absl::StrCat(cluster_->Failure(), cluster_->coordinator().Warnings(),
                   cluster_->network().Unfinished());
  if (const proto::ClusterMap* map = cluster_->coordinator().map()) {
    for (const proto::ShardEntry& shard : map->shards()) {
      absl::StrAppend(
          &text, "\n  shard ", shard.shard(), " epoch ", shard.epoch(),
          shard.active() ? " active " : " waits: ", shard.why_not());
    }
  }
  for (size_t i = 0; i < cluster_->server_count(); ++i) {
    ServerNode& server = cluster_->server(i);
    if (!server.running()) continue;
    const proto::ServerReport& report = server.server()->last_report();
    absl::StrAppend(&text, "\n  server ", server.node(), " ", report.note());
    for (uint32_t peer : report.dead_peers()) {
      absl::StrAppend(&text, " lost ", peer);
    }
    for (const proto::ShardReport& shard : report.shards()) {
      absl::StrAppend(&text, "\n    ", shard.ShortDebugString());
    }
  }
  return text;
}

bool Run::FormCluster() {
  cluster_->coordinator().Start();
  for (size_t i = 0; i < options_.cluster.Replicas(); ++i) {
    cluster_->StartServer(i);
  }
  const bool formed = RunUntil(30 * kSecond, [this] {
    const proto::ClusterMap* map = cluster_->coordinator().map();
    if (map == nullptr || map->shards().empty()) return false;
    return std::all_of(map->shards().begin(), map->shards().end(),
                       [](const proto::ShardEntry& s) { return s.active(); });
  });
  if (formed) return AddSpareServers();
  return Fails(Result::kLiveness,
               absl::StrCat("the cluster does not form", State()));
}

bool Run::AddSpareServers() {
  operator_->AddSpareServers();
  const bool added = RunUntil(30 * kSecond, [this] {
    return cluster_->store().servers() ==
               static_cast<int>(cluster_->server_count()) &&
           cluster_->coordinator().settled();
  });
  if (!added) return Fails(Result::kLiveness, "servers cannot be added");
  for (size_t i = options_.cluster.Replicas(); i < cluster_->server_count();
       ++i) {
    cluster_->StartServer(i);
  }
  return true;
}

bool Run::FinishMoves() {
  if (RunUntil(kFinalNs, [this] { return operator_->Done(); })) return true;
  return Fails(
      Result::kLiveness,
      absl::StrCat("replicas do not get where they shall be", State()));
}

bool Run::FinishMissing() {
  // What went with a pool a moment ago is not known to be missing before there
  // is a configuration without it.
  const auto none = [this] {
    return options_.faults.lose_values ? cluster_->IsWhole()
                                       : !cluster_->store().lacks_values();
  };
  if (RunUntil(faults_->pools_lost() > 0 ? 3 * kSecond : kFinalNs, none)) {
    return true;
  }
  for (int i = 0; i < 30 && faults_->pools_lost() > 0; ++i) {
    operator_->GiveUp();
    if (RunUntil(kSecond, none)) return true;
  }
  return Fails(Result::kLiveness, absl::StrCat("values stay missing", State()));
}

std::vector<uint32_t> Run::HoldersOf(const std::string& key) {
  const proto::ClusterMap* map = cluster_->coordinator().map();
  const uint32_t shard =
      ShardOfHash(HashKey(key), options_.cluster.shards).value();
  const auto& members = map->shards(static_cast<int>(shard)).members();
  return {members.begin(), members.end()};
}

bool Run::Safety() {
  workload_->Start();
  faults_->Start();
  if (options_.with_operator) operator_->Start();
  if (options_.faults.lose_values) {
    operator_->StartGivingUp(workload_->keys(), &history_);
  }
  world_.RunUntil(world_.now_ns() + options_.safety_ns);
  if (cluster_->Failure().empty()) return true;
  return Fails(Result::kSafety, cluster_->Failure());
}

bool Run::Heal() {
  workload_->Stop();
  faults_->Heal();
  operator_->Stop();
  if (RunUntil(kQuietNs, [this] { return workload_->Quiet(); })) return true;
  return Fails(Result::kLiveness,
               absl::StrCat("operations never end", State()));
}

void Run::ReadUntilAnswered(const std::string& key, uint32_t replica) {
  client::Operation operation;
  operation.type = client::OperationType::kGet;
  operation.key = key;
  operation.replica = replica;
  operation.timeout_ns = kFinalTimeoutNs;
  workload_->Submit(0, operation, "", /*final_read=*/true,
                    [this, key, replica](size_t number) {
                      const checkers::Operation& record = history_.at(number);
                      if (record.answer == Answer::kOk ||
                          record.answer == Answer::kNotFound ||
                          record.answer == Answer::kLost) {
                        --finals_open_;
                        return;
                      }
                      last_refusal_ = checkers::ToString(record);
                      world_.After(20 * kMillisecond, [this, key, replica] {
                        ReadUntilAnswered(key, replica);
                      });
                    });
}

void Run::PutUntilAnswered(const std::string& key, int attempt) {
  const std::string name = absl::StrCat(key, "-", attempt);
  const std::string value = MakeValue(name, 300);
  client::Operation operation;
  operation.type = client::OperationType::kPut;
  operation.key = key;
  operation.value = value;
  operation.full_durability = attempt % 2 == 0;
  operation.timeout_ns = kFinalTimeoutNs;
  workload_->Submit(0, operation, name, /*final_read=*/false,
                    [this, key, attempt](size_t number) {
                      const checkers::Operation& record = history_.at(number);
                      if (record.answer == Answer::kOk) {
                        --finals_open_;
                        return;
                      }
                      last_refusal_ = checkers::ToString(record);
                      world_.After(20 * kMillisecond, [this, key, attempt] {
                        PutUntilAnswered(key, attempt + 1);
                      });
                    });
}

bool Run::WaitForFinals(const char* what) {
  if (RunUntil(kFinalNs, [this] { return finals_open_ == 0; })) return true;
  return Fails(Result::kLiveness,
               absl::StrCat(finals_open_, " ", what,
                            " get no answer after everything healed; last: ",
                            last_refusal_, State()));
}

bool Run::FinalReads() {
  for (const std::string& key : workload_->keys()) {
    for (const uint32_t server : HoldersOf(key)) {
      ++finals_open_;
      ReadUntilAnswered(key, server);
    }
  }
  return WaitForFinals("reads");
}

bool Run::FinalWrites() {
  std::vector<std::string> keys;
  keys.reserve(8);
  for (int i = 0; i < 8; ++i) keys.push_back(absl::StrCat("final", i));
  for (const std::string& key : keys) {
    ++finals_open_;
    PutUntilAnswered(key, 0);
  }
  if (!WaitForFinals("writes")) return false;
  for (const std::string& key : keys) {
    for (const uint32_t server : HoldersOf(key)) {
      ++finals_open_;
      ReadUntilAnswered(key, server);
    }
  }
  return WaitForFinals("reads");
}

bool Run::LogsAreIdentical() {
  // Values of the last writes may still be on their way down the chain.
  world_.RunUntil(world_.now_ns() + kSecond);
  for (uint32_t shard = 0; shard < options_.cluster.shards; ++shard) {
    uint64_t committed = UINT64_MAX;
    std::vector<logstore::Pool*> pools;
    const proto::ClusterMap* map = cluster_->coordinator().map();
    for (const uint32_t member :
         map->shards(static_cast<int>(shard)).members()) {
      ServerNode& server = cluster_->server(member - 1);
      pools.push_back(server.pool());
      const proto::ServerReport& report = server.server()->last_report();
      for (const proto::ShardReport& s : report.shards()) {
        if (s.shard() != shard) continue;
        committed = std::min({committed, s.committed(), s.durable()});
      }
    }
    if (committed == UINT64_MAX) continue;
    const checkers::Verdict verdict = checkers::CheckLogIdentity(
        pools, ShardId(static_cast<uint16_t>(shard)), Lsn(committed));
    if (!verdict.ok()) return Fails(Result::kSafety, verdict.problem);
  }
  return true;
}

bool Run::Check() {
  for (auto check : {checkers::CheckExactlyOnce, checkers::CheckDurability,
                     checkers::CheckLinearizability}) {
    const checkers::Verdict verdict = check(history_);
    if (!verdict.ok()) return Fails(Result::kSafety, verdict.problem);
  }
  if (cluster_->store().state() == nullptr) return true;  // never formed
  const proto::Policy& policy = cluster_->store().state()->policy();
  const checkers::Verdict verdict = checkers::CheckCopies(
      history_, std::min(policy.mirrors() + 1, policy.min_replicas()));
  if (!verdict.ok()) return Fails(Result::kSafety, verdict.problem);
  return true;
}

Report Run::Go() {
  const bool healthy = FormCluster() && Safety() && Heal() && FinishMoves() &&
                       FinishMissing() && FinalReads() && FinalWrites() &&
                       LogsAreIdentical();
  // What clients saw counts also where liveness failed.
  if (healthy || report_.result == Result::kLiveness) Check();
  report_.trace_hash = world_.trace_hash();
  report_.virtual_ns = world_.now_ns();
  report_.events = world_.events();
  report_.operations = workload_->operations();
  report_.answered = workload_->answered();
  report_.faults = faults_->counts();
  report_.plans = operator_->accepted();
  report_.given_up = operator_->given_up();
  report_.changes = cluster_->store().changes();
  return report_;
}

}  // namespace

ScenarioOptions DrawScenario(Prng& random) {
  ScenarioOptions options;
  options.cluster = DrawCluster(random);
  options.workload = DrawWorkload(random, options.cluster);
  options.faults = DrawFaults(random, options.cluster);
  options.safety_ns = Pick<int64_t>(random, {1, 2, 4}) * kSecond;
  const double kind = random.NextDouble();
  if (kind < 0.25) {
    Hammer(random, &options);
  } else if (kind < 0.6) {
    LoseServers(random, &options);
  } else if (kind > 0.85) {
    IsolateServers(random, &options);
  }
  return options;
}

std::string Describe(const ScenarioOptions& options) {
  const ClusterSetup& c = options.cluster;
  std::string text = absl::StrCat(
      c.servers, " servers, ", c.shards, " shards, ", c.mirrors,
      " mirrors, by value up to ", c.by_value_max_bytes, ", window ",
      c.window_bytes, ", lease ", c.lease_us, " us, survives ",
      c.survives == pmem::Survives::kPower ? "power" : "process", ", ",
      options.workload.clients, " clients x ", options.workload.in_flight,
      " on ", options.workload.keys, " keys, values up to ",
      options.workload.max_value_bytes,
      options.with_operator
          ? absl::StrCat("; ", c.replicas, " replicas, an operator")
          : "",
      options.faults.lose_values ? "; values are lost" : "", "; faults:");
  for (size_t i = 0; i < kFaultKinds; ++i) {
    if (options.faults.enabled[i]) {
      absl::StrAppend(&text, " ", FaultName(static_cast<Fault>(i)));
    }
  }
  return text;
}

Report RunScenario(uint64_t seed, FILE* trace) { return Run(seed, trace).Go(); }

}  // namespace whale::sim

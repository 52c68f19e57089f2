// Servers that are gone for longer than their leases, one after the other,
// under load: killed, or stopped and continued. The others go on without them;
// they come back by themselves; nothing that was acknowledged is lost and
// histories stay linearizable. And the coordinator may be gone for a while.
//
// And schedules of such faults, drawn from a seed: several at once, in any
// order. WHALE_FAILOVER_SEEDS=FIRST..LAST names the seeds, see
// tests/failover_soak.sh.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/prng.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/etcd_cluster.h"
#include "tests/process/load.h"

namespace whale::process_test {
namespace {

constexpr uint64_t kEndless = 1'000'000;
constexpr int64_t kRate = 1000;
// Some reads of the load want a certain server, which may be gone.
constexpr int64_t kOperationMs = 1000;
constexpr int kTimeoutMs = 120'000;
constexpr uint64_t kProgressBytes = 20'000;
// Enough to have some in every shard.
constexpr int kKeys = 32;

bool Contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

// A cluster under load, and what is done to it.
class Failover {
 public:
  explicit Failover(std::vector<std::string> policy = {"--lease", "500ms"})
      : Failover(std::make_unique<Cluster>(std::move(policy))) {}
  explicit Failover(std::unique_ptr<Cluster> cluster)
      : owned_(std::move(cluster)), cluster_(*owned_) {}

  Cluster& cluster() { return cluster_; }
  Client& client() { return *client_; }

  void StartLoad(uint64_t seed) {
    ASSERT_NO_FATAL_FAILURE(cluster_.Start());
    load_ = std::make_unique<Load>(&cluster_,
                                   LoadOptions{.seed = seed,
                                               .clients = 2,
                                               .operations = kEndless,
                                               .timeout_ms = kOperationMs,
                                               .rate = kRate});
    client_ = cluster_.Connect();
    AwaitWrites();  // sessions come from the coordinator
    ASSERT_NO_FATAL_FAILURE(AwaitProgress());
  }
  void AwaitProgress() {
    const uint64_t target = load_->HistoryBytes() + kProgressBytes;
    ASSERT_TRUE(
        WaitFor([&] { return load_->HistoryBytes() >= target; }, kTimeoutMs))
        << "the load does not go on: " << Status();
  }
  // Writes succeed in every shard.
  void AwaitWrites() {
    for (int i = 0; i < kKeys; ++i) {
      const std::string key = "failover-" + std::to_string(i);
      EXPECT_TRUE(
          WaitFor([&] { return client_->Put(key, "value").ok(); }, kTimeoutMs))
          << Status();
    }
  }
  std::string Status() { return cluster_.Whale({"status"}).output; }
  void CheckAndStop() {
    ASSERT_NO_FATAL_FAILURE(AwaitProgress());
    client_.reset();
    ASSERT_NO_FATAL_FAILURE(load_->Stop());
    ASSERT_NO_FATAL_FAILURE(load_->Finish(kTimeoutMs));
    ASSERT_NO_FATAL_FAILURE(load_->FinalReads());
    load_->Check();
    EXPECT_EQ(cluster_.Stop(), 0);
  }
  // Until the load has gone on, and for so long at least.
  void KillForLong(const std::string& role, size_t index, int64_t ms = 0) {
    ASSERT_NO_FATAL_FAILURE(cluster_.SignalDev(SIGSTOP));
    ASSERT_EQ(kill(cluster_.Pids(role).at(index), SIGKILL), 0);
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    do {
      AwaitWrites();
      ASSERT_NO_FATAL_FAILURE(AwaitProgress());
    } while (std::chrono::steady_clock::now() < until);
    ASSERT_NO_FATAL_FAILURE(cluster_.SignalDev(SIGCONT));
  }

 private:
  const std::unique_ptr<Cluster> owned_;
  Cluster& cluster_;
  std::unique_ptr<Load> load_;
  std::unique_ptr<Client> client_;
};

TEST(Failover, AnyServerMayBeKilledAndComeBack) {
  Failover run;
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(11));
  for (size_t i = 0; i < kReplicas; ++i) {
    ASSERT_NO_FATAL_FAILURE(run.KillForLong("serve", i));
    ASSERT_NO_FATAL_FAILURE(run.cluster().AwaitWhole());
  }
  run.CheckAndStop();
}

// Values may be in the pool of the one that was killed, and in no other: they
// come back with it.
TEST(Failover, WithoutMirrorsTheOthersGoOnToo) {
  Failover run(
      {"--lease", "500ms", "--mirrors", "0", "--by-value-max-bytes", "64"});
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(14));
  for (size_t i = 0; i < kReplicas; ++i) {
    ASSERT_NO_FATAL_FAILURE(run.KillForLong("serve", i));
    ASSERT_NO_FATAL_FAILURE(run.cluster().AwaitWhole());
  }
  run.CheckAndStop();
}

TEST(Failover, AnyServerMayBeStoppedAndContinued) {
  Failover run;
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(12));
  for (const pid_t server : run.cluster().Pids("serve")) {
    ASSERT_EQ(kill(server, SIGSTOP), 0);
    // One that was stopped in the middle of a copy into another's memory holds
    // the shard up until it goes on.
    for (int i = 0; i < kKeys; ++i) {
      const std::string key = "failover-" + std::to_string(i);
      EXPECT_TRUE(WaitFor(
          [&] {
            return run.client().Put(key, "value").ok() ||
                   Contains(run.Status(), "cannot be fenced");
          },
          kTimeoutMs))
          << run.Status();
    }
    ASSERT_EQ(kill(server, SIGCONT), 0);
    ASSERT_NO_FATAL_FAILURE(run.cluster().AwaitWhole());
  }
  run.CheckAndStop();
}

TEST(Failover, WritesAndReadsGoOnWithoutTheCoordinator) {
  Failover run;
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(13));
  // For longer than leases and connections last, where that was asked for.
  const char* ms = getenv("WHALE_WITHOUT_COORDINATOR_MS");
  ASSERT_NO_FATAL_FAILURE(
      run.KillForLong("coordinator", 0, ms == nullptr ? 0 : std::atoll(ms)));
  ASSERT_NO_FATAL_FAILURE(run.cluster().AwaitWhole());
  run.CheckAndStop();
}

// What only a coordinator that leads can do, it does: a server dies, once after
// the leader and once just before it. Each time another member of etcd is gone
// from before that on.
TEST(Failover, AnotherCoordinatorLeadsWhenTheFirstIsKilled) {
  auto cluster = std::make_unique<EtcdCluster>();
  EtcdCluster& processes = *cluster;
  Failover run(std::move(cluster));
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(15));
  processes.KillEtcdMember(0);
  ASSERT_NO_FATAL_FAILURE(run.AwaitProgress());
  processes.KillCoordinator(0);
  ASSERT_NO_FATAL_FAILURE(run.AwaitProgress());
  processes.KillServer(0);
  run.AwaitWrites();
  processes.StartServerAgain(0);
  ASSERT_NO_FATAL_FAILURE(processes.AwaitWhole());
  processes.StartEtcdMember(0);
  processes.StartCoordinator(0);
  ASSERT_NO_FATAL_FAILURE(run.AwaitProgress());
  // The first may not have caught up: then nothing is stored until it has.
  processes.KillEtcdMember(1);
  processes.KillServer(1);
  processes.KillCoordinator(1);
  run.AwaitWrites();
  processes.StartServerAgain(1);
  processes.StartCoordinator(1);
  ASSERT_NO_FATAL_FAILURE(processes.AwaitWhole());
  run.CheckAndStop();
}

// ---------------------------------------------------------------- schedules

constexpr int kStepsPerSchedule = 5;
constexpr uint64_t kMaxAwayMs = 2000;

// How long a fault lasts is part of a schedule.
void Pass(uint64_t ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// Kills or stops up to two servers, and perhaps the coordinator, at one moment;
// some time later everything may go on.
void Strike(Failover& run, Prng& random) {
  std::vector<pid_t> victims = run.cluster().Pids("serve");
  for (size_t i = victims.size(); i > 1; --i) {
    std::swap(victims[i - 1], victims[random.Below(i)]);
  }
  const size_t servers = random.Chance(0.35) ? 2 : random.Chance(0.9) ? 1 : 0;
  victims.resize(std::min(victims.size(), servers));
  if (servers == 0 || random.Chance(0.3)) {
    for (const pid_t pid : run.cluster().Pids("coordinator")) {
      victims.push_back(pid);
    }
  }
  const bool for_long = random.Chance(0.7);
  if (for_long) {
    ASSERT_NO_FATAL_FAILURE(run.cluster().SignalDev(SIGSTOP));
  }
  std::vector<pid_t> stopped;
  for (const pid_t pid : victims) {
    const bool stop = random.Chance(0.4);
    std::printf("  %s %s\n", stop ? "stop" : "kill",
                CommandLineOf(pid).substr(0, 60).c_str());
    kill(pid, stop ? SIGSTOP : SIGKILL);
    if (stop) stopped.push_back(pid);
  }
  const uint64_t away_ms = random.Below(kMaxAwayMs);
  std::printf("  for %d ms%s\n", static_cast<int>(away_ms),
              for_long ? "" : ", what was killed starts at once");
  Pass(away_ms);
  for (const pid_t pid : stopped) kill(pid, SIGCONT);
  if (for_long) {
    ASSERT_NO_FATAL_FAILURE(run.cluster().SignalDev(SIGCONT));
  }
}

void RunSchedule(uint64_t seed) {
  std::printf("schedule %d\n", static_cast<int>(seed));
  std::fflush(stdout);
  Prng random(seed);
  Failover run;
  ASSERT_NO_FATAL_FAILURE(run.StartLoad(seed));
  for (int step = 0; step < kStepsPerSchedule; ++step) {
    ASSERT_NO_FATAL_FAILURE(Strike(run, random));
    // The next may come in the middle of the change.
    if (random.Chance(0.4)) {
      Pass(random.Below(500));
    } else {
      ASSERT_NO_FATAL_FAILURE(run.AwaitProgress());
    }
  }
  ASSERT_NO_FATAL_FAILURE(run.cluster().AwaitWhole());
  run.CheckAndStop();
}

TEST(Failover, SchedulesLoseNothing) {
  const char* seeds = getenv("WHALE_FAILOVER_SEEDS");
  unsigned first = 1, last = 1;
  if (seeds != nullptr) {
    ASSERT_EQ(std::sscanf(seeds, "%u..%u", &first, &last), 2) << seeds;
  }
  for (unsigned seed = first; seed <= last; ++seed) {
    ASSERT_NO_FATAL_FAILURE(RunSchedule(seed)) << "schedule " << seed;
    ASSERT_FALSE(testing::Test::HasFailure()) << "schedule " << seed;
  }
}

}  // namespace
}  // namespace whale::process_test

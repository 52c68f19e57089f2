// kill -9 at any moment: of all servers and the coordinator together, of
// clients, under load. The same folder is started again; nothing that was
// acknowledged may be lost, and histories stay linearizable over the crash.
#include <cstdlib>
#include <iostream>

#include "common/prng.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/load.h"

namespace whale::process_test {
namespace {

// A load that goes on until it is stopped, slow enough for the checkers.
constexpr uint64_t kEndless = 1'000'000;
constexpr int64_t kRate = 2000;
constexpr int kLoadTimeoutMs = 120'000;
constexpr int kProgressTimeoutMs = 120'000;

uint64_t Seed() {
  const char* given = std::getenv("PROCESS_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 20261;
}

// Waits until the clients have recorded so much more.
void AwaitProgress(const Load& load, uint64_t bytes) {
  const uint64_t target = load.HistoryBytes() + bytes;
  ASSERT_TRUE(WaitFor([&] { return load.HistoryBytes() >= target; },
                      kProgressTimeoutMs))
      << "the load does not go on";
}

TEST(CrashTest, NothingAcknowledgedIsLostWhenAllServersAreKilled) {
  const uint64_t seed = Seed();
  std::cout << "PROCESS_TEST_SEED=" << seed << "\n";
  Prng random(seed);
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  Load load(
      &cluster,
      {.seed = seed, .clients = 3, .operations = kEndless, .rate = kRate});
  for (int crash = 0; crash < 3; ++crash) {
    ASSERT_NO_FATAL_FAILURE(
        AwaitProgress(load, 10'000 + random.Below(200'000)));
    cluster.KillAll();
    ASSERT_NO_FATAL_FAILURE(cluster.Start());
  }
  // They go on by themselves.
  ASSERT_NO_FATAL_FAILURE(AwaitProgress(load, 100'000));
  ASSERT_NO_FATAL_FAILURE(load.Stop());
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  EXPECT_EQ(cluster.Stop(), 0);
}

TEST(CrashTest, KilledClientsHarmNobody) {
  const uint64_t seed = Seed() + 1;
  Prng random(seed);
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  Load load(
      &cluster,
      {.seed = seed, .clients = 3, .operations = 6000, .large_share = 40});
  for (size_t victim = 0; victim < 4; ++victim) {
    ASSERT_NO_FATAL_FAILURE(
        AwaitProgress(load, 10'000 + random.Below(100'000)));
    load.Kill(victim);
    load.AddClient();
  }
  ASSERT_NO_FATAL_FAILURE(load.Stop());
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  EXPECT_EQ(cluster.Stop(), 0);
}

TEST(CrashTest, ACleanStopKeepsEverything) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  Load load(&cluster, {.seed = Seed() + 2, .clients = 2, .operations = 2000});
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  EXPECT_EQ(cluster.Stop(), 0);
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  EXPECT_EQ(cluster.Stop(), 0);
}

}  // namespace
}  // namespace whale::process_test

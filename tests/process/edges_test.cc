// The edges, by name, on a cluster of real processes: clients that stop or
// cheat, sleeping backups, values as large as a value can be, a window at its
// bound, a pool that is full.
#include <signal.h>

#include <algorithm>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/units.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/history_file.h"
#include "tests/process/load.h"

namespace whale::process_test {
namespace {

constexpr int kLoadTimeoutMs = 120'000;

// The value that every replica answers with.
std::string ReadEverywhere(Client& client, const std::string& key) {
  std::string value;
  for (uint32_t replica = 1; replica <= kReplicas; ++replica) {
    ReadOptions options;
    options.replica = replica;
    const absl::StatusOr<ReadResult> result = client.Get(key, options);
    EXPECT_TRUE(result.ok())
        << key << " at replica " << replica << ": " << result.status();
    if (!result.ok()) return "";
    if (replica > 1) {
      // The values may be large: no EXPECT_EQ, which would print them.
      EXPECT_TRUE(result->value == value)
          << key << " is another at replica " << replica;
    }
    value = result->value;
  }
  return value;
}

// All numbers under this name in a JSON text.
std::vector<uint64_t> Numbers(const std::string& json,
                              const std::string& name) {
  std::vector<uint64_t> numbers;
  const std::regex pattern(absl::StrCat("\"", name, "\": *([0-9]+)"));
  for (std::sregex_iterator it(json.begin(), json.end(), pattern), end;
       it != end; ++it) {
    numbers.push_back(std::stoull((*it)[1]));
  }
  return numbers;
}

bool AllThreadsSleep(pid_t pid) {
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  for (const std::string& task : ListFolder(tasks)) {
    const std::string stat = ReadFile(absl::StrCat(tasks, "/", task, "/stat"));
    const size_t end_of_name = stat.rfind(')');
    if (end_of_name == std::string::npos || stat[end_of_name + 2] != 'S') {
      return false;
    }
  }
  return true;
}

TEST(EdgesTest, AClientThatStopsInTheMiddleOfARequestHoldsUpNobody) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  Load load(&cluster,
            {.seed = 3, .clients = 1, .operations = 4000, .large_share = 50});
  ASSERT_TRUE(
      WaitFor([&] { return load.HistoryBytes() > 20'000; }, kLoadTimeoutMs));
  load.client(0).Signal(SIGSTOP);
  load.AddClient();
  ASSERT_TRUE(load.client(1).WaitExit(kLoadTimeoutMs))
      << "a stopped client holds up another";
  load.client(0).Signal(SIGCONT);
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  EXPECT_EQ(cluster.Stop(), 0);
}

class HostileClientTest : public testing::TestWithParam<const char*> {};

TEST_P(HostileClientTest, HarmsNobodyElse) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  const std::vector<pid_t> servers = cluster.Pids("serve");
  ASSERT_EQ(servers.size(), kReplicas);
  ChildProcess hostile(
      {WHALE_HOSTILE_CLIENT, GetParam(), cluster.coordinator(), "40"},
      cluster.tag(), cluster.folder() + "/hostile");
  ASSERT_TRUE(WaitFor(
      [&] {
        return hostile.WaitExit(0) ||
               !ReadFile(cluster.folder() + "/hostile").empty();
      },
      kLoadTimeoutMs));
  Load load(&cluster, {.seed = 4, .clients = 1, .operations = 2000});
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  if (!hostile.WaitExit(kLoadTimeoutMs)) hostile.Signal(SIGKILL);
  EXPECT_TRUE(hostile.WaitExit(kLoadTimeoutMs));

  EXPECT_EQ(cluster.Pids("serve"), servers) << "a server died";
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  // Whatever it wrote, the replicas have the same of it.
  std::unique_ptr<Client> client = cluster.Connect();
  ASSERT_NE(client, nullptr);
  ReadEverywhere(*client, "hostile0");
  ReadEverywhere(*client, "hostile1");
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(Clients, HostileClientTest,
                         testing::Values("values", "rings"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

TEST(EdgesTest, SleepingBackupsNeedNoWakeUpForACommitAndServeTheNewValue) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect();
  ASSERT_NE(client, nullptr);
  for (int round = 0; round < 20; ++round) {
    const std::vector<pid_t> servers = cluster.Pids("serve");
    ASSERT_TRUE(WaitFor(
        [&] {
          return std::all_of(servers.begin(), servers.end(), AllThreadsSleep);
        },
        kLoadTimeoutMs))
        << "an idle server does not sleep";
    const std::string value =
        MakeValue(absl::StrCat("round", round), round % 2 == 0 ? 100 : 50'000);
    ASSERT_TRUE(client->Put("sleepy", value).ok());
    EXPECT_TRUE(ReadEverywhere(*client, "sleepy") == value);
  }
  EXPECT_TRUE(client->WaitReplicated(absl::Seconds(20)).ok());
  WriteOptions everywhere;
  everywhere.durability = Durability::kReplicated;
  const absl::StatusOr<WriteResult> written =
      client->Put("sleepy", "last", everywhere);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->copies, kReplicas);
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

// Record sizes that leave every kind of rest at the end of a segment: none,
// too small for a header, a header alone, almost a whole value.
TEST(EdgesTest, TheLargestValuesAtSegmentEnds) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::map<std::string, std::string> written;
  std::unique_ptr<Client> client = cluster.Connect(absl::Seconds(60));
  ASSERT_NE(client, nullptr);
  constexpr size_t kHeaderAndKey = 48 + 16;
  const size_t lengths[] = {kMaxValueBytes,
                            kMaxValueBytes - kHeaderAndKey,
                            kMaxValueBytes - kHeaderAndKey - 16,
                            kMaxValueBytes - kHeaderAndKey - 32,
                            kMaxValueBytes - kHeaderAndKey - 48,
                            kMaxValueBytes - 1};
  for (int round = 0; round < 4; ++round) {
    for (const size_t length : lengths) {
      const std::string key = absl::StrCat("segment-", written.size() + 10'000);
      const std::string value = MakeValue(key, length);
      const absl::StatusOr<WriteResult> result = client->Put(key, value);
      ASSERT_TRUE(result.ok()) << key << ": " << result.status();
      written[key] = value;
      // Moves the next one's place a little.
      ASSERT_TRUE(client->Put("filler", std::string(round * 16, 'f')).ok());
    }
  }
  for (const auto& [key, value] : written) {
    EXPECT_TRUE(ReadEverywhere(*client, key) == value) << key;
  }
  client.reset();
  cluster.KillAll();
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  client = cluster.Connect(absl::Seconds(60));
  ASSERT_NE(client, nullptr);
  for (const auto& [key, value] : written) {
    EXPECT_TRUE(ReadEverywhere(*client, key) == value) << key;
  }
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

TEST(EdgesTest, ValuesAndKeysOverTheLimitsAreRefusedAndNothingElse) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect();
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->Put("", "v").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      client->Put(std::string(kMaxKeyBytes + 1, 'k'), "v").status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      client->Put("k", std::string(kMaxValueBytes + 1, 'v')).status().code(),
      absl::StatusCode::kInvalidArgument);
  const std::string longest(kMaxKeyBytes, 'k');
  EXPECT_TRUE(client->Put(longest, "").ok());
  EXPECT_EQ(ReadEverywhere(*client, longest), "");
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

// Everything goes along the chain, through a window that few values fill.
TEST(EdgesTest, AWindowAtItsBoundSlowsWritersAndLosesNothing) {
  constexpr uint64_t kWindowBytes = 256 << 10;
  constexpr size_t kValueBytes = 60'000;
  Cluster cluster({"--shards", "1", "--mirrors", "0", "--by-value-max-bytes",
                   "0", "--window-bytes", absl::StrCat(kWindowBytes)});
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect(absl::Seconds(60));
  ASSERT_NE(client, nullptr);
  constexpr int kWrites = 2000;
  int finished = 0, refused = 0;
  for (int i = 0; i < kWrites; ++i) {
    const std::string key = absl::StrCat("window", i % 50);
    client->PutAsync(key, MakeValue(absl::StrCat("v", i), kValueBytes), {},
                     [&](absl::StatusOr<WriteResult> result) {
                       ++finished;
                       if (result.ok()) return;
                       ++refused;
                       EXPECT_EQ(result.status().code(),
                                 absl::StatusCode::kResourceExhausted)
                           << result.status();
                     });
    client->Poll();
  }
  while (client->in_flight() > 0) client->Poll(absl::Seconds(1));
  EXPECT_EQ(finished, kWrites);
  EXPECT_LT(refused, kWrites);
  EXPECT_TRUE(client->WaitReplicated(absl::Seconds(60)).ok());
  // The bound was reached, and passed by one record at most and the pad
  // before it, which is shorter.
  const auto high_water = [&] {
    const std::vector<uint64_t> high = Numbers(
        cluster.Whale({"status", "--json"}).output, "window_high_water_bytes");
    return high.empty() ? 0 : *std::max_element(high.begin(), high.end());
  };
  EXPECT_TRUE(
      WaitFor([&] { return high_water() >= kWindowBytes; }, kLoadTimeoutMs));
  EXPECT_LT(high_water(), kWindowBytes + 2 * (kValueBytes + 128));
  for (int i = 0; i < 50; ++i) {
    EXPECT_NE(NameOfValue(ReadEverywhere(*client, absl::StrCat("window", i))),
              "");
  }
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

// Every write takes a slot of each backup's ring, which has few.
TEST(EdgesTest, RingsThatWrapManyTimesLoseNothing) {
  Cluster cluster({"--shards", "1", "--mirrors", "0", "--by-value-max-bytes",
                   "0", "--ring-slots", "64"});
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect(absl::Seconds(60));
  ASSERT_NE(client, nullptr);
  constexpr int kWrites = 2000, kKeys = 50;
  int acknowledged = 0;
  for (int i = 0; i < kWrites; ++i) {
    client->PutAsync(absl::StrCat("ring", i % kKeys),
                     MakeValue(absl::StrCat("v", i), 500), {},
                     [&](absl::StatusOr<WriteResult> result) {
                       EXPECT_TRUE(result.ok()) << result.status();
                       ++acknowledged;
                     });
    client->Poll();
  }
  while (client->in_flight() > 0) client->Poll(absl::Seconds(1));
  EXPECT_EQ(acknowledged, kWrites);
  client.reset();
  cluster.KillAll();
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  client = cluster.Connect(absl::Seconds(60));
  ASSERT_NE(client, nullptr);
  for (int key = 0; key < kKeys; ++key) {
    EXPECT_EQ(NameOfValue(ReadEverywhere(*client, absl::StrCat("ring", key))),
              absl::StrCat("v", kWrites - kKeys + key));
  }
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

TEST(EdgesTest, ASessionThatIsNotHeardOfEndsAndItsClientGoesOn) {
  Cluster cluster({"--session-lease", "1s"});
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect();
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(client->Put("session", "first").ok());
  ASSERT_TRUE(client->WaitReplicated(absl::Seconds(20)).ok());
  const auto open_somewhere = [&] {
    const std::vector<uint64_t> open =
        Numbers(cluster.Whale({"status", "--json"}).output, "open_sessions");
    EXPECT_FALSE(open.empty());
    return std::any_of(open.begin(), open.end(),
                       [](uint64_t count) { return count > 0; });
  };
  EXPECT_TRUE(WaitFor(
      [&] { return client->Put("session", "again").ok() && open_somewhere(); },
      kLoadTimeoutMs));
  // Nobody polls this client, so it cannot keep its sessions alive.
  EXPECT_TRUE(WaitFor([&] { return !open_somewhere(); }, kLoadTimeoutMs))
      << "sessions do not end";
  const absl::StatusOr<WriteResult> next = client->Put("session", "second");
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(ReadEverywhere(*client, "session"), "second");
  client.reset();
  EXPECT_EQ(cluster.Stop(), 0);
}

TEST(EdgesTest, AFullPoolRefusesWritesAndGoesOnReading) {
  Cluster cluster({"--pool-bytes", "256MiB"});
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  std::unique_ptr<Client> client = cluster.Connect(absl::Seconds(3));
  ASSERT_NE(client, nullptr);
  const std::string value = MakeValue("full", 1 << 20);
  std::vector<std::string> written;
  absl::Status refused;
  // More than the pool could ever take.
  for (int i = 0; i < 1024 && refused.ok(); ++i) {
    const std::string key = absl::StrCat("full", i);
    refused = client->Put(key, value).status();
    if (refused.ok()) written.push_back(key);
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  ASSERT_FALSE(written.empty());
  for (const std::string& key : written) {
    const absl::StatusOr<ReadResult> result = client->Get(key);
    ASSERT_TRUE(result.ok()) << key << ": " << result.status();
    EXPECT_TRUE(result->value == value) << key;
  }
  client.reset();
  // It comes back as full as it was.
  cluster.KillAll();
  EXPECT_EQ(cluster.Pids("serve"), std::vector<pid_t>());
}

}  // namespace
}  // namespace whale::process_test

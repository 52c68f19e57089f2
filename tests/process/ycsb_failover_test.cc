// kill -9 of the primary, of the mirror and of the tail, each by itself, under
// YCSB's workload A: no acknowledged write is lost, histories are linearizable,
// and in the end all replicas are the same.
#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/ycsb_load.h"

namespace whale::process_test {
namespace {

using ::testing::HasSubstr;

constexpr int kTimeoutMs = 120'000;
constexpr uint64_t kProgressWrites = 2000;

// Of a cluster with one shard: its row is "SERVER ROLE STATE ..".
pid_t ProcessWithRole(const Cluster& cluster, const std::string& role) {
  const std::string status = cluster.Whale({"status"}).output;
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    const std::vector<std::string> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    for (size_t i = 1; i < words.size(); ++i) {
      if (words[i] != role) continue;
      const std::string id = absl::StrCat("--id ", words[i - 1], " ");
      for (const pid_t pid : cluster.Pids("serve")) {
        if (absl::StrContains(CommandLineOf(pid), id)) return pid;
      }
    }
  }
  ADD_FAILURE() << "no " << role << ": " << status;
  return -1;
}

TEST(YcsbFailover, WhateverRoleIsKilledNothingIsLost) {
  // Values go along the chain.
  Cluster cluster(
      {"--lease", "500ms", "--shards", "1", "--by-value-max-bytes", "256"});
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  YcsbLoad load(&cluster);
  ASSERT_NO_FATAL_FAILURE(load.Start());
  const auto await_progress = [&] {
    const uint64_t target = load.acknowledged() + kProgressWrites;
    ASSERT_TRUE(
        WaitFor([&] { return load.acknowledged() >= target; }, kTimeoutMs))
        << "the load does not go on: " << cluster.Whale({"status"}).output;
  };
  for (const char* role : {"primary", "mirror", "tail"}) {
    ASSERT_NO_FATAL_FAILURE(await_progress());
    const pid_t victim = ProcessWithRole(cluster, role);
    ASSERT_NO_FATAL_FAILURE(cluster.SignalDev(SIGSTOP));
    ASSERT_EQ(kill(victim, SIGKILL), 0);
    ASSERT_NO_FATAL_FAILURE(await_progress());
    ASSERT_NO_FATAL_FAILURE(cluster.SignalDev(SIGCONT));
    ASSERT_NO_FATAL_FAILURE(cluster.AwaitWhole());
  }
  ASSERT_NO_FATAL_FAILURE(await_progress());
  ASSERT_NO_FATAL_FAILURE(load.Stop());
  load.Check();
  const CommandResult verified = cluster.Whale(
      {"bench", "ycsb", "--phase", "run", "--workload", "c", "--operations",
       "1", "--records", absl::StrCat(YcsbLoad::kRecords), "--verify", "--dir",
       cluster.folder() + "/data"});
  EXPECT_EQ(verified.exit_code, 0) << verified.output;
  EXPECT_THAT(verified.output, HasSubstr("byte-identical"));
  EXPECT_EQ(cluster.Stop(), 0);
}

}  // namespace
}  // namespace whale::process_test

// A server dies with the only copies of acknowledged values: what the others
// then answer, how the values come back, and how they are given up (protocol,
// section 8, "Holes that stay").
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/hash.h"
#include "sim/cluster_fixture.h"

namespace whale::sim {
namespace {

constexpr uint64_t kValueBytes = 30 << 10;
constexpr uint64_t kMostSeeds = 200;

class HolesTest : public ClusterTest {
 protected:
  HolesTest() {
    // The first that loses something: a value is on its way to the chain for
    // a moment only.
    for (uint64_t seed = 1; seed <= kMostSeeds && primary_ == 0; ++seed) {
      if (!LoseValues(seed, ChainOnly(), {"key"})) primary_ = 0;
    }
    EXPECT_NE(primary_, 0u) << "no seed loses a value";
  }

  static ClusterSetup ChainOnly() {
    ClusterSetup setup;
    setup.shards = 1;
    setup.mirrors = 0;
    setup.by_value_max_bytes = 0;
    setup.lease_us = 100'000;
    setup.network.slow_land_chance = 0.3;
    setup.network.slow_land_delay_ns = 5 * kMillisecond;
    return setup;
  }

  static std::vector<std::string> EightKeys() {
    std::vector<std::string> keys;
    for (int i = 0; i < 8; ++i) keys.push_back("key" + std::to_string(i));
    return keys;
  }

  // The primary dies when puts of `keys` are acknowledged. True: nobody else
  // has a value of one.
  bool LoseValues(uint64_t seed, const ClusterSetup& setup,
                  const std::vector<std::string>& keys) {
    Form(seed, setup);
    EXPECT_TRUE(Put("key", "old").ok());
    EXPECT_TRUE(Put("other", "here").ok());
    Run(kSecond);
    primary_ = cluster_->coordinator().map()->shards(0).members(0);
    PutAll(keys, std::string(kValueBytes, 'n'));
    cluster_->CrashServer(primary_ - 1, false);
    Run(2 * kSecond);
    return Missing().values() > 0;
  }

  proto::ShardMissing Missing() {
    const auto status = cluster_->coordinator().Status();
    if (!status || status->missing().empty()) return {};
    return status->missing(0);
  }
  void GiveUp() {
    proto::DeclareLostRequest request;
    const proto::ShardMissing missing = Missing();
    for (const proto::MissingValue& value : missing.first()) {
      request.add_lsns(value.lsn());
    }
    EXPECT_TRUE(cluster_->coordinator().DeclareLost(request));
    Run(kSecond);
  }
  void Return() {
    cluster_->StartServer(primary_ - 1);
    Run(3 * kSecond);
  }
  void CrashOthers() {
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      if (i != primary_ - 1) cluster_->CrashServer(i, false);
    }
  }
  void StartOthers() {
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      if (i != primary_ - 1) cluster_->StartServer(i);
    }
  }
  // With all servers dead at once, in between.
  void RestartOthers() {
    CrashOthers();
    StartOthers();
    Run(3 * kSecond);
  }
  // Of the first primary, among those that serve; -1: it does not.
  int Place() {
    const proto::ShardEntry& shard = cluster_->coordinator().map()->shards(0);
    const auto& members = shard.members();
    const auto it = std::find(members.begin(), members.end(), primary_);
    return it == members.end() || !shard.active()
               ? -1
               : static_cast<int>(it - members.begin());
  }

  uint32_t primary_ = 0;
};

TEST_F(HolesTest, ItsKeyIsUnavailableAndNamedAndOthersAreServed) {
  EXPECT_EQ(Get("key").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Get("other").value(), "here");
  EXPECT_TRUE(Put("other", "newer").ok());
  const proto::ShardMissing missing = Missing();
  ASSERT_EQ(missing.first_size(), 1);
  EXPECT_EQ(missing.first(0).key_hash(), HashKey("key"));
  ASSERT_EQ(missing.may_be_at_size(), 1);
  EXPECT_EQ(missing.may_be_at(0), primary_);
  EXPECT_NE(cluster_->coordinator().Warnings().find("lacks 1 committed values"),
            std::string::npos);
  // Neither is a condition decided on what is older.
  EXPECT_EQ(Do(OperationType::kCompareAndPut, "key", "x", 0).status.code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(HolesTest, AValueIsBackWithItsPool) {
  RestartOthers();
  EXPECT_EQ(Get("key").status().code(), absl::StatusCode::kUnavailable);
  Return();
  EXPECT_EQ(Get("key").value(), std::string(kValueBytes, 'n'));
  EXPECT_EQ(Missing().values(), 0u);
  EXPECT_FALSE(cluster_->store().lacks_values());
}

// It is taken in before all that it has was fetched, and then leads, because
// all others die.
TEST_F(HolesTest, WhoLeadsGivesWhatOnlyItHas) {
  ClusterSetup setup = ChainOnly();
  setup.min_replicas = 1;
  setup.network.min_delay_ns = 2 * kMillisecond;
  setup.network.max_delay_ns = 4 * kMillisecond;
  const std::vector<std::string> keys = EightKeys();
  bool told = false;  // while it leads, that others miss something
  for (uint64_t seed = 1; seed <= kMostSeeds && !told; ++seed) {
    if (!LoseValues(seed, setup, keys)) continue;
    cluster_->StartServer(primary_ - 1);
    while (Place() < 0) ASSERT_TRUE(world_->RunOne(world_->now_ns() + kSecond));
    Run(20 * kMillisecond);  // until it counts as a survivor
    CrashOthers();
    Run(kSecond);
    ASSERT_EQ(Place(), 0) << cluster_->coordinator().Warnings();
    StartOthers();
    for (const int64_t end = world_->now_ns() + 5 * kSecond;
         world_->RunOne(end);) {
      told |= Place() == 0 && Missing().first_size() > 0;
    }
    EXPECT_FALSE(cluster_->store().lacks_values());
    for (const std::string& key : keys) {
      for (uint32_t server = 1; server <= setup.servers; ++server) {
        EXPECT_EQ(Get(key, server).value(), std::string(kValueBytes, 'n'));
      }
    }
  }
  EXPECT_TRUE(told);
}

// One leads alone and lacks the value; who has it is taken in, and then one
// that has neither: it gets what its predecessor has, or what stands for that
// at the primary, and not a mixture of both.
TEST_F(HolesTest, WhoNeedsItGetsTheValueOrWhatStandsForIt) {
  ClusterSetup setup = ChainOnly();
  setup.min_replicas = 1;
  setup.network.min_delay_ns = 2 * kMillisecond;
  setup.network.max_delay_ns = 4 * kMillisecond;
  setup.network.slow_land_chance = 1;
  setup.network.slow_land_delay_ns = 10 * kMillisecond;
  setup.window_bytes = 8 << 20;  // whoever lacks so much may be taken in
  const std::vector<std::string> keys = EightKeys();
  int tried = 0;
  for (uint64_t seed = 1; seed <= kMostSeeds && tried < 20; ++seed) {
    Form(seed, setup);
    ASSERT_TRUE(Put("key", "old").ok());
    Run(kSecond);
    const proto::ShardEntry shard = cluster_->coordinator().map()->shards(0);
    PutAll(keys, std::string(kValueBytes, 'n'));
    const uint32_t holder = shard.members(0);
    const uint32_t other = shard.members(2);
    cluster_->CrashServer(holder - 1, false);
    cluster_->CrashServer(other - 1, false);
    Run(2 * kSecond);
    const proto::ShardMissing missing = Missing();
    if (missing.values() == 0) continue;
    cluster_->StartServer(holder - 1);
    cluster_->StartServer(other - 1);
    while (cluster_->coordinator().map()->shards(0).members_size() < 3) {
      ASSERT_TRUE(world_->RunOne(world_->now_ns() + kSecond));
    }
    const proto::ServerReport& report =
        cluster_->server(other - 1).server()->last_report();
    tried += cluster_->coordinator().map()->shards(0).members(1) == holder &&
             report.shards(0).durable() < missing.first(0).lsn();
    Run(5 * kSecond);
    EXPECT_EQ(cluster_->Failure(), "") << "seed " << seed;
    EXPECT_TRUE(cluster_->IsWhole()) << "seed " << seed;
    for (uint32_t server = 1; server <= setup.servers; ++server) {
      for (const std::string& key : keys) {
        EXPECT_EQ(Get(key, server).value_or("none"),
                  std::string(kValueBytes, 'n'))
            << "seed " << seed << ", server " << server;
      }
    }
  }
  EXPECT_EQ(tried, 20);
}

TEST_F(HolesTest, WhatIsWrittenSinceStands) {
  EXPECT_TRUE(Put("key", "newer").ok());
  EXPECT_EQ(Get("key").value(), "newer");
  Return();
  EXPECT_EQ(Get("key").value(), "newer");
  EXPECT_FALSE(cluster_->store().lacks_values());
}

TEST_F(HolesTest, WhatIsGivenUpStaysLostUntilItIsWritten) {
  GiveUp();
  EXPECT_EQ(Missing().values(), 0u);
  EXPECT_EQ(Missing().lost_values(), 1u);
  EXPECT_EQ(Get("key").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Get("other").value(), "here");
  RestartOthers();
  EXPECT_EQ(Get("key").status().code(), absl::StatusCode::kDataLoss);
  // Even where it is.
  Return();
  EXPECT_EQ(Get("key").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(cluster_->store().lacks_values());
  EXPECT_TRUE(Put("key", "anew").ok());
  EXPECT_EQ(Get("key").value(), "anew");
  Run(kSecond);
  EXPECT_EQ(Missing().lost_values(), 0u);
}

TEST_F(HolesTest, NothingIsGivenUpThatIsNotMissing) {
  proto::DeclareLostRequest request;
  EXPECT_FALSE(cluster_->coordinator().DeclareLost(request));
  request.add_lsns(Missing().first(0).lsn() + 16);
  EXPECT_TRUE(cluster_->coordinator().DeclareLost(request));
  request.set_shard(7);
  EXPECT_FALSE(cluster_->coordinator().DeclareLost(request));
  Run(kSecond);
  EXPECT_EQ(Missing().values(), 1u);
  EXPECT_EQ(Missing().lost_values(), 0u);
}

}  // namespace
}  // namespace whale::sim

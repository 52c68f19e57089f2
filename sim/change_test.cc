// Moments of a change of configuration that random seeds meet once in thousands
// (protocol, section 8).
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "sim/cluster_fixture.h"

namespace whale::sim {
namespace {

class ChangeTest : public ClusterTest {
 protected:
  SimNetwork& network() { return cluster_->network(); }
  // Empty: the process is not there, or has not told anything yet.
  proto::ShardReport ReportOf(size_t index) {
    ServerNode& server = cluster_->server(index);
    if (!server.running()) return {};
    const proto::ServerReport& report = server.server()->last_report();
    return report.shards().empty() ? proto::ShardReport() : report.shards(0);
  }
  // A change whose survivors are all members.
  void AskForAnotherPolicy() {
    EXPECT_TRUE(cluster_->coordinator().Ask([](proto::StoredState* state) {
      proto::StoredShard* shard = state->mutable_shards(0);
      *shard->mutable_next_policy() = shard->policy();
      shard->mutable_next_policy()->set_window_bytes(1 << 19);
      return absl::StatusOr<std::string>("");
    }));
  }
};

// Where completion does not mean visible, what has completed may land when the
// next epoch has begun, and write over what that puts there.
TEST_F(ChangeTest, WhoHasStoppedHasNothingThatMayLand) {
  ClusterSetup setup;
  setup.shards = 1;
  setup.mirrors = 0;
  setup.by_value_max_bytes = 0;
  setup.network.flush_method = fabric::FlushMethod::kReadAfterWrite;
  setup.network.slow_land_chance = 1;
  setup.network.slow_land_delay_ns = 20 * kMillisecond;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Form(seed, setup);
    ASSERT_TRUE(Put("key", "old").ok());
    PutAll({"a", "b", "c", "d"}, std::string(8 << 10, 'n'));
    const uint64_t epoch = ReportOf(0).epoch();
    AskForAnotherPolicy();
    std::set<size_t> stopped;
    for (const int64_t end_ns = world_->now_ns() + kSecond;
         world_->RunOne(end_ns) && !HasFailure();) {
      for (size_t i = 0; i < setup.servers; ++i) {
        const proto::ShardPhase phase = ReportOf(i).phase();
        if (phase != proto::SHARD_STOPPED && phase != proto::SHARD_SEALED) {
          continue;
        }
        stopped.insert(i);
        for (size_t other = 0; other < setup.servers; ++other) {
          EXPECT_FALSE(network().MayLand(i + 1, other + 1))
              << "seed " << seed << ", from server " << i + 1 << " to "
              << other + 1;
        }
      }
    }
    EXPECT_GT(ReportOf(0).epoch(), epoch);
    EXPECT_EQ(stopped.size(), setup.servers);
  }
}

// Some of its segments are gone, others not. It dies once more when a part of
// the new copy is there: what is left of the old log is no end of that.
TEST_F(ChangeTest, WhoDiesGivingBackADamagedLogBeginsAnew) {
  ClusterSetup setup;
  setup.shards = 1;
  setup.segment_bytes = 32 << 10;
  setup.segment_slots = 64;
  setup.lease_us = 100'000;
  constexpr size_t kVictim = 2;
  for (uint64_t run = 0; run < 24 * 8; ++run) {
    const uint64_t effects = 1 + run % 24;
    const uint64_t more = 8 + 8 * (run / 24);
    SCOPED_TRACE(testing::Message() << effects << " and " << more);
    Form(effects, setup);
    for (int i = 0; i < 40; ++i) {
      ASSERT_TRUE(Put("key" + std::to_string(i), std::string(5000, 'v')).ok());
    }
    Run(kSecond);
    // What rots must be older than the epoch.
    cluster_->CrashServer(kVictim, false);
    Run(20 * kMillisecond);
    cluster_->StartServer(kVictim);
    Run(3 * kSecond);
    ASSERT_TRUE(cluster_->IsWhole());
    ServerNode& victim = cluster_->server(kVictim);
    const auto place = victim.PlaceToRot();
    ASSERT_TRUE(place.has_value());
    victim.Crash(false);
    victim.memory()->Rot(*place, *place + 1, world_->random());
    Run(kSecond);
    cluster_->StartServer(kVictim);
    while (ReportOf(kVictim).epoch() == 0) {
      ASSERT_TRUE(world_->RunOne(world_->now_ns() + kSecond));
    }
    EXPECT_TRUE(ReportOf(kVictim).damaged());
    for (const uint64_t after : {effects, more}) {
      bool died = false;
      cluster_->CrashServerAfter(kVictim, after, false, [&] { died = true; });
      Run(kSecond);
      EXPECT_TRUE(died);
      cluster_->StartServer(kVictim);
    }
    Run(5 * kSecond);
    EXPECT_TRUE(cluster_->IsWhole());
    EXPECT_EQ(cluster_->Failure(), "");
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(Get("key" + std::to_string(i), kVictim + 1).value(),
                std::string(5000, 'v'));
    }
  }
}

}  // namespace
}  // namespace whale::sim

// A change in which something fails at every step: whatever it is and whenever
// it comes, the shard serves again afterwards, and FakeCluster's checks hold.

#include <string>

#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::IsEmpty;

struct Fault {
  std::string name;
  void (*strike)(FakeCluster&);
};

const Fault kFaults[] = {
    {"FirstServerRestarts", [](FakeCluster& c) { c.Restart(1); }},
    {"SecondServerRestarts", [](FakeCluster& c) { c.Restart(2); }},
    {"ThirdServerRestarts", [](FakeCluster& c) { c.Restart(3); }},
    {"TwoServersRestart",
     [](FakeCluster& c) {
       c.Kill(1);
       c.Kill(3);
       c.Start(3);
       c.Start(1);
     }},
    {"CoordinatorRestarts", [](FakeCluster& c) { c.RestartCoordinator(); }},
    {"CoordinatorAndServerRestart",
     [](FakeCluster& c) {
       c.Kill(2);
       c.RestartCoordinator();
       c.Start(2);
     }},
    {"EverythingRestarts",
     [](FakeCluster& c) {
       for (uint32_t id = 1; id <= 3; ++id) c.Kill(id);
       c.RestartCoordinator();
       for (uint32_t id = 1; id <= 3; ++id) c.Start(id);
     }},
    {"ServerIsAwayForAWhile",
     [](FakeCluster& c) {
       c.Kill(1);
       c.Settle();
       c.Rounds(3);
       c.Start(1);
     }},
    {"ConnectionDies",
     [](FakeCluster& c) {
       c.server(1).base.add_dead_peers(2);
       c.Say(1);
       c.server(1).base.clear_dead_peers();
     }},
    {"ReportsAreLostForAWhile",
     [](FakeCluster& c) {
       c.lost_reports = {1, 2, 3};
       c.Settle();
       c.lost_reports.clear();
     }},
    {"MessagesComeTwice", [](FakeCluster& c) { c.duplicate_messages = true; }},
    {"StoreFailsForAWhile",
     [](FakeCluster& c) {
       c.store_answer = absl::UnavailableError("disk full");
       c.Settle();
       c.Rounds(2);
       c.store_answer = absl::OkStatus();
     }},
    {"ServerIsSilentForAWhile",
     [](FakeCluster& c) {
       c.lost_reports = {2};
       c.Rounds(10);
       c.lost_reports.clear();
     }},
};

class FaultInEveryStep : public ::testing::TestWithParam<Fault> {};

ClusterOptions TwoShards() {
  ClusterOptions options;
  options.shard_count = 2;
  return options;
}

void ExpectServesAgain(FakeCluster& cluster, int step) {
  cluster.Settle();
  cluster.Rounds(20);  // 6 s: longer than leases and pauses
  EXPECT_TRUE(cluster.AllActive())
      << "step " << step << ": "
      << cluster.core().Status(cluster.now_ns).ShortDebugString();
  EXPECT_THAT(cluster.Violations(), IsEmpty()) << "step " << step;
}

TEST_P(FaultInEveryStep, OfAFormation) {
  bool over = false;
  for (int step = 0; !over; ++step) {
    FakeCluster cluster(TwoShards());
    for (uint32_t id = 1; id <= 3; ++id) cluster.AddServer(id);
    for (int i = 0; i < step; ++i) over |= !cluster.Step();
    GetParam().strike(cluster);
    ExpectServesAgain(cluster, step);
    for (int s = 0; s < 2; ++s) {
      EXPECT_GE(cluster.stored_shard(s).committed(), kTestSegmentBytes);
    }
  }
}

TEST_P(FaultInEveryStep, OfAChange) {
  bool over = false;
  for (int step = 0; !over; ++step) {
    FakeCluster cluster(TwoShards());
    cluster.Form();
    const uint64_t committed = kTestSegmentBytes + 4096;
    for (uint32_t id = 1; id <= 3; ++id) {
      cluster.server(id).Append(0, 4096, committed);
    }
    cluster.server(1).Append(0, 1024, committed);
    cluster.Restart(2);
    for (int i = 0; i < step; ++i) over |= !cluster.Step();
    GetParam().strike(cluster);
    ExpectServesAgain(cluster, step);
    EXPECT_GE(cluster.stored_shard(0).epoch(), 2u);
    // What was committed is committed, and nothing that server 1 has is lost.
    EXPECT_GE(cluster.stored_shard(0).committed(), committed);
    EXPECT_EQ(cluster.stored_shard(0).start(), committed + 1024);
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, FaultInEveryStep, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return info.param.name; });

// Server 2 holds up the activation until the others would go on without it;
// just then they cannot, since server 3 dies and its lease is not over. By when
// it is, server 2 has gone on, has a lease, and keeps it.
TEST(ActivationHeldUp, ByOneWhileAnotherDies) {
  for (int deaf = 1; deaf <= 30; ++deaf) {
    SCOPED_TRACE(testing::Message() << "deaf for " << deaf << " ticks");
    ClusterOptions options;
    options.shard_count = 1;
    options.min_replicas = 1;
    FakeCluster cluster(options);
    cluster.Form();
    cluster.Restart(1);
    while (cluster.directive(2, 0).step() != proto::STEP_ACTIVATE ||
           cluster.directive(2, 0).epoch() == 1) {
      ASSERT_TRUE(cluster.Step());
    }
    const auto tick = [&cluster] {
      cluster.Advance(100 * kMs);
      for (uint32_t id = 1; id <= 3; ++id) {
        if (cluster.server(id).alive) cluster.Say(id);
      }
      cluster.Settle();
    };
    cluster.server(2).deaf = true;
    for (int i = 0; i < deaf; ++i) tick();
    cluster.Kill(3);
    for (int i = 0; i < 3; ++i) tick();
    cluster.server(2).deaf = false;
    tick();
    cluster.Start(3);
    ExpectServesAgain(cluster, deaf);
  }
}

// Two different faults, the second a few steps after the first.
TEST(FaultOnFault, AnyTwoInAChange) {
  for (const Fault& first : kFaults) {
    for (const Fault& second : kFaults) {
      for (int gap = 0; gap < 24; gap += 8) {
        FakeCluster cluster(TwoShards());
        cluster.Form();
        cluster.Restart(2);
        for (int i = 0; i < 6; ++i) cluster.Step();
        first.strike(cluster);
        for (int i = 0; i < gap; ++i) cluster.Step();
        second.strike(cluster);
        SCOPED_TRACE(first.name + " then " + second.name);
        ExpectServesAgain(cluster, gap);
      }
    }
  }
}

}  // namespace
}  // namespace whale::control

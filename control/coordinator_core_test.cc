// Scenarios of protocol section 8 against the coordinator's core.

#include "control/coordinator_core.h"

#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kFirst = kTestSegmentBytes;

ClusterOptions ThreeByOne() {
  ClusterOptions options;
  options.shard_count = 1;
  return options;
}

ClusterOptions ThreeByThree() {
  ClusterOptions options;
  options.shard_count = 3;
  return options;
}

// ---------------------------------------------------------------- formation

TEST(Formation, WaitsForAllServersThenServesInEpochOne) {
  FakeCluster cluster(ThreeByThree());
  cluster.AddServer(1);
  cluster.AddServer(2);
  cluster.Settle();
  EXPECT_FALSE(cluster.formed());
  EXPECT_THAT(cluster.core().Status(cluster.now_ns).warnings(0),
              HasSubstr("server 3 has not registered yet"));
  cluster.AddServer(3);
  cluster.Settle();
  EXPECT_TRUE(cluster.formed());
  EXPECT_TRUE(cluster.AllActive());
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(cluster.stored_shard(s).epoch(), 1u);
    EXPECT_EQ(cluster.stored_shard(s).start(), kFirst);
    EXPECT_EQ(cluster.stored_shard(s).committed(), kFirst);
  }
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Formation, SpreadsPrimariesOrPutsThemOnOneServer) {
  FakeCluster spread(ThreeByThree());
  spread.Form();
  EXPECT_THAT(spread.stored_shard(0).members(), ElementsAre(1, 2, 3));
  EXPECT_THAT(spread.stored_shard(1).members(), ElementsAre(2, 3, 1));
  EXPECT_THAT(spread.stored_shard(2).members(), ElementsAre(3, 1, 2));

  ClusterOptions options = ThreeByThree();
  options.primaries_on = 2;
  FakeCluster together(options);
  together.Form();
  for (int s = 0; s < 3; ++s) {
    EXPECT_THAT(together.stored_shard(s).members(), ElementsAre(2, 3, 1));
  }
}

TEST(Formation, PolicyComesFromOptionsAndFabric) {
  ClusterOptions options = ThreeByOne();
  options.mirrors = 7;
  FakeCluster cluster(options);
  cluster.Form();
  const proto::Policy& policy = cluster.stored_shard(0).policy();
  EXPECT_EQ(policy.mirrors(), 2u);  // clamped to n - 1
  EXPECT_EQ(policy.by_value_max_bytes(), 4096u);
  EXPECT_EQ(policy.window_bytes(), 64u << 20);
  EXPECT_EQ(policy.lease_us(), 2'000'000u);
  EXPECT_EQ(policy.min_replicas(), 2u);
  EXPECT_EQ(cluster.stored().longest_lease_us(), 2'000'000u);
}

TEST(Formation, OneServerIsAClusterToo) {
  ClusterOptions options = ThreeByOne();
  options.replicas = 1;
  FakeCluster cluster(options);
  cluster.Form();
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).policy().min_replicas(), 1u);
  EXPECT_EQ(cluster.stored_shard(0).policy().mirrors(), 0u);
}

TEST(Formation, PoolsThatDoNotFitTogetherWait) {
  FakeCluster cluster(ThreeByOne());
  cluster.AddServer(1);
  cluster.AddServer(2).base.set_ring_slots(128);
  cluster.Say(2);
  cluster.Settle();
  cluster.AddServer(3);
  cluster.Settle();
  EXPECT_FALSE(cluster.formed());
  EXPECT_THAT(cluster.core().Status(cluster.now_ns).warnings(0),
              HasSubstr("servers 1 and 2 have pools with rings of different "
                        "size (64 and 128 slots)"));
  cluster.server(2).base.set_ring_slots(64);
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
}

// ------------------------------------------------------------------ restarts

TEST(Restart, OfOneProcessIsAChangeWithTheSameMembers) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (uint32_t id = 1; id <= 3; ++id) {
    cluster.server(id).Append(0, 4096, kFirst + 1024);
  }
  cluster.Restart(2);
  cluster.Settle();
  cluster.Rounds(2);
  EXPECT_TRUE(cluster.AllActive());
  const proto::StoredShard& shard = cluster.stored_shard(0);
  EXPECT_EQ(shard.epoch(), 2u);
  EXPECT_THAT(shard.members(), ElementsAre(1, 2, 3));
  EXPECT_EQ(shard.committed(), kFirst + 4096);
  EXPECT_EQ(shard.start(), kFirst + 4096);
  ASSERT_EQ(shard.history_size(), 2);
  EXPECT_EQ(shard.history(1).start(), kFirst + 4096);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Restart, OfEverythingGoesOnFromThePools) {
  FakeCluster cluster(ThreeByThree());
  cluster.Form();
  cluster.server(1).Append(0, 8192, kFirst);
  cluster.server(2).Append(0, 4096, kFirst);
  cluster.server(3).Append(0, 4096, kFirst);
  for (uint32_t id = 1; id <= 3; ++id) cluster.Kill(id);
  cluster.Settle();
  cluster.RestartCoordinator();
  cluster.Start(1);
  cluster.Start(3);
  cluster.Settle();
  EXPECT_FALSE(cluster.AllActive());
  EXPECT_THAT(cluster.entry(0).why_not(), HasSubstr("server 2"));
  cluster.Start(2);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  // The old primary has all: its end is the cut, what all have is committed.
  EXPECT_EQ(cluster.stored_shard(0).committed(), kFirst + 4096);
  EXPECT_EQ(cluster.stored_shard(0).start(), kFirst + 8192);
  EXPECT_EQ(cluster.stored_shard(0).members(0), 1u);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Restart, OfTheCoordinatorAloneChangesNothing) {
  FakeCluster cluster(ThreeByThree());
  cluster.Form();
  const uint64_t version = cluster.core().map().version();
  cluster.RestartCoordinator();
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
  for (int s = 0; s < 3; ++s) EXPECT_EQ(cluster.stored_shard(s).epoch(), 1u);
  EXPECT_EQ(cluster.stored().leader_term(), 2u);
  EXPECT_GT(cluster.core().map().version(), version);
  EXPECT_NE(cluster.directive(1).lease_us(), 0u);
}

TEST(Restart, CutCountsWhatIsAnnouncedOnlyAtTheEndOfTheEpoch) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (uint32_t id : {1, 2, 3}) cluster.server(id).Deliver(0, 2048);
  cluster.server(1).Deliver(0, 1024);
  cluster.Restart(3);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).committed(), kFirst + 2048);
  EXPECT_EQ(cluster.stored_shard(0).start(), kFirst + 3072);
}

TEST(Restart, InTheMiddleOfAChangeStartsAgainWithTheNextEpoch) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).deaf = true;  // holds the change up
  cluster.Restart(3);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).reserved_epoch(), 2u);
  cluster.Restart(1);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).reserved_epoch(), 3u);
  cluster.server(2).deaf = false;
  cluster.Rounds(3);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 3u);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Away, ShardStaysAsItIsWhileTheLeaseLasts) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Kill(3);
  cluster.Settle();
  cluster.Rounds(5);  // 1.5 s; the lease is 2 s
  EXPECT_FALSE(cluster.AllActive());
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("server 3 is away; the shard goes on when it returns "
                        "or its lease is over"));
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  EXPECT_EQ(cluster.directive(1, 0).step(), proto::STEP_ACTIVATE);
  cluster.Start(3);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 2, 3));
}

TEST(Away, ServerWhoseDataThreadsStandStillHangs) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (int i = 0; i < 10; ++i) {
    cluster.Advance(300 * kMs);
    for (uint32_t id : {1, 2, 3}) {
      if (id == 2) {
        auto& progress = cluster.server(2).base;
        progress.set_data_progress(progress.data_progress() - 1);
      }
      cluster.Say(id);
    }
    cluster.Settle();
  }
  EXPECT_THAT(cluster.entry(0).why_not(), HasSubstr("server 2 hangs"));
  EXPECT_EQ(cluster.directive(2).lease_us(), 0u);
  EXPECT_NE(cluster.directive(1).lease_us(), 0u);
}

TEST(Away, LeavingServerIsShuttingDown) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).base.set_leaving(true);
  cluster.Say(2);
  cluster.Settle();
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("server 2 is shutting down"));
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
}

// -------------------------------------------------------------------- hints

TEST(Hints, DeadConnectionBetweenLivePeersLeadsToANewEpoch) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(1).base.add_dead_peers(3);
  cluster.Say(1);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  EXPECT_TRUE(cluster.AllActive());
  // The same hint, still given, is not acted upon at once again.
  cluster.Say(1);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  // But if it goes on.
  cluster.Rounds(4);
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 3u);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Hints, AboutAServerThatIsAwayChangesNothing) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Kill(3);
  cluster.Settle();
  cluster.server(1).base.add_dead_peers(3);
  cluster.Say(1);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  EXPECT_EQ(cluster.stored_shard(0).reserved_epoch(), 0u);
}

// --------------------------------------------------------------------- stop

TEST(Stop, LiveMemberThatDoesNotAcknowledgeIsRevokedByTheOthers) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).deaf = true;
  cluster.Restart(3);
  cluster.Settle();
  EXPECT_EQ(cluster.directive(1, 0).step(), proto::STEP_STOP);
  EXPECT_EQ(cluster.directive(1, 0).epoch(), 2u);
  cluster.Advance(600 * kMs);
  cluster.Settle();
  EXPECT_EQ(cluster.directive(1, 0).step(), proto::STEP_SEAL);
  EXPECT_THAT(cluster.directive(1, 0).revoke(), ElementsAre(2));
  EXPECT_THAT(cluster.entry(0).why_not(), HasSubstr("waits for server 2"));
  cluster.server(2).deaf = false;
  cluster.Rounds(1);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
}

TEST(Stop, RestartedProcessNeedsNoRevocation) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Restart(3);
  while (cluster.directive(1, 0).step() != proto::STEP_SEAL) {
    ASSERT_TRUE(cluster.Step());
  }
  EXPECT_THAT(cluster.directive(1, 0).revoke(), IsEmpty());
  EXPECT_THAT(cluster.directive(1, 0).members(), ElementsAre(1, 2, 3));
}

// ------------------------------------------------------------------- damage

TEST(Damage, DamagedMemberIsLeftOutAndFilledAgain) {
  FakeCluster cluster(ThreeByThree());
  cluster.Form();
  cluster.server(2).shard(1).set_damaged(true);
  cluster.server(2).shard(1).set_damage("segment 4 fails its checksum");
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_THAT(cluster.stored_shard(1).members(), ElementsAre(3, 1));
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 2, 3));
  EXPECT_TRUE(cluster.entry(0).active());
  cluster.Rounds(10);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_THAT(cluster.stored_shard(1).members(),
              testing::UnorderedElementsAre(1, 2, 3));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Damage, TooFewUndamagedMembersMakeTheShardWait) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (const uint32_t id : {2, 3}) {
    cluster.server(id).shard(0).set_damaged(true);
    cluster.server(id).shard(0).set_damage("segment 4 fails its checksum");
    cluster.Restart(id);
  }
  cluster.Rounds(20);
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("server 2 is damaged: segment 4 fails its checksum"));
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("only 1 of the replicas are whole, and 2 are needed"));
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  // A pool is put back from a good copy.
  cluster.server(2).shard(0).set_damaged(false);
  cluster.Restart(2);
  cluster.Rounds(10);
  EXPECT_TRUE(cluster.AllActive());
}

TEST(Damage, IncompleteMemberIsLeftOut) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (uint32_t id = 1; id <= 3; ++id) {
    cluster.server(id).Append(0, 4096, kFirst + 4096);
  }
  cluster.server(3).shard(0).set_announced(kFirst + 1024);
  cluster.server(3).shard(0).set_committed(0);
  cluster.Restart(3);
  cluster.Settle();
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 2));
  EXPECT_EQ(cluster.stored_shard(0).committed(), kFirst + 4096);
}

TEST(Damage, OtherPoolThanTheClusterKnewWaits) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  const std::string old = cluster.server(2).base.pool_uuid();
  cluster.server(2).base.set_pool_uuid(std::string(16, 'x'));
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("server 2 came with another pool"));
  EXPECT_EQ(cluster.stored_shard(0).reserved_epoch(), 0u);
  cluster.server(2).base.set_pool_uuid(old);
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
}

TEST(Damage, OtherPoolIsTakenOnceNobodyCountsOnTheOldOne) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).base.set_pool_uuid(std::string(16, 'x'));
  cluster.Restart(2);
  cluster.Rounds(10);
  EXPECT_EQ(cluster.stored().servers(1).pool_uuid(), std::string(16, 'x'));
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 3, 2));
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

// ------------------------------------------------------------------ failover

TEST(Failover, TheOthersGoOnWhenTheLeaseIsOver) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  for (uint32_t id = 1; id <= 3; ++id) {
    cluster.server(id).Append(0, 4096, kFirst + 1024);
  }
  cluster.Kill(1);
  cluster.Rounds(8);
  EXPECT_TRUE(cluster.AllActive());
  const proto::StoredShard& shard = cluster.stored_shard(0);
  EXPECT_EQ(shard.epoch(), 2u);
  EXPECT_THAT(shard.members(), ElementsAre(2, 3));
  EXPECT_EQ(shard.committed(), kFirst + 4096);
  EXPECT_THAT(cluster.core().Status(cluster.now_ns).warnings(),
              testing::Contains(HasSubstr("2 of 3 replicas")));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Failover, WhoIsLeftOutIsRevoked) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.lost_reports = {1};
  while (cluster.directive(2, 0).step() != proto::STEP_SEAL) {
    if (cluster.Step()) continue;
    cluster.Advance(300 * kMs);
    cluster.Say(2);
    cluster.Say(3);
    ASSERT_LT(cluster.now_ns, 10'000 * kMs);
  }
  EXPECT_THAT(cluster.directive(2, 0).revoke(), ElementsAre(1));
  EXPECT_THAT(cluster.directive(2, 0).members(), ElementsAre(2, 3));
  // Nobody lets it in again before it has ended its epoch.
  for (const proto::Peer& peer : cluster.directive(2).peers()) {
    EXPECT_NE(peer.server_id(), 1u);
  }
}

TEST(Failover, WhoReturnsIsTakenInAsTheLastOne) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.lost_reports = {1};  // it does not know that it is silent
  cluster.Rounds(10);
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(2, 3));
  cluster.lost_reports.clear();
  cluster.Say(1);
  cluster.Settle();
  EXPECT_EQ(cluster.server(1).shard(0).ended_epoch(),
            cluster.stored_shard(0).epoch());
  cluster.Rounds(10);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(2, 3, 1));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Failover, TooFewServersWaitAndSaySo) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Kill(1);
  cluster.Kill(2);
  cluster.Rounds(20);
  EXPECT_FALSE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  EXPECT_THAT(cluster.entry(0).why_not(),
              HasSubstr("server 1 is away, server 2 is away; the shard needs 2 "
                        "replicas to go on and has 1"));
  cluster.Start(2);
  cluster.Rounds(2);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(2, 3));
}

TEST(Failover, ServerThatDoesNotDoWhatItIsToldIsLeftOut) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).deaf = true;
  cluster.Restart(3);
  cluster.Rounds(20);
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 3));
  EXPECT_TRUE(cluster.AllActive());
  cluster.server(2).deaf = false;
  cluster.Rounds(20);
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 3, 2));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(Failover, NewCoordinatorGivesServersTimeToComeBackToIt) {
  ClusterOptions options = ThreeByOne();
  options.lease_us = 1'000'000;
  FakeCluster cluster(options);
  cluster.Form();
  cluster.lost_reports = {3};
  cluster.RestartCoordinator();
  cluster.Rounds(5);
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  cluster.Rounds(5);
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(1, 2));
}

TEST(Failover, PrimariesAreSpreadEvenlyAgain) {
  FakeCluster cluster(ThreeByThree());
  cluster.Form();
  cluster.Kill(1);
  cluster.Rounds(10);
  cluster.Start(1);
  cluster.Rounds(40);
  EXPECT_TRUE(cluster.AllActive());
  std::set<uint32_t> primaries;
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(cluster.stored_shard(s).members_size(), 3);
    primaries.insert(cluster.stored_shard(s).members(0));
  }
  EXPECT_THAT(primaries, ElementsAre(1, 2, 3));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

// ------------------------------------------------------------------- leases

TEST(LeaseGrants, EchoTheReportAndNeverComeWithActivation) {
  FakeCluster cluster(ThreeByOne());
  for (uint32_t id = 1; id <= 3; ++id) cluster.AddServer(id);
  bool activated = false;
  while (cluster.Step()) {
    const proto::Directive& directive = cluster.directive(1);
    if (cluster.directive(1, 0).step() == proto::STEP_ACTIVATE && !activated) {
      activated = true;
      EXPECT_EQ(directive.lease_us(), 0u);
    }
  }
  EXPECT_TRUE(activated);
  cluster.Rounds(1);
  EXPECT_EQ(cluster.directive(1).lease_us(), 2'000'000u);
  EXPECT_EQ(cluster.directive(1).lease_for_sequence(),
            cluster.server(1).base.sequence());
}

TEST(LeaseGrants, NoneWhileAChangeIsUnderWay) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.server(2).deaf = true;
  cluster.Restart(3);
  cluster.Rounds(1);
  EXPECT_EQ(cluster.stored_shard(0).reserved_epoch(), 2u);
  EXPECT_EQ(cluster.directive(1).lease_us(), 0u);
  EXPECT_EQ(cluster.directive(2).lease_us(), 0u);
}

TEST(LeaseGrants, NoneAfterTheLeadershipIsLost) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.core().OnLeadership(cluster.now_ns + 500 * kMs);
  cluster.Say(1);
  cluster.Settle();
  EXPECT_GT(cluster.directive(1).lease_us(), 0u);
  EXPECT_LT(cluster.directive(1).lease_us(), 500'000u);
  cluster.Advance(500 * kMs);
  cluster.Say(1);
  cluster.Settle();
  EXPECT_EQ(cluster.directive(1).lease_us(), 0u);
}

TEST(Leader, TellsNothingBeforeItsTermIsStored) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  const uint64_t granted = cluster.server(1).lease_until_sequence;
  cluster.store_answer = absl::UnavailableError("disk full");
  cluster.RestartCoordinator();
  cluster.Rounds(3);
  EXPECT_EQ(cluster.server(1).lease_until_sequence, granted);
  EXPECT_EQ(cluster.core().map().version(), 0u);
  EXPECT_THAT(cluster.core().Status(cluster.now_ns).warnings(),
              testing::Contains(HasSubstr("disk full")));
  cluster.store_answer = absl::OkStatus();
  cluster.Rounds(3);
  EXPECT_GT(cluster.server(1).lease_until_sequence, granted);
  EXPECT_TRUE(cluster.AllActive());
}

TEST(Leader, ResignsWhenSomebodyElseHasWritten) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.store_answer = absl::AbortedError("revision 9");
  cluster.Restart(2);
  cluster.Settle();
  EXPECT_THAT(cluster.core().resigned(), HasSubstr("revision 9"));
  const uint64_t granted = cluster.server(1).lease_until_sequence;
  cluster.Rounds(3);
  EXPECT_EQ(cluster.server(1).lease_until_sequence, granted);
  Effects effects;
  EXPECT_EQ(cluster.core().OpenSession(1, cluster.now_ns, &effects).code(),
            absl::StatusCode::kUnavailable);
}

// ------------------------------------------------------------------ sessions

TEST(Sessions, AreNeverIssuedTwice) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  const auto open = [&](int count) {
    for (int i = 0; i < count; ++i) {
      Effects effects;
      ASSERT_TRUE(cluster.core().OpenSession(i, cluster.now_ns, &effects).ok());
      cluster.Execute(std::move(effects));
    }
    cluster.Settle();
  };
  open(1500);
  EXPECT_EQ(cluster.sessions.size(), 1500u);
  cluster.RestartCoordinator();
  cluster.Settle();
  open(10);
  EXPECT_EQ(cluster.sessions.size(), 1510u);
  const std::set<uint64_t> distinct(cluster.sessions.begin(),
                                    cluster.sessions.end());
  EXPECT_EQ(distinct.size(), 1510u);
  EXPECT_EQ(distinct.count(0), 0u);
}

TEST(Sessions, NeedACluster) {
  FakeCluster cluster(ThreeByOne());
  Effects effects;
  const absl::Status status =
      cluster.core().OpenSession(1, cluster.now_ns, &effects);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not formed yet"));
}

// -------------------------------------------------------------------- policy

TEST(SetPolicy, IsANewConfigurationWithTheSameMembers) {
  FakeCluster cluster(ThreeByThree());
  cluster.Form();
  proto::SetPolicyRequest request;
  request.mutable_policy()->set_mirrors(2);
  request.mutable_policy()->set_by_value_max_bytes(0);
  request.mutable_policy()->set_lease_us(5'000'000);
  request.add_shards(1);
  Effects effects;
  ASSERT_TRUE(cluster.core().SetPolicy(request, cluster.now_ns, &effects).ok());
  cluster.Execute(std::move(effects));
  EXPECT_THAT(cluster.core().PolicyPending(), Not(IsEmpty()));
  cluster.Settle();
  EXPECT_THAT(cluster.core().PolicyPending(), IsEmpty());
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  EXPECT_EQ(cluster.stored_shard(1).epoch(), 2u);
  EXPECT_EQ(cluster.stored_shard(1).policy().mirrors(), 2u);
  EXPECT_EQ(cluster.stored_shard(1).policy().by_value_max_bytes(), 0u);
  // Zero makes no sense for a window: it stays.
  EXPECT_EQ(cluster.stored_shard(1).policy().window_bytes(), 64u << 20);
  EXPECT_EQ(cluster.stored().longest_lease_us(), 5'000'000u);
  EXPECT_EQ(cluster.stored().policy().mirrors(), 1u);
}

TEST(SetPolicy, WithFewerAskedForTheShardGoesOn) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Kill(1);
  cluster.Kill(2);
  cluster.Rounds(8);
  EXPECT_FALSE(cluster.AllActive());
  proto::SetPolicyRequest request;
  request.mutable_policy()->set_min_replicas(1);
  Effects effects;
  ASSERT_TRUE(cluster.core().SetPolicy(request, cluster.now_ns, &effects).ok());
  cluster.Execute(std::move(effects));
  cluster.Rounds(8);
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_THAT(cluster.stored_shard(0).members(), ElementsAre(3));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(SetPolicy, SurvivesTheCoordinator) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  cluster.Kill(2);
  cluster.Settle();
  proto::SetPolicyRequest request;
  request.mutable_policy()->set_mirrors(0);
  Effects effects;
  ASSERT_TRUE(cluster.core().SetPolicy(request, cluster.now_ns, &effects).ok());
  cluster.Execute(std::move(effects));
  cluster.Settle();
  EXPECT_THAT(cluster.core().PolicyPending(), HasSubstr("server 2 is away"));
  cluster.RestartCoordinator();
  cluster.Start(2);
  cluster.Settle();
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).policy().mirrors(), 0u);
}

TEST(SetPolicy, NonsenseIsRefusedAndChangesNothing) {
  FakeCluster cluster(ThreeByOne());
  cluster.Form();
  const std::string before = cluster.stored().SerializeAsString();
  const auto refused = [&](proto::SetPolicyRequest request) {
    Effects effects;
    const absl::Status status =
        cluster.core().SetPolicy(request, cluster.now_ns, &effects);
    cluster.Execute(std::move(effects));
    cluster.Settle();
    EXPECT_EQ(cluster.stored().SerializeAsString(), before);
    return std::string(status.message());
  };
  proto::SetPolicyRequest mirrors;
  mirrors.mutable_policy()->set_mirrors(3);
  EXPECT_THAT(refused(mirrors), HasSubstr("mirrors is 3"));
  proto::SetPolicyRequest lease;
  lease.mutable_policy()->set_lease_us(1);
  EXPECT_THAT(refused(lease), HasSubstr("lease is 1 us"));
  proto::SetPolicyRequest shard;
  shard.add_shards(5);
  EXPECT_THAT(refused(shard), HasSubstr("there is no shard 5"));
}

}  // namespace
}  // namespace whale::control

// Operators' requests: what is refused, and what the cluster makes of the rest,
// one message at a time.

#include "control/plans.h"

#include <algorithm>
#include <string>
#include <vector>

#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

ClusterOptions Shards(uint32_t count) {
  ClusterOptions options;
  options.shard_count = count;
  return options;
}

proto::ServerRequest Server(uint32_t id) {
  proto::ServerRequest request;
  request.set_server_id(id);
  return request;
}

proto::ReplaceServerRequest Replace(uint32_t id, uint32_t by) {
  proto::ReplaceServerRequest request;
  request.set_server_id(id);
  request.set_by_server_id(by);
  return request;
}

proto::MoveShardRequest MoveOf(uint32_t shard, uint32_t from, uint32_t to) {
  proto::MoveShardRequest request;
  request.set_shard(shard);
  request.set_from_server_id(from);
  request.set_to_server_id(to);
  return request;
}

class Plans : public ::testing::Test {
 protected:
  explicit Plans(uint32_t shards = 3) : cluster_(Shards(shards)) {
    cluster_.Form();
  }

  template <typename Request>
  absl::StatusOr<std::string> Ask(
      absl::StatusOr<std::string> (*plan)(const Request&, proto::StoredState*),
      const Request& request) {
    Effects effects;
    auto answer = cluster_.core().Change(
        [&](proto::StoredState* state) { return plan(request, state); },
        cluster_.now_ns, &effects);
    cluster_.Execute(std::move(effects));
    cluster_.Settle();
    return answer;
  }
  template <typename Request>
  void ExpectDone(absl::StatusOr<std::string> (*plan)(const Request&,
                                                      proto::StoredState*),
                  const Request& request) {
    const auto answer = Ask(plan, request);
    EXPECT_TRUE(answer.ok()) << answer.status();
  }
  // Refused for a reason, and nothing is changed.
  template <typename Request>
  void ExpectRefused(absl::StatusOr<std::string> (*plan)(const Request&,
                                                         proto::StoredState*),
                     const Request& request, absl::StatusCode code,
                     const std::string& why) {
    const std::string before = cluster_.stored().servers(0).DebugString() +
                               PlacedText() + std::to_string(ServerCount());
    const auto answer = Ask(plan, request);
    EXPECT_EQ(answer.status().code(), code);
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr(why));
    EXPECT_EQ(cluster_.stored().servers(0).DebugString() + PlacedText() +
                  std::to_string(ServerCount()),
              before);
  }

  std::vector<uint32_t> Members(int shard) {
    const auto& members = cluster_.stored_shard(shard).members();
    return {members.begin(), members.end()};
  }
  std::string PlacedText() {
    std::string text;
    for (const proto::StoredShard& shard : cluster_.stored().shards()) {
      for (const uint32_t server : shard.placed()) {
        text += std::to_string(server) + ",";
      }
    }
    return text;
  }
  int ServerCount() { return cluster_.stored().servers_size(); }
  bool Holds(int shard, uint32_t server) {
    const auto members = Members(shard);
    return std::count(members.begin(), members.end(), server) > 0;
  }
  int Replicas(uint32_t server) {
    int replicas = 0;
    for (int s = 0; s < cluster_.stored().shards_size(); ++s) {
      replicas += Holds(s, server);
    }
    return replicas;
  }
  proto::ClusterStatus Status() {
    return cluster_.core().Status(cluster_.now_ns);
  }
  // Time passes; every step of what was asked is checked.
  void Carry() {
    for (int round = 0; round < 60; ++round) {
      cluster_.Rounds(1);
      for (int s = 0; s < cluster_.stored().shards_size(); ++s) {
        EXPECT_GE(Members(s).size(), 3u) << "a replica went too early";
      }
    }
    EXPECT_THAT(Status().moves(), IsEmpty());
    EXPECT_THAT(Status().removing(), IsEmpty());
    EXPECT_TRUE(cluster_.AllActive());
    EXPECT_THAT(cluster_.Violations(), IsEmpty());
  }

  FakeCluster cluster_;
};

class SixShards : public Plans {
 protected:
  SixShards() : Plans(6) {}
};

TEST_F(Plans, ServerThatWasNotAddedIsRefusedWithTheCure) {
  cluster_.AddServer(4);
  cluster_.Settle();
  EXPECT_THAT(cluster_.server(4).refused, HasSubstr("whale admin add-server"));
}

TEST_F(SixShards, AddedServerTakesItsShare) {
  ExpectDone(PlanAddServer, Server(4));
  EXPECT_THAT(Status().moves(), Not(IsEmpty()));
  EXPECT_THAT(Status().moves(0).waits_for(),
              HasSubstr("server 4 has not registered"));
  cluster_.AddServer(4);
  Carry();
  // 18 replicas on 4 servers.
  for (uint32_t id = 1; id <= 4; ++id) {
    EXPECT_GE(Replicas(id), 4);
    EXPECT_LE(Replicas(id), 5);
  }
  // What has moved away is given back, and the rest is as it was.
  int absent = 0;
  for (uint32_t id = 1; id <= 3; ++id) {
    for (uint32_t s = 0; s < 6; ++s) {
      absent += cluster_.server(id).shard(s).phase() == proto::SHARD_ABSENT;
    }
  }
  EXPECT_EQ(absent, Replicas(4));
  const auto again = Ask(PlanAddServer, Server(4));
  EXPECT_EQ(*again, "server 4 is in the cluster");
}

TEST_F(Plans, ReplicaComesBeforeTheOtherGoes) {
  ExpectDone(PlanAddServer, Server(4));
  cluster_.AddServer(4);
  Carry();
  const uint32_t from = Members(0).front();
  uint32_t to = 1;
  while (Holds(0, to)) ++to;
  bool both = false;
  const auto ask = [&] {
    Effects effects;
    EXPECT_TRUE(cluster_.core()
                    .Change(
                        [&](proto::StoredState* state) {
                          return PlanMoveShard(MoveOf(0, from, to), state);
                        },
                        cluster_.now_ns, &effects)
                    .ok());
    cluster_.Execute(std::move(effects));
    while (cluster_.Step()) both |= Members(0).size() == 4;
  };
  ask();
  ask();  // again
  for (int i = 0; i < 30; ++i) {
    cluster_.Advance(300 * kMs);
    for (uint32_t id = 1; id <= 4; ++id) cluster_.Say(id);
    while (cluster_.Step()) both |= Members(0).size() == 4;
  }
  EXPECT_TRUE(both);
  EXPECT_THAT(Members(0), SizeIs(3));
  EXPECT_TRUE(Holds(0, to));
  EXPECT_FALSE(Holds(0, from));
  Carry();
}

TEST_F(Plans, ReplacedServerLeavesTheClusterAndIsToldSo) {
  ExpectDone(PlanReplaceServer, Replace(2, 5));
  cluster_.AddServer(5);
  Carry();
  for (int s = 0; s < 3; ++s) {
    EXPECT_THAT(Members(s), UnorderedElementsAre(1, 3, 5));
  }
  EXPECT_THAT(cluster_.stored().removed_servers(), ElementsAre(2));
  cluster_.Say(2);
  cluster_.Settle();
  EXPECT_THAT(cluster_.server(2).refused, HasSubstr("was removed"));
  for (const auto& server : cluster_.core().map().servers()) {
    EXPECT_NE(server.server_id(), 2u);
  }
  EXPECT_TRUE(Ask(PlanReplaceServer, Replace(2, 5)).ok());
  EXPECT_TRUE(Ask(PlanRemoveServer, Server(2)).ok());
}

TEST_F(Plans, DeadServerIsReplaced) {
  cluster_.Kill(3);
  cluster_.Settle();
  cluster_.Rounds(10);
  ExpectDone(PlanReplaceServer, Replace(3, 4));
  cluster_.AddServer(4);
  cluster_.Rounds(60);
  for (int s = 0; s < 3; ++s) {
    EXPECT_THAT(Members(s), UnorderedElementsAre(1, 2, 4));
  }
  EXPECT_TRUE(cluster_.AllActive());
  EXPECT_EQ(ServerCount(), 3);
  EXPECT_THAT(cluster_.Violations(), IsEmpty());
}

TEST_F(Plans, DrainedServerHoldsNothingAndStays) {
  ExpectDone(PlanAddServer, Server(4));
  cluster_.AddServer(4);
  Carry();
  ExpectDone(PlanDrain, Server(1));
  Carry();
  EXPECT_EQ(Replicas(1), 0);
  EXPECT_EQ(ServerCount(), 4);
  EXPECT_THAT(Status().drained(), ElementsAre(1));
  EXPECT_TRUE(Ask(PlanDrain, Server(1)).ok());
  ExpectDone(PlanAddServer, Server(1));
  Carry();
  EXPECT_GT(Replicas(1), 0);
}

TEST_F(Plans, RemovedServerMayBeAway) {
  ExpectDone(PlanAddServer, Server(4));
  cluster_.AddServer(4);
  Carry();
  cluster_.Kill(2);
  cluster_.Settle();
  cluster_.Rounds(10);
  ExpectDone(PlanRemoveServer, Server(2));
  cluster_.Rounds(60);
  EXPECT_EQ(ServerCount(), 3);
  EXPECT_EQ(Replicas(4), 3);
  EXPECT_TRUE(cluster_.AllActive());
  EXPECT_THAT(cluster_.Violations(), IsEmpty());
}

TEST_F(Plans, SurviveTheCoordinator) {
  ExpectDone(PlanReplaceServer, Replace(2, 4));
  cluster_.RestartCoordinator();
  cluster_.Settle();
  cluster_.AddServer(4);
  Carry();
  for (int s = 0; s < 3; ++s) {
    EXPECT_THAT(Members(s), UnorderedElementsAre(1, 3, 4));
  }
}

// The lease of a server that has stopped is not waited for.
TEST_F(Plans, GoingTakesNoLease) {
  cluster_.Rounds(10);  // leases of earlier leaders have run out
  ExpectDone(PlanReplaceServer, Replace(1, 4));
  cluster_.AddServer(4);
  for (int i = 0; i < 600 && ServerCount() != 3; ++i) {
    cluster_.Advance(20 * kMs);
    for (uint32_t id = 1; id <= 4; ++id) cluster_.Say(id);
    cluster_.Settle();
    for (const proto::ShardEntry& shard : cluster_.core().map().shards()) {
      EXPECT_THAT(shard.why_not(), Not(HasSubstr("leases")));
    }
  }
  EXPECT_EQ(ServerCount(), 3);
}

TEST_F(Plans, NonsenseIsRefusedAndChangesNothing) {
  const auto precondition = absl::StatusCode::kFailedPrecondition;
  ExpectRefused(PlanRemoveServer, Server(1), precondition,
                "keeps 3 replicas of each shard; without server 1 it would "
                "have 2");
  ExpectRefused(PlanDrain, Server(3), precondition, "add another first");
  ExpectRefused(PlanRemoveServer, Server(9), absl::StatusCode::kNotFound,
                "server 9 is not in this cluster");
  ExpectRefused(PlanDrain, Server(0), absl::StatusCode::kNotFound,
                "server 0 is not in this cluster");
  ExpectRefused(PlanAddServer, Server(0), absl::StatusCode::kInvalidArgument,
                "must be from 1");
  ExpectRefused(PlanAddServer, Server(70000),
                absl::StatusCode::kInvalidArgument, "must be from 1");
  ExpectRefused(PlanReplaceServer, Replace(1, 1),
                absl::StatusCode::kInvalidArgument, "by itself");
  ExpectRefused(PlanReplaceServer, Replace(1, 2), precondition,
                "would be two of its replicas");
  ExpectRefused(PlanReplaceServer, Replace(8, 9), absl::StatusCode::kNotFound,
                "server 8");
  ExpectRefused(PlanMoveShard, MoveOf(7, 1, 2), absl::StatusCode::kNotFound,
                "there is no shard 7");
  ExpectRefused(PlanMoveShard, MoveOf(0, 1, 4), absl::StatusCode::kNotFound,
                "server 4 is not in this cluster");
  ExpectRefused(PlanMoveShard, MoveOf(0, 1, 2), precondition,
                "holds shard 0 already");
  proto::MoveShardRequest old = MoveOf(0, 1, 2);
  old.set_if_epoch(7);
  ExpectRefused(PlanMoveShard, old, precondition, "is for epoch 7 of shard 0");
}

TEST_F(Plans, LimitOfCopiesChangesWithoutANewEpoch) {
  proto::SetPolicyRequest request;
  *request.mutable_policy() = cluster_.stored().policy();
  request.mutable_policy()->set_copy_bytes_per_second(1 << 20);
  Effects effects;
  ASSERT_TRUE(
      cluster_.core().SetPolicy(request, cluster_.now_ns, &effects).ok());
  cluster_.Execute(std::move(effects));
  cluster_.Settle();
  EXPECT_EQ(cluster_.stored_shard(0).epoch(), 1u);
  EXPECT_EQ(cluster_.directive(1, 0).policy().copy_bytes_per_second(),
            uint64_t{1} << 20);
  EXPECT_TRUE(cluster_.AllActive());
}

}  // namespace
}  // namespace whale::control

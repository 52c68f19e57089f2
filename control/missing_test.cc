// Values that no member has: the shard goes on, they are listed to everybody,
// the operator gives them up, and it is forgotten when that is done (protocol,
// section 8, "Holes that stay").
#include "control/coordinator_core.h"
#include "control/fake_cluster.h"
#include "control/plans.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kFirst = kTestSegmentBytes;
constexpr uint64_t kMissing = kFirst + 1024;

class MissingTest : public ::testing::Test {
 protected:
  MissingTest() : cluster_(Options()) {
    cluster_.Form();
    for (uint32_t id = 1; id <= 3; ++id) {
      cluster_.server(id).Append(0, 4096, kFirst + 4096);
    }
    // Both others lack a value of the primary's, one of them more. What they
    // will report once they serve is there from the beginning.
    AddHole(2, kMissing, kMissing + 512);
    AddHole(3, kMissing, kMissing + 2048);
    proto::ShardReport& primary = cluster_.server(2).shard(0);
    proto::MissingValue* value = primary.add_missing();
    value->set_lsn(kMissing);
    value->set_key_hash(77);
    value->set_checksum(88);
    value->set_record_bytes(512);
    primary.set_missing_values(1);
    cluster_.Kill(1);
    cluster_.Rounds(8);
  }

  static ClusterOptions Options() {
    ClusterOptions options;
    options.shard_count = 1;
    options.mirrors = 0;
    return options;
  }
  void AddHole(uint32_t server, uint64_t begin, uint64_t end) {
    proto::LsnRange* hole = cluster_.server(server).shard(0).add_holes();
    hole->set_begin(begin);
    hole->set_end(end);
  }
  absl::StatusOr<std::string> DeclareLost(std::vector<uint64_t> lsns,
                                          uint32_t shard = 0) {
    proto::DeclareLostRequest request;
    request.set_shard(shard);
    for (const uint64_t lsn : lsns) request.add_lsns(lsn);
    Effects effects;
    auto answer =
        cluster_.core().DeclareLost(request, cluster_.now_ns, &effects);
    cluster_.Execute(std::move(effects));
    cluster_.Settle();
    return answer;
  }
  proto::ClusterStatus Status() {
    return cluster_.core().Status(cluster_.now_ns);
  }
  // The primary has settled it, one way or the other.
  void NothingIsMissing() {
    cluster_.server(2).shard(0).clear_missing();
    cluster_.server(2).shard(0).clear_missing_values();
    cluster_.Rounds(2);
  }
  // Server 1 is a member again.
  void Return() {
    cluster_.Start(1);
    cluster_.Rounds(10);
    EXPECT_THAT(cluster_.stored_shard(0).members(), ElementsAre(2, 3, 1));
  }

  FakeCluster cluster_;
};

TEST_F(MissingTest, TheShardGoesOnAndSaysWhatIsMissing) {
  EXPECT_TRUE(cluster_.AllActive());
  const proto::StoredShard& shard = cluster_.stored_shard(0);
  EXPECT_THAT(shard.members(), ElementsAre(2, 3));
  EXPECT_TRUE(shard.lacks_values());
  EXPECT_THAT(shard.missing_at(), ElementsAre(1));
  const proto::ClusterStatus status = Status();
  ASSERT_EQ(status.missing_size(), 1);
  EXPECT_EQ(status.missing(0).values(), 1u);
  EXPECT_EQ(status.missing(0).first(0).lsn(), kMissing);
  EXPECT_THAT(status.missing(0).may_be_at(), ElementsAre(1));
  EXPECT_THAT(status.warnings(),
              Contains(HasSubstr("shard 0 lacks 1 committed values")));
  EXPECT_THAT(cluster_.Violations(), IsEmpty());
}

TEST_F(MissingTest, EveryServerIsTold) {
  cluster_.Start(1);
  cluster_.Settle();
  for (uint32_t id = 1; id <= 3; ++id) {
    const proto::ShardDirective directive = cluster_.directive(id, 0);
    EXPECT_TRUE(directive.lacks_values());
    ASSERT_EQ(directive.missing_size(), 1);
    EXPECT_EQ(directive.missing(0).checksum(), 88u);
    EXPECT_TRUE(directive.missing_is_complete());
  }
}

TEST_F(MissingTest, AListThatIsNotWholeIsSaidNotToBe) {
  cluster_.server(2).shard(0).set_missing_values(5000);
  cluster_.Rounds(1);
  EXPECT_FALSE(cluster_.directive(3, 0).missing_is_complete());
  EXPECT_EQ(Status().missing(0).values(), 5000u);
}

// Who is away may miss what those have that are here.
TEST_F(MissingTest, ItIsForgottenOnlyOnceAllAreThere) {
  NothingIsMissing();
  EXPECT_TRUE(cluster_.stored_shard(0).lacks_values());
  EXPECT_EQ(Status().missing(0).values(), 0u);
  EXPECT_THAT(Status().warnings(),
              Not(Contains(HasSubstr("committed values"))));
  Return();
  EXPECT_FALSE(cluster_.stored_shard(0).lacks_values());
}

TEST_F(MissingTest, WhatIsFoundMissingLaterIsListedToo) {
  const proto::MissingValue value = cluster_.server(2).shard(0).missing(0);
  NothingIsMissing();
  Return();
  *cluster_.server(3).shard(0).add_missing() = value;
  cluster_.server(3).shard(0).set_missing_values(1);
  cluster_.Rounds(2);
  EXPECT_TRUE(cluster_.stored_shard(0).lacks_values());
  EXPECT_EQ(cluster_.directive(2, 0).missing(0).lsn(), kMissing);
}

TEST_F(MissingTest, WhoHasNotAppliedAllMayHaveMore) {
  Return();
  cluster_.server(3).shard(0).set_applied(kMissing);
  cluster_.Rounds(1);
  NothingIsMissing();
  EXPECT_TRUE(cluster_.stored_shard(0).lacks_values());
  EXPECT_FALSE(cluster_.directive(2, 0).missing_is_complete());
  cluster_.server(3).shard(0).set_applied(cluster_.stored_shard(0).start());
  cluster_.Rounds(2);
  EXPECT_FALSE(cluster_.stored_shard(0).lacks_values());
}

TEST_F(MissingTest, WhatIsGivenUpIsStoredAndForgottenWhenItIsDone) {
  Return();
  EXPECT_THAT(*DeclareLost({kMissing, kMissing + 16}),
              HasSubstr("1 values of shard 0 are given up"));
  EXPECT_THAT(cluster_.stored_shard(0).declared_lost(), ElementsAre(kMissing));
  EXPECT_THAT(cluster_.directive(2, 0).declared_lost(), ElementsAre(kMissing));
  // Asked again, and by a new coordinator.
  EXPECT_TRUE(DeclareLost({kMissing}).ok());
  cluster_.RestartCoordinator();
  cluster_.Rounds(2);
  EXPECT_THAT(cluster_.directive(2, 0).declared_lost(), ElementsAre(kMissing));
  NothingIsMissing();
  EXPECT_THAT(cluster_.stored_shard(0).declared_lost(), IsEmpty());
  EXPECT_FALSE(cluster_.stored_shard(0).lacks_values());
  EXPECT_THAT(cluster_.stored_shard(0).missing_at(), IsEmpty());
  EXPECT_THAT(Status().missing(), IsEmpty());
}

TEST_F(MissingTest, NonsenseIsRefusedAndChangesNothing) {
  EXPECT_EQ(DeclareLost({kMissing}, 9).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(DeclareLost({}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(*DeclareLost({kMissing + 16}), HasSubstr("none of these"));
  EXPECT_THAT(cluster_.stored_shard(0).declared_lost(), IsEmpty());
  cluster_.Kill(3);
  cluster_.Settle();
  const absl::Status status = DeclareLost({kMissing}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not serve"));
}

TEST_F(MissingTest, WhoMayHaveTheValuesIsNotForgottenNorFreed) {
  Effects effects;
  ASSERT_TRUE(cluster_.core()
                  .Change(
                      [](proto::StoredState* state) {
                        proto::ReplaceServerRequest request;
                        request.set_server_id(1);
                        request.set_by_server_id(4);
                        return PlanReplaceServer(request, state);
                      },
                      cluster_.now_ns, &effects)
                  .ok());
  cluster_.Execute(std::move(effects));
  cluster_.AddServer(4);
  cluster_.Rounds(10);
  EXPECT_THAT(cluster_.stored_shard(0).members(), ElementsAre(2, 3, 4));
  EXPECT_THAT(Status().removing(), ElementsAre(1));
  cluster_.Start(1);
  cluster_.Rounds(2);
  EXPECT_EQ(cluster_.directive(1, 0).step(), proto::STEP_RELEASE);
  EXPECT_FALSE(cluster_.directive(1, 0).free());
  NothingIsMissing();
  cluster_.Rounds(5);
  EXPECT_THAT(Status().removing(), IsEmpty());
  EXPECT_THAT(cluster_.Violations(), IsEmpty());
}

}  // namespace
}  // namespace whale::control

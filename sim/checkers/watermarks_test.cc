// Each rule of the checker: states that fit, and one that does not.
#include "sim/checkers/watermarks.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::checkers {
namespace {

using testing::HasSubstr;
using Phase = ReplicaSays::Phase;

constexpr uint64_t kSegment = 1000;

ReplicaSays Active(uint32_t server, uint64_t epoch, uint64_t announced) {
  return {.server = server,
          .process = 100 + server,
          .epoch = epoch,
          .phase = Phase::kActive,
          .announced = announced,
          .durable = announced,
          .committed = announced,
          .applied = announced,
          .log_bytes = (announced / kSegment + 2) * kSegment,
          .starts = {{1, kSegment}}};
}

class WatermarksTest : public testing::Test {
 protected:
  void Fits(const ReplicaSays& state) {
    watermarks_.Observe(state);
    ASSERT_EQ(watermarks_.verdict().problem, "");
  }
  void Fails(const ReplicaSays& state, const char* why) {
    watermarks_.Observe(state);
    EXPECT_THAT(watermarks_.verdict().problem, HasSubstr(why));
  }

  Watermarks watermarks_{kSegment, 2};
};

TEST_F(WatermarksTest, DurableIsAnnounced) {
  ReplicaSays state = Active(1, 1, 2000);
  Fits(state);
  state.durable = 2016;
  Fails(state, "durable 2016 is above announced 2000");
}

TEST_F(WatermarksTest, ReplicatedIsDurable) {
  ReplicaSays state = Active(1, 1, 2000);
  state.primary = true;
  state.replicated = 2016;
  Fails(state, "replicated 2016 is above durable 2000");
}

TEST_F(WatermarksTest, AppliedIsAnnounced) {
  ReplicaSays state = Active(1, 1, 2000);
  state.applied = 2016;
  Fails(state, "applied 2016 is above announced 2000");
}

TEST_F(WatermarksTest, NothingGoesBack) {
  Fits(Active(1, 1, 2000));
  ReplicaSays state = Active(1, 1, 2000);
  state.committed = 1984;
  Fails(state, "committed goes back from 2000 to 1984");
}

TEST_F(WatermarksTest, AnotherProcessMayBeginLower) {
  Fits(Active(1, 1, 2000));
  ReplicaSays state = Active(1, 1, 1984);
  state.process = 200;
  Fits(state);
}

TEST_F(WatermarksTest, AnEpochStartsWhereItStarts) {
  Fits(Active(1, 1, 2000));
  ReplicaSays state = Active(2, 1, 2000);
  state.starts = {{1, kSegment + 16}};
  Fails(state, "epoch 1 starts at 1016 here, at 1000 elsewhere");
}

TEST_F(WatermarksTest, ACutKeepsWhatIsCommitted) {
  Fits(Active(1, 1, 2000));
  ReplicaSays state = Active(2, 2, 2000);
  state.starts = {{1, kSegment}, {2, 1984}};
  Fails(state, "epoch 2 starts at 1984, but epoch 1 had committed up to 2000");
}

TEST_F(WatermarksTest, NothingIsCommittedAboveACut) {
  ReplicaSays state = Active(2, 2, 2000);
  state.starts = {{1, kSegment}, {2, 1984}};
  Fits(state);
  Fails(Active(1, 1, 2000), "committed up to 2000, but epoch 2 starts at 1984");
}

TEST_F(WatermarksTest, OnePrimaryInAnEpoch) {
  ReplicaSays state = Active(1, 1, 2000);
  state.primary = true;
  Fits(state);
  state = Active(2, 1, 2000);
  state.primary = true;
  Fails(state, "server 1 is primary of this epoch as well");
}

TEST_F(WatermarksTest, WhoStopsHasWhatIsCommitted) {
  Fits(Active(1, 1, 2000));
  Fits(Active(2, 1, 1984));
  ReplicaSays state = Active(2, 1, 1984);
  state.phase = Phase::kStopped;
  Fails(state, "a member stopped with 1984 announced, but up to 2000");
}

TEST_F(WatermarksTest, SegmentsAreNotLost) {
  ReplicaSays state = Active(1, 1, 2000);
  state.log_bytes = 4 * kSegment;
  Fits(state);
  state.log_bytes = 5 * kSegment;
  Fails(state, "segments held 5 is above those needed 4");
}

TEST_F(WatermarksTest, WhatADamagedReplicaSaysIsNotBelieved) {
  Fits(Active(1, 1, 2000));
  ReplicaSays state = Active(2, 1, 1000);
  state.damaged = true;
  state.phase = Phase::kStopped;
  Fits(state);
}

}  // namespace
}  // namespace whale::checkers

#include "common/stage_costs.h"

#include <gtest/gtest.h>

namespace whale {
namespace {

TEST(StageCosts, CountsAllAndSamplesSome) {
  StageCosts costs;
  costs.set_enabled(true);
  int sampled = 0;
  for (uint64_t i = 0; i < 10 * StageCosts::kSampleEvery; ++i) {
    if (costs.Count(Stage::kAppend)) {
      ++sampled;
      costs.Add(Stage::kAppend, 1000);
    }
  }
  EXPECT_EQ(sampled, 10);
  const StageCosts::Summary summary = costs.Summarize(Stage::kAppend);
  EXPECT_EQ(summary.count, 10 * StageCosts::kSampleEvery);
  EXPECT_EQ(summary.samples, 10u);
  EXPECT_EQ(summary.mean, 1000);
  EXPECT_EQ(summary.p50, 1000u);
  EXPECT_EQ(costs.Summarize(Stage::kPost).count, 0u);
}

TEST(StageCosts, OffItCountsNothing) {
  StageCosts costs;
  EXPECT_FALSE(costs.Count(Stage::kReply));
  { const StageTimer timer(&costs, Stage::kReply); }
  EXPECT_EQ(costs.Summarize(Stage::kReply).count, 0u);
}

TEST(StageCosts, PercentilesAreNearAndNeverTooSmall) {
  StageCosts costs;
  for (uint64_t i = 1; i <= 10'000; ++i) costs.Add(Stage::kCommit, i * 7);
  const StageCosts::Summary summary = costs.Summarize(Stage::kCommit);
  EXPECT_GE(summary.p50, 35'000u);
  EXPECT_LE(summary.p50, 35'000u * 9 / 8);
  EXPECT_GE(summary.p99, 69'300u);
  EXPECT_LE(summary.p99, 70'000u);
  EXPECT_EQ(summary.max, 70'000u);
}

TEST(StageCosts, ExtremesHaveAPlace) {
  StageCosts costs;
  costs.Add(Stage::kApply, 0);
  costs.Add(Stage::kApply, UINT64_MAX / 2);
  EXPECT_EQ(costs.Summarize(Stage::kApply).p50, 0u);
  EXPECT_EQ(costs.Summarize(Stage::kApply).max, UINT64_MAX / 2);
}

TEST(StageTimer, TimesItsScope) {
  StageCosts costs;
  costs.set_enabled(true);
  { const StageTimer timer(&costs, Stage::kForward); }
  EXPECT_EQ(costs.Summarize(Stage::kForward).count, 1u);
  EXPECT_EQ(costs.Summarize(Stage::kForward).samples, 1u);
}

}  // namespace
}  // namespace whale

#include "control/leases.h"

#include "gtest/gtest.h"

namespace whale::control {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(Leases, NobodyLeftOutNeedsNoWait) {
  Leases leases(10 * kSecond, 2'000'000);
  EXPECT_EQ(leases.FreeAtNs(0, {}), 0);
}

TEST(Leases, CountFromTheGrantWithAnAllowanceForDrift) {
  Leases leases(0, 2'000'000);
  leases.Granted(0, 3, 7, 2'000'000, 100 * kSecond);
  const int64_t free = leases.FreeAtNs(0, {3});
  EXPECT_EQ(free, 102 * kSecond + 2 * kSecond / Leases::kDriftDivisor);
  // Another server's lease, or for another shard, is not waited for.
  EXPECT_LT(leases.FreeAtNs(0, {2}), 100 * kSecond);
  EXPECT_LT(leases.FreeAtNs(1, {3}), 100 * kSecond);
}

TEST(Leases, ShorterGrantDoesNotEndALongerOne) {
  Leases leases(0, 2'000'000);
  leases.Granted(0, 3, 7, 5'000'000, 100 * kSecond);
  const int64_t free = leases.FreeAtNs(0, {3});
  leases.Granted(0, 3, 7, 100'000, 101 * kSecond);
  EXPECT_EQ(leases.FreeAtNs(0, {3}), free);
}

TEST(Leases, OfAProcessThatGaveThemBackAreOver) {
  Leases leases(0, 2'000'000);
  leases.Granted(0, 3, 7, 2'000'000, 100 * kSecond);
  leases.GivenBack(0, 3, 6);  // another process of that server
  EXPECT_GT(leases.FreeAtNs(0, {3}), 102 * kSecond);
  leases.GivenBack(0, 3, 7);
  EXPECT_LT(leases.FreeAtNs(0, {3}), 100 * kSecond);
  leases.Granted(0, 3, 7, 2'000'000, 100 * kSecond);
  leases.Granted(0, 3, 8, 2'000'000, 101 * kSecond);
  leases.GivenBack(0, 3, 8);
  EXPECT_GT(leases.FreeAtNs(0, {3}), 102 * kSecond);
}

TEST(Leases, OfEarlierLeadersRunOutAfterTheLongestEverConfigured) {
  Leases leases(50 * kSecond, 10'000'000);
  EXPECT_EQ(leases.FreeAtNs(0, {1}),
            60 * kSecond + 10 * kSecond / Leases::kDriftDivisor);
  leases.NoteConfigured(20'000'000);
  EXPECT_EQ(leases.FreeAtNs(0, {1}),
            70 * kSecond + 20 * kSecond / Leases::kDriftDivisor);
  leases.NoteConfigured(1'000'000);
  EXPECT_GE(leases.FreeAtNs(0, {1}), 70 * kSecond);
}

TEST(Leases, NeverOutliveTheLeadership) {
  Leases leases(0, 2'000'000);
  EXPECT_EQ(leases.Grantable(2'000'000, kSecond), 2'000'000u);
  leases.SetLeadershipEnd(11 * kSecond);
  EXPECT_EQ(leases.Grantable(2'000'000, kSecond), 2'000'000u);
  const uint64_t last = leases.Grantable(2'000'000, 10 * kSecond);
  EXPECT_LT(last, 1'000'000u);
  EXPECT_GT(last, 900'000u);
  EXPECT_EQ(leases.Grantable(2'000'000, 11 * kSecond), 0u);
  EXPECT_EQ(leases.Grantable(2'000'000, 12 * kSecond), 0u);
}

}  // namespace
}  // namespace whale::control

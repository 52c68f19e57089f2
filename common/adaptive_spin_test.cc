#include "common/adaptive_spin.h"

#include <gtest/gtest.h>

namespace whale {
namespace {

constexpr int64_t kMostNs = 200;

// Looks until told to sleep, then work comes `idle_ns` after it ran out.
// Returns whether it slept.
bool Idle(AdaptiveSpin* spin, int64_t* now_ns, int64_t idle_ns) {
  const int64_t end_ns = *now_ns + idle_ns;
  bool slept = false;
  for (; *now_ns < end_ns; ++*now_ns) {
    if (slept || spin->KeepLooking(*now_ns)) continue;
    spin->OnSleep();
    slept = true;
  }
  spin->OnWork(*now_ns);
  return slept;
}

TEST(AdaptiveSpin, LooksThroughShortIdleTimes) {
  AdaptiveSpin spin(kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(Idle(&spin, &now_ns, kMostNs - 1));
  EXPECT_EQ(spin.window_ns(), kMostNs);
}

TEST(AdaptiveSpin, StopsLookingWhereItBringsNothing) {
  AdaptiveSpin spin(kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Idle(&spin, &now_ns, 10 * kMostNs));
  EXPECT_EQ(spin.window_ns(), 0);
  EXPECT_FALSE(spin.KeepLooking(now_ns));
}

TEST(AdaptiveSpin, LooksAgainOnceIdleTimesAreShort) {
  AdaptiveSpin spin(kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 4; ++i) Idle(&spin, &now_ns, 10 * kMostNs);
  EXPECT_TRUE(Idle(&spin, &now_ns, 8));
  EXPECT_EQ(spin.window_ns(), kMostNs / 4);
  EXPECT_FALSE(Idle(&spin, &now_ns, kMostNs / 4));
  EXPECT_TRUE(Idle(&spin, &now_ns, kMostNs / 2));
  EXPECT_EQ(spin.window_ns(), kMostNs / 2);
}

// The test's clock alone makes an offer of the processor last.
TEST(AdaptiveSpin, SleepsAtOnceForAWhileWhereOffersTakeLong) {
  constexpr int64_t kMs = 1'000'000;
  AdaptiveSpin spin(50 * kMs);
  EXPECT_TRUE(spin.KeepLooking(1 * kMs));
  EXPECT_TRUE(spin.KeepLooking(2 * kMs));  // offers it
  EXPECT_TRUE(spin.KeepLooking(3 * kMs));  // was soon back: again
  EXPECT_TRUE(spin.KeepLooking(6 * kMs));
  EXPECT_TRUE(spin.KeepLooking(9 * kMs));
  EXPECT_FALSE(spin.KeepLooking(12 * kMs));
  spin.OnWork(13 * kMs);
  EXPECT_FALSE(spin.KeepLooking(14 * kMs));
  spin.OnWork(200 * kMs);
  EXPECT_TRUE(spin.KeepLooking(201 * kMs));
  EXPECT_TRUE(spin.KeepLooking(202 * kMs));
}

TEST(AdaptiveSpin, AFewTimeSlicesLostNowAndThenAreNoReason) {
  constexpr int64_t kMs = 1'000'000;
  AdaptiveSpin spin(50 * kMs);
  for (int64_t now_ns = kMs; now_ns < 1000 * kMs; now_ns += 20 * kMs) {
    EXPECT_TRUE(spin.KeepLooking(now_ns));
    EXPECT_TRUE(spin.KeepLooking(now_ns + kMs));
    EXPECT_TRUE(spin.KeepLooking(now_ns + 4 * kMs));
    spin.OnWork(now_ns + 5 * kMs);
  }
}

TEST(AdaptiveSpin, ZeroNeverLooks) {
  AdaptiveSpin spin(0);
  EXPECT_FALSE(spin.KeepLooking(1));
  spin.OnSleep();
  spin.OnWork(2);
  EXPECT_FALSE(spin.KeepLooking(3));
}

}  // namespace
}  // namespace whale

#include "common/adaptive_spin.h"

#include <gtest/gtest.h>

namespace whale {
namespace {

constexpr int64_t kMostNs = 200;
constexpr int64_t kMs = 1'000'000;

class TestClock final : public Clock {
 public:
  int64_t NowNs() override { return now_ns; }
  int64_t now_ns = 0;
};

// Looks at `now_ns`; an offer of the processor lasts `away_ns`.
bool Look(AdaptiveSpin* spin, TestClock* clock, int64_t now_ns,
          int64_t away_ns) {
  clock->now_ns = now_ns + away_ns;
  return spin->KeepLooking(now_ns);
}

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
  TestClock clock;
  AdaptiveSpin spin(&clock, kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(Idle(&spin, &now_ns, kMostNs - 1));
  EXPECT_EQ(spin.window_ns(), kMostNs);
}

TEST(AdaptiveSpin, StopsLookingWhereItBringsNothing) {
  TestClock clock;
  AdaptiveSpin spin(&clock, kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Idle(&spin, &now_ns, 10 * kMostNs));
  EXPECT_EQ(spin.window_ns(), 0);
  EXPECT_FALSE(spin.KeepLooking(now_ns));
}

TEST(AdaptiveSpin, LooksAgainOnceIdleTimesAreShort) {
  TestClock clock;
  AdaptiveSpin spin(&clock, kMostNs);
  int64_t now_ns = 0;
  for (int i = 0; i < 4; ++i) Idle(&spin, &now_ns, 10 * kMostNs);
  EXPECT_TRUE(Idle(&spin, &now_ns, 8));
  EXPECT_EQ(spin.window_ns(), kMostNs / 4);
  EXPECT_FALSE(Idle(&spin, &now_ns, kMostNs / 4));
  EXPECT_TRUE(Idle(&spin, &now_ns, kMostNs / 2));
  EXPECT_EQ(spin.window_ns(), kMostNs / 2);
}

TEST(AdaptiveSpin, SleepsAtOnceForAWhileWhereOffersTakeLong) {
  TestClock clock;
  AdaptiveSpin spin(&clock, 50 * kMs);
  EXPECT_TRUE(Look(&spin, &clock, 1 * kMs, 0));  // too early for an offer
  EXPECT_TRUE(Look(&spin, &clock, 2 * kMs, 100));
  EXPECT_TRUE(Look(&spin, &clock, 3 * kMs, 3 * kMs));
  EXPECT_TRUE(Look(&spin, &clock, 6 * kMs, 3 * kMs));
  EXPECT_TRUE(Look(&spin, &clock, 9 * kMs, 3 * kMs));
  EXPECT_FALSE(Look(&spin, &clock, 12 * kMs, 0));
  spin.OnWork(13 * kMs);
  EXPECT_FALSE(Look(&spin, &clock, 14 * kMs, 0));
  spin.OnWork(200 * kMs);
  EXPECT_TRUE(Look(&spin, &clock, 201 * kMs, 0));
  EXPECT_TRUE(Look(&spin, &clock, 202 * kMs, 0));
}

TEST(AdaptiveSpin, AFewTimeSlicesLostNowAndThenAreNoReason) {
  TestClock clock;
  AdaptiveSpin spin(&clock, 50 * kMs);
  for (int64_t now_ns = kMs; now_ns < 1000 * kMs; now_ns += 20 * kMs) {
    EXPECT_TRUE(Look(&spin, &clock, now_ns, 0));
    EXPECT_TRUE(Look(&spin, &clock, now_ns + kMs, 3 * kMs));
    spin.OnWork(now_ns + 5 * kMs);
  }
}

TEST(AdaptiveSpin, ZeroNeverLooks) {
  TestClock clock;
  AdaptiveSpin spin(&clock, 0);
  EXPECT_FALSE(spin.KeepLooking(1));
  spin.OnSleep();
  spin.OnWork(2);
  EXPECT_FALSE(spin.KeepLooking(3));
}

}  // namespace
}  // namespace whale

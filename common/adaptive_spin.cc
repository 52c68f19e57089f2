#include "common/adaptive_spin.h"

#include <sched.h>

#include <algorithm>

namespace whale {
namespace {

// An offer that nobody takes takes less, one that is taken more.
constexpr int64_t kSwitchNs = 1'500;
// A round trip to a server that is awake takes less.
constexpr int64_t kKeepNs = 3'000;
// Those who share hand the processor on sooner, nearly always.
constexpr int64_t kTimeSliceNs = 2'000'000;
constexpr int kStreak = 3;
constexpr int64_t kStreakNs = 10'000'000;  // from one of a streak to the next
constexpr int64_t kNoOfferNs = 100'000'000;

// Spares the other thread of the core.
void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void AdaptiveSpin::OnWork(int64_t now_ns) {
  if (slept_) Adapt(now_ns - idle_since_ns_);
  slept_ = false;
  idle_ = false;
}

bool AdaptiveSpin::KeepLooking(int64_t now_ns) {
  if (!idle_) {
    idle_ = true;
    idle_since_ns_ = now_ns;
  }
  const int64_t idle_ns = now_ns - idle_since_ns_;
  if (slept_ || idle_ns >= window_ns_) return false;
  if (!crowded_ && idle_ns < kKeepNs) {
    Pause();
    return true;
  }
  if (now_ns < no_offer_until_ns_) return false;
  Offer(now_ns);
  return true;
}

void AdaptiveSpin::Offer(int64_t now_ns) {
  sched_yield();
  const int64_t back_ns = clock_->NowNs();
  crowded_ = back_ns - now_ns >= kSwitchNs;
  if (back_ns - now_ns < kTimeSliceNs) return;
  lost_slices_ = back_ns - lost_slice_ns_ < kStreakNs ? lost_slices_ + 1 : 1;
  lost_slice_ns_ = back_ns;
  if (lost_slices_ >= kStreak) no_offer_until_ns_ = back_ns + kNoOfferNs;
}

void AdaptiveSpin::Adapt(int64_t idle_ns) {
  const int64_t least_ns = most_ns_ / 4;
  if (idle_ns < most_ns_) {
    window_ns_ = std::min(most_ns_, std::max(2 * window_ns_, least_ns));
  } else {
    window_ns_ = window_ns_ <= least_ns ? 0 : window_ns_ / 2;
  }
}

}  // namespace whale

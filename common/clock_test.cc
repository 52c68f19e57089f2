#include "common/clock.h"

#include <gtest/gtest.h>

namespace whale {
namespace {

TEST(CoarseBootClock, NeverAheadAndNeverBack) {
  BootClock exact;
  CoarseBootClock coarse;
  int64_t last_ns = coarse.NowNs();
  // Long enough that it was read anew.
  const int64_t until_ns = last_ns + 50'000'000;
  while (last_ns < until_ns) {
    const int64_t now_ns = coarse.NowNs();
    ASSERT_GE(now_ns, last_ns);
    ASSERT_LE(now_ns, exact.NowNs());
    last_ns = now_ns;
  }
}

}  // namespace
}  // namespace whale

// The time that benchmarks measure by: the same for all processes of a machine.
#ifndef WHALE_BENCH_MONOTONIC_H_
#define WHALE_BENCH_MONOTONIC_H_

#include <time.h>

#include <cstdint>

namespace whale::bench {

inline int64_t MonotonicNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// Returns at `time_ns`, or a little later.
inline void SleepUntil(int64_t time_ns) {
  const timespec until{.tv_sec = time_ns / 1'000'000'000,
                       .tv_nsec = time_ns % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) !=
         0) {
  }
}

}  // namespace whale::bench

#endif  // WHALE_BENCH_MONOTONIC_H_

// The processor's cycle counter: the cheapest measure of short durations. It
// says nothing to the protocol; nothing may depend on it.
//
// Thread-safety: safe from any thread; counts of two processors may differ.
#ifndef WHALE_COMMON_CYCLE_COUNT_H_
#define WHALE_COMMON_CYCLE_COUNT_H_

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

namespace whale {

inline uint64_t CycleCount() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
#endif
}

}  // namespace whale

#endif  // WHALE_COMMON_CYCLE_COUNT_H_

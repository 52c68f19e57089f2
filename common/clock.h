// The boundary to time.
//
// Leases are counted on a clock that goes on while the machine sleeps, so the
// real clock is CLOCK_BOOTTIME. The simulator brings its own, with pauses and
// drift. Protocol cores never hold a clock: they are given the time.
//
// Thread-safety: implementations are safe to call from any thread.
#ifndef WHALE_COMMON_CLOCK_H_
#define WHALE_COMMON_CLOCK_H_

#include <time.h>

#include <cstdint>

#include "common/cycle_count.h"

namespace whale {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since some fixed point; monotonic; differs between machines.
  virtual int64_t NowNs() = 0;
};

// CLOCK_BOOTTIME of this machine.
class BootClock final : public Clock {
 public:
  int64_t NowNs() override {
    timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  }
};

// The same, up to some 0.1 ms behind, mostly without a call: read anew only
// when the processor's cycle counter has moved on. For deadlines of
// milliseconds. Thread-safety: none.
class CoarseBootClock final : public Clock {
 public:
  int64_t NowNs() override {
    const uint64_t cycles = CycleCount();
    if (cycles - read_at_cycles_ >= kFreshCycles) {
      read_at_cycles_ = cycles;
      now_ns_ = clock_.NowNs();
    }
    return now_ns_;
  }

 private:
  static constexpr uint64_t kFreshCycles = 200'000;

  BootClock clock_;
  int64_t now_ns_ = clock_.NowNs();
  uint64_t read_at_cycles_ = CycleCount();
};

}  // namespace whale

#endif  // WHALE_COMMON_CLOCK_H_

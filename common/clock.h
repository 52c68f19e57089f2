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

}  // namespace whale

#endif  // WHALE_COMMON_CLOCK_H_

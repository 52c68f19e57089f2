// One node's clock: the world's time with an offset and a rate of its own.
//
// Thread-safety: none.
#ifndef WHALE_SIM_SIM_CLOCK_H_
#define WHALE_SIM_SIM_CLOCK_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "common/clock.h"
#include "sim/world.h"

namespace whale::sim {

class SimClock final : public Clock {
 public:
  // `drift_ppm`: how much faster than the world's, in millionths.
  SimClock(const World* world, int64_t offset_ns, int64_t drift_ppm)
      : world_(world), offset_ns_(offset_ns), drift_ppm_(drift_ppm) {}

  int64_t NowNs() override {
    if (read_before_ns_.has_value()) {
      return *std::exchange(read_before_ns_, std::nullopt);
    }
    return LocalTime(world_->now_ns());
  }

  // The process stops just after it has read the clock, or goes on as if that
  // had not been: the next reading is of now, whenever it is asked for.
  void ReadBeforePause() { read_before_ns_ = LocalTime(world_->now_ns()); }
  void ForgetReading() { read_before_ns_.reset(); }

  int64_t LocalTime(int64_t world_ns) const {
    return offset_ns_ + world_ns + world_ns / kMillion * drift_ppm_ +
           world_ns % kMillion * drift_ppm_ / kMillion;
  }
  // A world time at which the local one has reached `local_ns`; at most a few
  // nanoseconds late.
  int64_t WorldTime(int64_t local_ns) const {
    const __int128 scaled =
        static_cast<__int128>(local_ns - offset_ns_) * kMillion;
    return static_cast<int64_t>(scaled / (kMillion + drift_ppm_)) + 2;
  }

 private:
  static constexpr int64_t kMillion = 1'000'000;
  const World* const world_;
  const int64_t offset_ns_;
  const int64_t drift_ppm_;
  std::optional<int64_t> read_before_ns_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_CLOCK_H_

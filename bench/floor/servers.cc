// The floor's primary and backup processes.
#include "bench/floor/floor.h"
#include "bench/floor/primary.h"
#include "common/adaptive_spin.h"
#include "common/clock.h"

namespace whale::bench::floor {
namespace {

constexpr int64_t kLookUpNs = 1'000'000;

// Calls `turn` until `stop`; when it has had nothing to do for a while, `sleep`
// instead. The worker's loop of `whale serve`.
template <typename Turn, typename Sleep>
void Loop(const Shared& shared, const FloorOptions& options, bool poll,
          Turn turn, Sleep sleep) {
  BootClock clock;
  AdaptiveSpin spin(&clock, options.most_spin_ns);
  while (!shared.stop.load(std::memory_order_relaxed)) {
    const bool worked = turn();
    if (poll && !worked) {
      Pause();
      continue;
    }
    const int64_t now_ns = clock.NowNs();
    if (worked) {
      spin.OnWork(now_ns);
    } else if (!spin.KeepLooking(now_ns)) {
      spin.OnSleep();
      sleep();
    }
  }
}

}  // namespace

void RunPrimary(const FloorOptions& options, Shared* shared) {
  Primary primary(options, shared);
  Loop(
      *shared, options, /*poll=*/false, [&] { return primary.Turn(); },
      [&] {
        shared->primary.Sleep(100 * kLookUpNs,
                              [&] { return primary.HasRequest(); });
      });
}

void RunBackup(const FloorOptions& options, Shared* shared, uint32_t index) {
  const Cell& cell = shared->cells[index];
  const std::byte* log = shared->logs[1 + index];
  Doorbell nobody_rings;
  uint64_t seen = 0, at = 0;
  volatile uint64_t sink = 0;
  const auto turn = [&] {
    const uint64_t sequence = cell.sequence.load(std::memory_order_acquire);
    if (sequence == seen) return false;
    seen = sequence;
    // Looks at each value once, as whoever checks or applies it must.
    const uint64_t end = cell.end;
    if (end < at) at = 0;
    uint64_t word = 0;
    for (; at < end; at += 64) word += static_cast<uint64_t>(log[at]);
    sink = sink + word;
    return true;
  };
  const bool poll = options.backup_mode == Backups::kPoll;
  Loop(*shared, options, poll, turn,
       [&] { nobody_rings.Sleep(kLookUpNs, [] { return false; }); });
}

}  // namespace whale::bench::floor

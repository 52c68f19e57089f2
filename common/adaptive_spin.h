// How long a thread that has nothing to do looks for work before it sleeps,
// and how it treats others meanwhile.
//
// Waking a sleeper costs more than a short idle time, and spinning through a
// long one takes a processor from those that work. What was worth it last time
// is taken as what will be: after an idle time that spinning would have
// covered the window doubles, after a longer one it halves, down to nothing.
// The rule and the 200 us are those of Linux's haltpoll governor: the bound
// must be well above what a wake-up takes (up to 50 us on a virtual processor),
// or two that wake each other both sleep for ever after.
//
// Meanwhile the processor is offered to whoever waits for it, at once where
// somebody took it the last time: several servers and clients on few processors
// then take turns, as long as all of them do. Where somebody keeps the
// processor for whole time slices again and again, offering it costs far more
// than waking up does, so for a while the thread sleeps at once.
//
// Thread-safety: none.
#ifndef WHALE_COMMON_ADAPTIVE_SPIN_H_
#define WHALE_COMMON_ADAPTIVE_SPIN_H_

#include <cstdint>

#include "common/clock.h"

namespace whale {

class AdaptiveSpin {
 public:
  static constexpr int64_t kMostNs = 200'000;

  // Never spins for longer than `most_ns`; 0: never. `clock` outlives it.
  AdaptiveSpin(Clock* clock, int64_t most_ns)
      : clock_(clock), most_ns_(most_ns), window_ns_(most_ns) {}

  // There was work that somebody waited for: an idle time is over.
  void OnWork(int64_t now_ns);
  // There was none. True: look again (some time has passed); false: sleep now,
  // and say so.
  bool KeepLooking(int64_t now_ns);
  // Until the next OnWork there is no more looking.
  void OnSleep() { slept_ = true; }

  int64_t window_ns() const { return window_ns_; }

 private:
  void Offer(int64_t now_ns);
  void Adapt(int64_t idle_ns);

  Clock* const clock_;
  const int64_t most_ns_;
  int64_t window_ns_;
  int64_t idle_since_ns_ = 0;
  int64_t no_offer_until_ns_ = 0;
  int64_t lost_slice_ns_ = 0;  // the last time
  int lost_slices_ = 0;        // in a row
  bool crowded_ = false;       // the last offer was taken
  bool idle_ = false;
  bool slept_ = false;
};

}  // namespace whale

#endif  // WHALE_COMMON_ADAPTIVE_SPIN_H_

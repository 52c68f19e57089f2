// The request numbers of one session in one shard: which were used, and which
// may still be asked for.
//
// A server keeps the outcomes of the newest wire::kSessionWindow numbers, so
// the distance from the oldest unsettled number to the newest must stay below
// that (protocol, section 9). A number is settled once nothing can execute it
// any more: it was answered for good, or its operation ended without ever
// having been sent. An operation that expired in doubt abandons its number:
// it stays in the window until a late answer settles it, and once it is the
// oldest of a full window the session has to be replaced.
//
// Thread-safety: none; a plain value.
#ifndef WHALE_CLIENT_REQUEST_WINDOW_H_
#define WHALE_CLIENT_REQUEST_WINDOW_H_

#include <array>
#include <cstdint>

#include "common/check.h"
#include "proto/wire.h"

namespace whale::client {

class RequestWindow {
 public:
  // For a new session: numbers start at 1.
  void Reset() { *this = RequestWindow(); }

  bool full() const { return next_ - oldest_ >= wire::kSessionWindow; }
  bool oldest_abandoned() const {
    return oldest_ < next_ && At(oldest_) == State::kAbandoned;
  }

  // The next number. REQUIRES: !full().
  uint64_t Take() {
    WHALE_CHECK(!full());
    At(next_) = State::kLive;
    return next_++;
  }
  void Settle(uint64_t number) {
    if (number < oldest_ || number >= next_) return;
    At(number) = State::kSettled;
    while (oldest_ < next_ && At(oldest_) == State::kSettled) ++oldest_;
  }
  // REQUIRES: `number` is live.
  void Abandon(uint64_t number) {
    WHALE_CHECK(number >= oldest_ && number < next_);
    At(number) = State::kAbandoned;
  }

 private:
  enum class State : uint8_t { kSettled, kLive, kAbandoned };

  State& At(uint64_t number) { return states_[number % states_.size()]; }
  State At(uint64_t number) const { return states_[number % states_.size()]; }

  uint64_t oldest_ = 1;  // smallest number that is not settled
  uint64_t next_ = 1;
  std::array<State, wire::kSessionWindow> states_ = {};
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_REQUEST_WINDOW_H_

// Virtual time: a queue of events, one seed, one hash over all that happened.
//
// Everything in a simulated run happens inside an event of its World, in the
// order (time, sequence number of scheduling), so that a seed gives the same
// run on every machine. Randomness comes from here only.
//
// Thread-safety: none. Failure: events that were scheduled by something that
// died must check for that themselves (hold a shared or weak pointer).
#ifndef WHALE_SIM_WORLD_H_
#define WHALE_SIM_WORLD_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/prng.h"

namespace whale::sim {

inline constexpr int64_t kMicrosecond = 1'000;
inline constexpr int64_t kMillisecond = 1'000'000;
inline constexpr int64_t kSecond = 1'000'000'000;

class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int64_t now_ns() const { return now_ns_; }
  Prng& random() { return random_; }
  // Uniform in [low, high].
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_.Below(high - low + 1));
  }

  // Runs `action` at `time_ns`, or now if that has passed.
  void At(int64_t time_ns, absl::AnyInvocable<void()> action);
  void After(int64_t delay_ns, absl::AnyInvocable<void()> action) {
    At(now_ns_ + delay_ns, std::move(action));
  }

  // Runs the next event; false if there is none up to `until_ns` (the time is
  // then `until_ns`).
  bool RunOne(int64_t until_ns);
  void RunUntil(int64_t until_ns) {
    while (RunOne(until_ns)) {
    }
  }

  // Adds to the hash of the run; the two must agree in every repetition.
  void Note(uint64_t what, uint64_t detail);
  uint64_t trace_hash() const { return hash_; }
  uint64_t events() const { return events_; }

  // A readable trace, if somebody wants one.
  void set_trace(FILE* trace) { trace_ = trace; }
  bool tracing() const { return trace_ != nullptr; }
  // One line, with the time before it. Part of the hash.
  void Trace(std::string_view line);
  // The same, not part of the hash.
  void Print(std::string_view line) const;

 private:
  struct Event {
    int64_t time_ns;
    uint64_t sequence;
    absl::AnyInvocable<void()> action;
  };
  // std::push_heap makes a heap with the largest on top.
  static bool Later(const Event& a, const Event& b) {
    if (a.time_ns != b.time_ns) return a.time_ns > b.time_ns;
    return a.sequence > b.sequence;
  }

  Prng random_;
  int64_t now_ns_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t events_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::vector<Event> queue_;
  FILE* trace_ = nullptr;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_WORLD_H_

// The floor's client process.
#include <cstring>
#include <string>

#include "bench/floor/floor.h"
#include "bench/monotonic.h"
#include "common/adaptive_spin.h"

namespace whale::bench::floor {
namespace {

constexpr int64_t kSleepNs = 10'000'000;

class Client {
 public:
  Client(const FloorOptions& options, Shared* shared)
      : options_(options),
        shared_(*shared),
        value_(options.value_bytes, 'v'),
        started_(shared->ring_slots),
        spin_(&clock_, options.most_spin_ns) {}

  // Does `count` more operations; their latencies go to `latency`.
  void Do(uint64_t count, Histogram* latency) {
    const uint64_t total = answered_ + count;
    while (answered_ < total) {
      Send(total);
      const int64_t now_ns = clock_.NowNs();
      if (Take(latency) > 0) {
        spin_.OnWork(now_ns);
      } else if (!spin_.KeepLooking(now_ns)) {
        spin_.OnSleep();
        shared_.client.Sleep(kSleepNs, [this] { return HasReply(); });
      }
    }
  }

 private:
  void Send(uint64_t total) {
    const uint64_t first = sent_;
    for (; sent_ < total && sent_ - answered_ < options_.depth; ++sent_) {
      RequestSlot* slot = shared_.request(sent_);
      started_[sent_ & (shared_.ring_slots - 1)] = MonotonicNs();
      std::memcpy(slot->value(), value_.data(), value_.size());
      slot->sequence.store(sent_ + 1, std::memory_order_release);
    }
    if (sent_ != first) shared_.primary.Ring();
  }

  bool HasReply() const {
    return shared_.reply(answered_)->sequence.load(std::memory_order_acquire) ==
           answered_ + 1;
  }

  uint64_t Take(Histogram* latency) {
    const uint64_t first = answered_;
    while (answered_ < sent_ && HasReply()) {
      latency->Record(MonotonicNs() -
                      started_[answered_ & (shared_.ring_slots - 1)]);
      ++answered_;
    }
    return answered_ - first;
  }

  const FloorOptions& options_;
  Shared& shared_;
  const std::string value_;
  std::vector<int64_t> started_;
  BootClock clock_;
  AdaptiveSpin spin_;
  uint64_t sent_ = 0, answered_ = 0;
};

}  // namespace

ycsb::PhaseResult RunClient(const FloorOptions& options, Shared* shared) {
  Client client(options, shared);
  Histogram unused;
  client.Do(options.warmup, &unused);
  ycsb::PhaseResult result;
  auto& stats = result.kinds[static_cast<int>(ycsb::OperationKind::kUpdate)];
  const int64_t start_ns = MonotonicNs();
  client.Do(options.operations, &stats.latency_ns);
  result.elapsed_ns = MonotonicNs() - start_ns;
  result.operations = stats.ok = options.operations;
  return result;
}

}  // namespace whale::bench::floor

// The floor's primary: one turn takes what has come, copies it thrice, answers.
//
// Thread-safety: none. Ownership: options and memory outlive it.
#ifndef WHALE_BENCH_FLOOR_PRIMARY_H_
#define WHALE_BENCH_FLOOR_PRIMARY_H_

#include <libpmem.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "bench/floor/floor.h"

namespace whale::bench::floor {

class Primary {
 public:
  // As many requests as a server takes per turn.
  static constexpr uint64_t kBatch = 128;

  Primary(const FloorOptions& options, Shared* shared)
      : options_(options), shared_(*shared) {}

  bool HasRequest() const {
    return shared_.request(next_)->sequence.load(std::memory_order_acquire) ==
           next_ + 1;
  }

  bool Turn() {
    const uint64_t first = next_;
    const uint64_t begin = MakeRoom();
    while (next_ - first < kBatch && HasRequest()) {
      std::memcpy(shared_.logs[0] + end_, shared_.request(next_)->value(),
                  options_.value_bytes);
      end_ += shared_.record_bytes;
      ++next_;
    }
    if (next_ == first) return false;
    for (uint32_t b = 0; b < options_.backups; ++b) Deliver(b, begin);
    if (options_.write_back) {
      pmem_flush(shared_.logs[0] + begin, end_ - begin);
      pmem_drain();
    }
    for (uint64_t n = first; n < next_; ++n) {
      ReplySlot* reply = shared_.reply(n);
      reply->log_offset = begin + (n - first) * shared_.record_bytes;
      reply->sequence.store(n + 1, std::memory_order_release);
    }
    shared_.client.Ring();
    return true;
  }

 private:
  // A batch lies in one piece. Returns where it begins.
  uint64_t MakeRoom() {
    if (end_ + kBatch * shared_.record_bytes > options_.log_bytes) end_ = 0;
    return end_;
  }

  void Deliver(uint32_t backup, uint64_t begin) {
    std::byte* log = shared_.logs[1 + backup];
    std::memcpy(log + begin, shared_.logs[0] + begin, end_ - begin);
    Cell& cell = shared_.cells[backup];
    cell.end = end_;
    std::fill(std::begin(cell.rest), std::end(cell.rest), end_);
    cell.sequence.store(next_, std::memory_order_release);
    if (!options_.write_back) return;
    pmem_flush(log + begin, end_ - begin);
    pmem_flush(&cell, sizeof(cell));
  }

  const FloorOptions& options_;
  Shared& shared_;
  uint64_t next_ = 0;  // request
  uint64_t end_ = 0;   // of the logs
};

}  // namespace whale::bench::floor

#endif  // WHALE_BENCH_FLOOR_PRIMARY_H_

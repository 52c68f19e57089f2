// What the stages of a put and a get cost a server: counts of all, and the
// durations of one in kSampleEvery, always on.
//
// Durations are taken from the processor's cycle counter and kept in a fixed
// log-linear histogram: no allocation, lock or system call; an occurrence that
// is not sampled costs an increment and a test. Cycle counts say nothing to the
// protocol: nothing may depend on them.
//
// Thread-safety: none; one per worker. Who else wants to know takes a summary
// on the worker's thread.
#ifndef WHALE_COMMON_STAGE_COSTS_H_
#define WHALE_COMMON_STAGE_COSTS_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/cycle_count.h"

namespace whale {

enum class Stage : uint8_t {
  kQueue,     // request: from the poll that brought it until it is worked on
  kAppend,    // write: decided, and copied into the log
  kPersist,   // batch: made durable in the primary's own memory
  kPost,      // batch: planned and posted to one backup
  kDelivery,  // batch: from post until its completion was taken up (elapsed)
  kCommit,    // turn: watermark moved, commit cell stored, records applied,
              // answers let go (their kReply is inside)
  kLookup,    // get: looked up and answered (its kReply is inside)
  kReply,     // answer to a client: composed and sent
  kAnnounce,  // turn of a backup: what was delivered is checked and pending
  kApply,     // turn of a backup: committed records moved to the index
  kForward,   // batch: planned and posted to the successor
};
inline constexpr size_t kStages = 11;

inline constexpr std::array<std::string_view, kStages> kStageNames = {
    "queue",  "append", "persist",  "post",  "delivery", "commit",
    "lookup", "reply",  "announce", "apply", "forward"};

class StageCosts {
 public:
  static constexpr uint64_t kSampleEvery = 64;

  // In cycles; percentiles are at most an eighth too large.
  struct Summary {
    uint64_t count = 0, samples = 0;
    double mean = 0;
    uint64_t p50 = 0, p99 = 0, max = 0;
  };

  // Off: nothing is counted.
  void set_enabled(bool enabled) { enabled_ = enabled; }
  bool enabled() const { return enabled_; }

  // Counts one occurrence; true: time it, and Add.
  bool Count(Stage stage) {
    return enabled_ && (counts_[Number(stage)]++ & (kSampleEvery - 1)) == 0;
  }
  void Add(Stage stage, uint64_t cycles) {
    Durations& d = durations_[Number(stage)];
    ++d.buckets[BucketOf(cycles)];
    ++d.samples;
    d.sum += cycles;
    d.max = std::max(d.max, cycles);
  }

  Summary Summarize(Stage stage) const {
    const Durations& d = durations_[Number(stage)];
    Summary summary{
        .count = counts_[Number(stage)], .samples = d.samples, .max = d.max};
    if (d.samples == 0) return summary;
    summary.mean = static_cast<double>(d.sum) / static_cast<double>(d.samples);
    summary.p50 = std::min(d.max, AtRank(d, (d.samples + 1) / 2));
    summary.p99 = std::min(d.max, AtRank(d, d.samples - d.samples / 100));
    return summary;
  }

 private:
  // Every power of two is divided into 8 equal parts.
  static constexpr int kPartBits = 3;
  static constexpr uint64_t kParts = uint64_t{1} << kPartBits;
  static constexpr size_t kBuckets = (48 - kPartBits) * kParts;

  struct Durations {
    std::array<uint32_t, kBuckets> buckets{};
    uint64_t samples = 0, sum = 0, max = 0;
  };

  static size_t Number(Stage stage) { return static_cast<size_t>(stage); }
  static size_t BucketOf(uint64_t cycles) {
    if (cycles < kParts) return cycles;
    const int shift = std::bit_width(cycles) - 1 - kPartBits;
    const size_t bucket =
        (static_cast<size_t>(shift) + 1) * kParts + (cycles >> shift) - kParts;
    return std::min(bucket, kBuckets - 1);
  }
  static uint64_t BucketMax(size_t bucket) {
    if (bucket < kParts) return bucket;
    const size_t shift = bucket / kParts - 1;
    return ((bucket % kParts + kParts + 1) << shift) - 1;
  }
  static uint64_t AtRank(const Durations& d, uint64_t rank) {
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += d.buckets[i];
      if (seen >= rank) return BucketMax(i);
    }
    return d.max;
  }

  bool enabled_ = false;
  std::array<uint64_t, kStages> counts_{};
  std::array<Durations, kStages> durations_{};
};

// Times one stage from here to the end of the scope, if it is sampled.
class StageTimer {
 public:
  StageTimer(StageCosts* costs, Stage stage)
      : costs_(costs->Count(stage) ? costs : nullptr), stage_(stage) {
    if (costs_ != nullptr) begin_ = CycleCount();
  }
  ~StageTimer() {
    if (costs_ != nullptr) costs_->Add(stage_, CycleCount() - begin_);
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  StageCosts* const costs_;
  const Stage stage_;
  uint64_t begin_ = 0;
};

}  // namespace whale

#endif  // WHALE_COMMON_STAGE_COSTS_H_

// Latencies in fixed memory, with a bounded relative error.
//
// Log-linear buckets, as in HdrHistogram: every power of two is divided into
// 128 equal parts, so a reported value is at most 0.8 % above the recorded
// one. Values beyond the last bucket (73 minutes, in nanoseconds) count there;
// the maximum is exact all the same.
//
// Thread-safety: none; record per thread and Merge.
#ifndef WHALE_BENCH_HISTOGRAM_H_
#define WHALE_BENCH_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace whale::bench {

class Histogram {
 public:
  static constexpr int kPartBits = 7;
  static constexpr uint64_t kParts = uint64_t{1} << kPartBits;
  static constexpr int kValueBits = 42;
  static constexpr size_t kBuckets = (kValueBits - kPartBits + 1) * kParts;

  void Record(uint64_t value);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  // 0 when nothing was recorded.
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double Mean() const;
  // Smallest reported value that at least `percent` of the recorded ones do
  // not exceed. REQUIRES: 0 <= percent <= 100.
  uint64_t Percentile(double percent) const;

  // For sending a histogram elsewhere: every bucket that is not empty, and what
  // buckets do not tell.
  struct Sparse {
    std::vector<std::pair<uint32_t, uint64_t>> buckets;  // bucket, count
    uint64_t min = 0, max = 0;
    double sum = 0;
  };
  Sparse ToSparse() const;
  // Buckets that do not exist are left out.
  static Histogram FromSparse(const Sparse& sparse);

  // Which bucket a value falls into, and the largest value of a bucket.
  static size_t BucketOf(uint64_t value);
  static uint64_t BucketMax(size_t bucket);

 private:
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace whale::bench

#endif  // WHALE_BENCH_HISTOGRAM_H_

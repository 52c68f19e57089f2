#include "bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/check.h"

namespace whale::bench {

size_t Histogram::BucketOf(uint64_t value) {
  constexpr uint64_t kLargest = (uint64_t{1} << kValueBits) - 1;
  value = std::min(value, kLargest);
  if (value < kParts) return value;
  const int shift = std::bit_width(value) - 1 - kPartBits;
  return (static_cast<size_t>(shift) + 1) * kParts +
         ((value >> shift) - kParts);
}

uint64_t Histogram::BucketMax(size_t bucket) {
  WHALE_CHECK(bucket < kBuckets);
  if (bucket < kParts) return bucket;
  const uint64_t shift = bucket / kParts - 1;
  return ((bucket % kParts + kParts + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value) {
  ++buckets_[BucketOf(value)];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

Histogram::Sparse Histogram::ToSparse() const {
  Sparse sparse{.min = min(), .max = max_, .sum = sum_};
  for (uint32_t i = 0; i < kBuckets; ++i) {
    if (buckets_[i] > 0) sparse.buckets.emplace_back(i, buckets_[i]);
  }
  return sparse;
}

Histogram Histogram::FromSparse(const Sparse& sparse) {
  Histogram histogram;
  for (const auto& [bucket, count] : sparse.buckets) {
    if (bucket >= kBuckets) continue;
    histogram.buckets_[bucket] = count;
    histogram.count_ += count;
  }
  if (histogram.count_ == 0) return histogram;
  histogram.min_ = sparse.min;
  histogram.max_ = sparse.max;
  histogram.sum_ = sparse.sum;
  return histogram;
}

double Histogram::Mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

uint64_t Histogram::Percentile(double percent) const {
  WHALE_CHECK(percent >= 0 && percent <= 100);
  if (count_ == 0) return 0;
  const double exact = percent / 100 * static_cast<double>(count_);
  const uint64_t wanted =
      std::clamp<uint64_t>(std::llround(std::ceil(exact)), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) {
      // The last bucket is open at the top; the maximum is known exactly.
      return i == kBuckets - 1 ? max_ : std::min(BucketMax(i), max_);
    }
  }
  return max_;
}

}  // namespace whale::bench

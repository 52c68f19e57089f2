#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/prng.h"

namespace whale::bench {
namespace {

TEST(Histogram, EmptySaysZero) {
  Histogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.min(), 0u);
  EXPECT_EQ(h.max(), 0u);
  EXPECT_EQ(h.Mean(), 0);
  EXPECT_EQ(h.Percentile(99), 0u);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (uint64_t v = 1; v <= 100; ++v) h.Record(v);
  EXPECT_EQ(h.Percentile(0), 1u);
  EXPECT_EQ(h.Percentile(50), 50u);
  EXPECT_EQ(h.Percentile(99), 99u);
  EXPECT_EQ(h.Percentile(100), 100u);
  EXPECT_DOUBLE_EQ(h.Mean(), 50.5);
}

TEST(Histogram, BucketsCoverEveryValueOnceAndAscend) {
  uint64_t begin = 0;
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    const uint64_t end = Histogram::BucketMax(i);
    ASSERT_GE(end, begin);
    EXPECT_EQ(Histogram::BucketOf(begin), i);
    EXPECT_EQ(Histogram::BucketOf(end), i);
    begin = end + 1;
  }
  EXPECT_EQ(begin, uint64_t{1} << Histogram::kValueBits);
}

TEST(Histogram, HugeValuesCountInTheLastBucketWithAnExactMaximum) {
  Histogram h;
  h.Record(UINT64_MAX);
  EXPECT_EQ(h.Percentile(50), UINT64_MAX);
  EXPECT_EQ(h.max(), UINT64_MAX);
}

TEST(Histogram, PercentilesAreWithinOnePercentOfTheSortedValues) {
  Prng prng(7);
  Histogram h;
  std::vector<uint64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    // Six decades, as latencies have.
    const uint64_t v =
        static_cast<uint64_t>(std::exp(prng.NextDouble() * std::log(1e9)));
    values.push_back(v);
    h.Record(v);
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {50.0, 95.0, 99.0, 99.9}) {
    const double exact =
        values[static_cast<size_t>(percent / 100 * values.size()) - 1];
    const double got = h.Percentile(percent);
    EXPECT_GE(got, exact);
    EXPECT_LE(got, exact * 1.01 + 1) << percent;
  }
  EXPECT_EQ(h.max(), values.back());
  EXPECT_EQ(h.min(), values.front());
}

TEST(Histogram, MergeIsTheSameAsRecordingEverythingInOne) {
  Prng prng(3);
  Histogram all, left, right;
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t v = prng.Below(1'000'000);
    all.Record(v);
    (i % 3 == 0 ? left : right).Record(v);
  }
  left.Merge(right);
  EXPECT_EQ(left.count(), all.count());
  EXPECT_EQ(left.min(), all.min());
  EXPECT_EQ(left.max(), all.max());
  EXPECT_DOUBLE_EQ(left.Mean(), all.Mean());
  for (int p = 0; p <= 100; ++p) {
    EXPECT_EQ(left.Percentile(p), all.Percentile(p));
  }
}

}  // namespace
}  // namespace whale::bench

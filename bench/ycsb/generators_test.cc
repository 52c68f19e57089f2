#include "bench/ycsb/generators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace whale::bench::ycsb {
namespace {

constexpr int kDraws = 400'000;

TEST(FnvHash64, IsFnv1aOfTheBytesMadePositive) {
  // FNV-1a of eight zero bytes, as signed, is 0xa8c7f832281a39c5.
  EXPECT_EQ(FnvHash64(0), 0 - uint64_t{0xa8c7f832281a39c5});
  EXPECT_EQ(FnvHash64(1), uint64_t{8517097267634966620});
}

TEST(KeyName, IsWhatYcsbCallsTheFirstRecords) {
  EXPECT_EQ(KeyName(0), "user6284781860667377211");
  EXPECT_EQ(KeyName(1), "user8517097267634966620");
  EXPECT_EQ(KeyName(2), "user1820151046732198393");
}

TEST(Zipfian, FollowsThePowerLaw) {
  constexpr uint64_t kItems = 1000;
  const Zipfian zipfian(kItems);
  Prng prng(1);
  std::vector<int> hits(kItems);
  for (int i = 0; i < kDraws; ++i) ++hits.at(zipfian.Next(prng));
  double zeta = 0;
  for (uint64_t i = 1; i <= kItems; ++i) zeta += std::pow(i, -0.99);
  // The first two are exact in the algorithm, the others approximate.
  for (const uint64_t i : {0, 1}) {
    const double expected = kDraws * std::pow(i + 1, -0.99) / zeta;
    EXPECT_NEAR(hits[i], expected, 5 * std::sqrt(expected)) << i;
  }
  double tail = 0, expected_tail = 0;
  for (uint64_t i = 100; i < kItems; ++i) {
    tail += hits[i];
    expected_tail += kDraws * std::pow(i + 1, -0.99) / zeta;
  }
  EXPECT_NEAR(tail, expected_tail, 0.05 * expected_tail);
}

TEST(Zipfian, StaysInRangeForTheSmallestCounts) {
  Prng prng(2);
  for (const uint64_t items : {1, 2, 3}) {
    const Zipfian zipfian(items);
    std::vector<int> hits(items);
    for (int i = 0; i < 10'000; ++i) ++hits.at(zipfian.Next(prng));
    for (const int h : hits) EXPECT_GT(h, 0) << items;
  }
}

TEST(Zipfian, GrownIsTheSameAsMadeLarger) {
  Zipfian grown(100);
  grown.Grow(5000);
  const Zipfian large(5000);
  Prng a(3), b(3);
  int different = 0;
  for (int i = 0; i < 10'000; ++i) different += grown.Next(a) != large.Next(b);
  EXPECT_LE(different, 1);  // the sums differ in the last bits
}

TEST(ScrambledZipfian, PopularityIsSkewedAndSpread) {
  constexpr uint64_t kItems = 10'000;
  const ScrambledZipfian scrambled(kItems);
  Prng prng(4);
  std::vector<int> hits(kItems);
  for (int i = 0; i < kDraws; ++i) ++hits.at(scrambled.Next(prng));
  // The most popular value takes 1 / zeta of all draws, at the place its hash
  // gives it.
  const auto top = std::max_element(hits.begin(), hits.end());
  EXPECT_EQ(static_cast<uint64_t>(top - hits.begin()), FnvHash64(0) % kItems);
  EXPECT_NEAR(*top, kDraws / 26.469, 0.05 * kDraws / 26.469);
  // Both halves of the key space are used about alike.
  int low = 0;
  for (uint64_t i = 0; i < kItems / 2; ++i) low += hits[i];
  EXPECT_GT(low, kDraws * 3 / 10);
  EXPECT_LT(low, kDraws * 7 / 10);
}

TEST(Latest, FavoursTheNewestAndFollowsInserts) {
  Latest latest(1000);
  Prng prng(5);
  for (const uint64_t items : {1000, 1200, 5000}) {
    int newest = 0;
    for (int i = 0; i < 100'000; ++i) {
      const uint64_t n = latest.Next(prng, items);
      ASSERT_LT(n, items);
      newest += n == items - 1;
    }
    EXPECT_GT(newest, 9'000) << items;
  }
}

TEST(Generators, TheSameSeedGivesTheSameSequence) {
  const ScrambledZipfian scrambled(1000);
  Prng a(9), b(9), c(10);
  int same_as_other_seed = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = scrambled.Next(a);
    EXPECT_EQ(x, scrambled.Next(b));
    same_as_other_seed += x == scrambled.Next(c);
  }
  EXPECT_LT(same_as_other_seed, 500);
}

}  // namespace
}  // namespace whale::bench::ycsb

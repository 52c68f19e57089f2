#include "bench/ycsb/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace whale::bench::ycsb {
namespace {

std::array<double, kOperationKinds> Shares(const Workload& workload) {
  InsertSequence sequence(1000);
  Chooser chooser(workload, &sequence, 1);
  std::array<double, kOperationKinds> shares{};
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    shares[static_cast<int>(chooser.NextKind())] += 1.0 / kDraws;
  }
  return shares;
}

void ExpectShares(std::string_view name, double read, double update,
                  double insert, double modify) {
  const auto workload = WorkloadByName(name);
  ASSERT_TRUE(workload.ok()) << workload.status();
  const auto shares = Shares(*workload);
  EXPECT_NEAR(shares[0], read, 0.01) << name;
  EXPECT_NEAR(shares[1], update, 0.01) << name;
  EXPECT_NEAR(shares[2], insert, 0.01) << name;
  EXPECT_NEAR(shares[3], modify, 0.01) << name;
}

TEST(Workload, MixesAreYcsbs) {
  ExpectShares("a", 0.5, 0.5, 0, 0);
  ExpectShares("b", 0.95, 0.05, 0, 0);
  ExpectShares("C", 1, 0, 0, 0);
  ExpectShares("d", 0.95, 0, 0.05, 0);
  ExpectShares("f", 0.5, 0, 0, 0.5);
  ExpectShares("w", 0, 1, 0, 0);
  EXPECT_EQ(WorkloadByName("d")->distribution, Distribution::kLatest);
  EXPECT_EQ(WorkloadByName("f")->distribution, Distribution::kZipfian);
}

TEST(Workload, ScansAreRefusedWithTheReason) {
  const auto workload = WorkloadByName("e");
  EXPECT_EQ(workload.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(workload.status().message()),
              testing::HasSubstr("scans"));
}

TEST(Workload, UnknownNamesAreRefused) {
  for (const char* name : {"", "g", "aa", "1"}) {
    EXPECT_EQ(WorkloadByName(name).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(ParseDistribution("zipf").ok());
  EXPECT_EQ(*ParseDistribution("uniform"), Distribution::kUniform);
}

TEST(InsertSequence, OnlyWhatIsContiguousCountsAsStored) {
  InsertSequence sequence(10);
  EXPECT_EQ(sequence.Next(), 10u);
  EXPECT_EQ(sequence.Next(), 11u);
  EXPECT_EQ(sequence.Next(), 12u);
  sequence.Stored(11);
  EXPECT_EQ(sequence.stored(), 10u);
  sequence.Stored(10);
  EXPECT_EQ(sequence.stored(), 12u);
  sequence.Stored(12);
  EXPECT_EQ(sequence.stored(), 13u);
}

TEST(InsertSequence, ProcessesTakeTurnsInNumbers) {
  InsertSequence first(10, 0, 2), second(10, 1, 2);
  EXPECT_EQ(first.NumberOf(first.Next()), 10u);
  EXPECT_EQ(second.NumberOf(second.Next()), 11u);
  EXPECT_EQ(first.NumberOf(first.Next()), 12u);
  EXPECT_EQ(first.NumberOf(9), 9u);
}

TEST(InsertSequence, ManyThreadsStoreEveryNumberOnce) {
  InsertSequence sequence(1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&sequence] {
      for (int i = 0; i < 5000; ++i) sequence.Stored(sequence.Next());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sequence.stored(), 20'001u);
}

TEST(Chooser, RecordsAreStoredOnes) {
  for (const Distribution distribution :
       {Distribution::kZipfian, Distribution::kLatest,
        Distribution::kUniform}) {
    Workload workload = *WorkloadByName("a");
    workload.distribution = distribution;
    InsertSequence sequence(3);
    Chooser chooser(workload, &sequence, 2);
    std::array<int, 3> hits{};
    for (int i = 0; i < 10'000; ++i) ++hits.at(chooser.NextRecord());
    for (const int h : hits) {
      EXPECT_GT(h, 0) << DistributionName(distribution);
    }
  }
}

}  // namespace
}  // namespace whale::bench::ycsb

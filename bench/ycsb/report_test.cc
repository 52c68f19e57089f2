#include "bench/ycsb/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace whale::bench::ycsb {
namespace {

using testing::HasSubstr;
using testing::Not;

PhaseResult Sample() {
  PhaseResult result;
  result.phase = Phase::kRun;
  result.elapsed_ns = 2'000'000'000;
  result.operations = 101;
  OperationStats& reads = result.kinds[static_cast<int>(OperationKind::kRead)];
  for (int i = 1; i <= 100; ++i) reads.latency_ns.Record(1000);
  reads.ok = 99;
  reads.not_found = 1;
  reads.failed = 1;
  result.errors["UNAVAILABLE"] = "because \xff";
  result.series.resize(2);
  result.series[1].Record(1000);
  return result;
}

TEST(Report, TextIsYcsbs) {
  const std::string text = TextSummary(Sample());
  EXPECT_THAT(text, HasSubstr("[OVERALL], RunTime(ms), 2000\n"));
  EXPECT_THAT(text, HasSubstr("[OVERALL], Throughput(ops/sec), 50.50\n"));
  EXPECT_THAT(text, HasSubstr("[READ], Operations, 101\n"));
  EXPECT_THAT(text, HasSubstr("[READ], 99thPercentileLatency(us), 1.00\n"));
  EXPECT_THAT(text, HasSubstr("[READ], Return=OK, 99\n"));
  EXPECT_THAT(text, HasSubstr("[READ], Return=NOT_FOUND, 1\n"));
  EXPECT_THAT(text, HasSubstr("[READ], Return=ERROR, 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("UPDATE")));
}

TEST(Report, JsonCarriesCircumstancesAndPercentiles) {
  RunOptions options{.workload = *WorkloadByName("b"), .records = 5};
  const auto json = nlohmann::json::parse(
      JsonReport(options, {Sample()}, {.commit = "abc", .fabric = "shm"}));
  EXPECT_EQ(json["workload"], "b");
  EXPECT_EQ(json["records"], 5);
  EXPECT_EQ(json["commit"], "abc");
  EXPECT_EQ(json["fabric"], "shm");
  EXPECT_EQ(json["policy"], "unknown");
  const auto& phase = json["phases"][0];
  EXPECT_EQ(phase["phase"], "run");
  EXPECT_EQ(phase["kinds"]["READ"]["ok"], 99);
  EXPECT_EQ(phase["kinds"]["READ"]["p99_9_us"], 1.0);
  EXPECT_FALSE(phase["kinds"].contains("UPDATE"));
  EXPECT_TRUE(phase["errors"].contains("UNAVAILABLE"));
  ASSERT_EQ(phase["series"].size(), 2u);
  EXPECT_EQ(phase["series"][1]["from_ms"], 1000.0);
  EXPECT_EQ(phase["series"][1]["operations"], 1);
  EXPECT_EQ(phase["series"][1]["p99_us"], 1.0);
}

TEST(Report, ProgressTellsRateAndTimeLeft) {
  EXPECT_EQ(
      ProgressLine({Phase::kLoad, 3'000'000'000, 300, 100, 500'000'000, 1300}),
      "load: 3 s, 300 of 1300 operations, 200 operations/s, 5 s to go");
  EXPECT_EQ(ProgressLine({Phase::kRun, 1'000'000'000, 0, 0, 1'000'000'000, 9}),
            "run: 1 s, 0 of 9 operations, 0 operations/s");
}

}  // namespace
}  // namespace whale::bench::ycsb

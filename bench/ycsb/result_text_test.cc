#include "bench/ycsb/result_text.h"

#include <gtest/gtest.h>

namespace whale::bench::ycsb {
namespace {

TEST(ResultText, ComesBackAsItWas) {
  PhaseResult result;
  result.phase = Phase::kLoad;
  result.elapsed_ns = 12345;
  result.operations = 3;
  result.gave_up = true;
  result.errors["UNAVAILABLE"] = "two\nlines";
  OperationStats& reads = result.kinds[static_cast<int>(OperationKind::kRead)];
  reads.ok = 2;
  reads.not_found = 1;
  reads.wrong_value = 7;
  for (const uint64_t ns : {100u, 2000u, 3'000'000u}) {
    reads.latency_ns.Record(ns);
  }
  result.series.resize(2);
  result.series[1].Record(77);

  const std::string text = ResultToText(result);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const auto back = ResultFromText(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->phase, Phase::kLoad);
  EXPECT_EQ(back->elapsed_ns, 12345);
  EXPECT_EQ(back->operations, 3u);
  EXPECT_TRUE(back->gave_up);
  EXPECT_EQ(back->errors, result.errors);
  const OperationStats& got = back->of(OperationKind::kRead);
  EXPECT_EQ(got.ok, 2u);
  EXPECT_EQ(got.not_found, 1u);
  EXPECT_EQ(got.wrong_value, 7u);
  EXPECT_EQ(got.latency_ns.count(), 3u);
  EXPECT_EQ(got.latency_ns.min(), 100u);
  EXPECT_EQ(got.latency_ns.max(), 3'000'000u);
  EXPECT_EQ(got.latency_ns.Percentile(50), reads.latency_ns.Percentile(50));
  EXPECT_DOUBLE_EQ(got.latency_ns.Mean(), reads.latency_ns.Mean());
  ASSERT_EQ(back->series.size(), 2u);
  EXPECT_EQ(back->series[0].count(), 0u);
  EXPECT_EQ(back->series[1].max(), 77u);
}

TEST(ResultText, WhatIsNoResultIsRefused) {
  for (const char* text : {"", "{", "[]", "{}", R"({"phase":"x"})",
                           R"({"phase":0,"elapsed_ns":1,"operations":1,)"
                           R"("gave_up":false,"errors":{},"kinds":[]})"}) {
    EXPECT_FALSE(ResultFromText(text).ok()) << text;
  }
}

}  // namespace
}  // namespace whale::bench::ycsb

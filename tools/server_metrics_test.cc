#include "tools/server_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace whale::tools {
namespace {

using testing::HasSubstr;

Snapshot Sample() {
  Snapshot snapshot;
  snapshot.counters.puts = 5;
  snapshot.counters.refused_pool = 2;
  snapshot.report.set_server_id(3);
  snapshot.report.set_fabric("shm");
  snapshot.report.set_free_segments(40);
  proto::StageReport* stage = snapshot.report.add_stages();
  stage->set_stage("append");
  stage->set_count(2000);
  stage->set_mean_ns(500);
  stage->set_p99_ns(2000);
  for (const uint32_t id : {0, 7}) {
    proto::ShardReport* shard = snapshot.report.add_shards();
    shard->set_shard(id);
    shard->set_phase(proto::SHARD_ACTIVE);
    shard->set_has_lease(true);
    shard->set_lag_bytes(100 + id);
  }
  return snapshot;
}

TEST(MetricsText, IsPrometheusText) {
  const std::string text = MetricsText(Sample());
  EXPECT_THAT(text, HasSubstr("# TYPE whale_requests_total counter\n"));
  EXPECT_THAT(text, HasSubstr("whale_requests_total{type=\"put\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("whale_refused_total{reason=\"pool\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("whale_pool_free_segments 40\n"));
  EXPECT_THAT(text, HasSubstr("whale_shard_lag_bytes{shard=\"0\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("whale_shard_lag_bytes{shard=\"7\"} 107\n"));
  EXPECT_THAT(text, HasSubstr("whale_shard_active{shard=\"7\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("whale_stage_seconds_count{stage=\"append\"} 2000\n"));
  EXPECT_THAT(text,
              HasSubstr("whale_stage_seconds_sum{stage=\"append\"} 0.001\n"));
}

TEST(WhyNotReady, NamesTheFirstThingMissing) {
  Snapshot snapshot = Sample();
  EXPECT_EQ(WhyNotReady(snapshot.report), "");
  snapshot.report.mutable_shards(1)->set_has_lease(false);
  EXPECT_EQ(WhyNotReady(snapshot.report), "shard 7 has no lease");
  snapshot.report.mutable_shards(0)->set_phase(proto::SHARD_RECOVERED);
  EXPECT_THAT(WhyNotReady(snapshot.report), HasSubstr("shard 0"));
  snapshot.report.clear_shards();
  EXPECT_THAT(WhyNotReady(snapshot.report), HasSubstr("no shard"));
  snapshot.report.set_note("full");
  EXPECT_EQ(WhyNotReady(snapshot.report), "full");
}

}  // namespace
}  // namespace whale::tools

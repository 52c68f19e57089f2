#include "tools/status_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace whale::tools {
namespace {

using testing::HasSubstr;

// Two servers, one shard; server 2 has never reported.
proto::ClusterStatus Sample() {
  proto::ClusterStatus status;
  status.set_survives("process");
  status.set_coordinator("whale 0.1.0 on file:/x");
  proto::ClusterMap* map = status.mutable_map();
  map->set_cluster_uuid(std::string(16, '\x11'));
  for (const uint32_t id : {1, 2}) {
    proto::ServerEntry* server = map->add_servers();
    server->set_server_id(id);
    server->set_alive(id == 1);
    server->set_fabric("shm");
  }
  proto::ShardEntry* shard = map->add_shards();
  shard->set_epoch(4);
  shard->add_members(1);
  shard->add_members(2);
  shard->set_why_not("server 2 is away");
  shard->mutable_policy()->set_mirrors(1);
  proto::ServerReport* report = status.add_reports();
  report->set_server_id(1);
  report->set_domain("shm");
  status.add_report_age_us(1500);
  proto::ShardReport* replica = report->add_shards();
  replica->set_phase(proto::SHARD_ACTIVE);
  replica->set_epoch(4);
  replica->set_committed(8388608);
  replica->set_lag_bytes(2048);
  replica->set_lag_us(1700);
  return status;
}

TEST(StatusText, ShowsServersReplicasAndWhyAShardDoesNotServe) {
  const std::string text = StatusText(Sample());
  EXPECT_THAT(text, HasSubstr("shard 0 does not serve: server 2 is away"));
  EXPECT_THAT(text, HasSubstr("not of the machine (process)"));
  EXPECT_THAT(text, HasSubstr("1.5 ms ago"));
  EXPECT_THAT(text, HasSubstr("primary"));
  EXPECT_THAT(text, HasSubstr("active"));
  EXPECT_THAT(text, HasSubstr("2.0 KiB"));
  EXPECT_THAT(text, HasSubstr("never"));
  EXPECT_THAT(text, HasSubstr("unknown"));
}

TEST(StatusText, JsonHasTheSame) {
  const auto json = nlohmann::json::parse(StatusJson(Sample()));
  EXPECT_EQ(json["survives"], "process");
  EXPECT_EQ(json["all_active"], false);
  EXPECT_EQ(json["servers"][0]["alive"], true);
  const auto& replicas = json["shards"][0]["replicas"];
  EXPECT_EQ(replicas[0]["role"], "primary");
  EXPECT_EQ(replicas[0]["state"], "active");
  EXPECT_EQ(replicas[0]["committed"], 8388608);
  EXPECT_EQ(replicas[0]["lag_us"], 1700);
  EXPECT_EQ(replicas[1]["state"], "unknown");
}

TEST(StatusText, AnEmptyClusterIsNotFormedAndNotActive) {
  EXPECT_THAT(StatusText({}), HasSubstr("not formed yet"));
  EXPECT_FALSE(AllActive({}));
}

TEST(StagesText, ShowsTheStagesThatHappened) {
  proto::ClusterStatus status = Sample();
  for (const char* name : {"append", "forward"}) {
    proto::StageReport* stage = status.mutable_reports(0)->add_stages();
    stage->set_stage(name);
  }
  proto::StageReport* append = status.mutable_reports(0)->mutable_stages(0);
  append->set_count(6400);
  append->set_samples(100);
  append->set_mean_ns(500);
  append->set_p99_ns(1234);
  const std::string text = StagesText(status);
  EXPECT_THAT(text, HasSubstr("1       append  6400   100    500"));
  EXPECT_THAT(text, HasSubstr("1234"));
  EXPECT_THAT(text, HasSubstr("3.2\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("forward")));
  const auto json = nlohmann::json::parse(StatusJson(status));
  EXPECT_EQ(json["servers"][0]["stages"]["append"]["samples"], 100);
}

TEST(RoleName, FollowsThePosition) {
  EXPECT_EQ(RoleName(0, 3, 1), "primary");
  EXPECT_EQ(RoleName(1, 3, 1), "mirror");
  EXPECT_EQ(RoleName(2, 3, 1), "tail");
  EXPECT_EQ(RoleName(1, 5, 0), "head");
  EXPECT_EQ(RoleName(2, 5, 0), "middle");
  EXPECT_EQ(RoleName(4, 5, 0), "tail");
  EXPECT_EQ(RoleName(2, 3, 2), "mirror");
}

TEST(Human, RoundsToOneDigit) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanTime(999), "999 us");
  EXPECT_EQ(HumanTime(2'500'000), "2.5 s");
}

}  // namespace
}  // namespace whale::tools

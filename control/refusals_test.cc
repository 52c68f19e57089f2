// Who may not join, and what the operator is told.

#include "control/refusals.h"

#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ClusterOptions OneShard() {
  ClusterOptions options;
  options.shard_count = 1;
  return options;
}

// A cluster that is formed, and a stranger that tries to join it.
class Refusals : public ::testing::Test {
 protected:
  Refusals() : cluster_(OneShard()) { cluster_.Form(); }

  // What a process that reports like server 2, but for `change`, is told.
  template <typename Change>
  std::string Told(Change change) {
    FakeServer stranger(2, 9999);
    stranger.base.set_cluster_uuid(cluster_.stored().cluster_uuid());
    stranger.base.set_shard_count(1);
    change(stranger.base);
    cluster_.Kill(2);
    cluster_.Settle();
    Effects effects;
    cluster_.core().OnReport(stranger.Report(), cluster_.now_ns, &effects);
    for (const SendDirective& send : effects.directives) {
      if (send.incarnation == Incarnation(9999)) {
        return send.directive.refused();
      }
    }
    return "no answer";
  }

  FakeCluster cluster_;
};

TEST_F(Refusals, NoneWithoutCause) {
  EXPECT_EQ(Told([](proto::ServerReport&) {}), "");
}

TEST_F(Refusals, OtherProtocolVersion) {
  EXPECT_THAT(Told([](auto& r) { r.set_protocol_version(77); }),
              AllOf(HasSubstr("version 77"), HasSubstr("install the same")));
}

TEST_F(Refusals, OtherCluster) {
  EXPECT_THAT(Told([](auto& r) { r.set_cluster_uuid("fedcba9876543210"); }),
              AllOf(HasSubstr("66656463-6261-3938-3736-353433323130"),
                    HasSubstr("check the pool's path")));
}

TEST_F(Refusals, UnknownServer) {
  EXPECT_THAT(Told([](auto& r) { r.set_server_id(9); }),
              HasSubstr("server id 9 is not in this cluster"));
  EXPECT_THAT(Told([](auto& r) { r.set_server_id(0); }),
              HasSubstr("server id 0 is not in this cluster"));
}

TEST_F(Refusals, OtherFabricThanAServerThatIsThere) {
  const auto on_verbs = [](auto& r) { r.set_fabric("verbs"); };
  EXPECT_THAT(Told(on_verbs),
              AllOf(HasSubstr("server 2 uses the fabric verbs, server 1 shm"),
                    HasSubstr("the same --fabric")));
  // Nobody is left who uses another.
  cluster_.Kill(1);
  cluster_.Kill(3);
  EXPECT_EQ(Told(on_verbs), "");
}

TEST_F(Refusals, OtherGeometry) {
  EXPECT_THAT(Told([](auto& r) { r.set_segment_bytes(16 << 20); }),
              HasSubstr("segments of 16777216 bytes"));
  EXPECT_THAT(Told([](auto& r) { r.set_ring_slots(128); }),
              AllOf(HasSubstr("128 slots"), HasSubstr("the cluster 64")));
  EXPECT_THAT(Told([](auto& r) { r.set_shard_count(64); }),
              HasSubstr("formatted for 64 shards"));
}

TEST_F(Refusals, MalformedReports) {
  EXPECT_THAT(Told([](auto& r) { r.set_pool_uuid("short"); }),
              HasSubstr("malformed"));
  EXPECT_THAT(Told([](auto& r) { r.set_cluster_uuid("short"); }),
              HasSubstr("malformed"));
  EXPECT_THAT(Told([](auto& r) { r.add_shards()->set_shard(4'000'000); }),
              HasSubstr("shard 4000000 is out of range"));
  EXPECT_THAT(Told([](auto& r) {
                r.add_shards();
                r.add_shards();
              }),
              HasSubstr("named twice"));
}

TEST(RefusalsOfNewCluster, IdsSizesAndForeignPools) {
  ClusterOptions options = OneShard();
  options.segment_bytes = kTestSegmentBytes;
  FakeServer server(2, 1);
  EXPECT_EQ(WhyRefused(server.Report(), options, nullptr), "");
  server.base.set_segment_bytes(2 * kTestSegmentBytes);
  EXPECT_THAT(WhyRefused(server.Report(), options, nullptr),
              HasSubstr("wants 8388608"));
  server.base.set_segment_bytes(kTestSegmentBytes);
  server.base.set_cluster_uuid("fedcba9876543210");
  EXPECT_THAT(WhyRefused(server.Report(), options, nullptr),
              HasSubstr("configuration store is empty"));
  FakeServer fourth(4, 1);
  EXPECT_THAT(WhyRefused(fourth.Report(), options, nullptr),
              HasSubstr("its servers are 1 to 3"));
}

TEST(SecondProcess, WithTheSameIdIsRefusedOnceTheFirstProvesItLives) {
  FakeCluster cluster(OneShard());
  cluster.Form();
  FakeServer second(2, 9999);
  const auto told = [&] {
    Effects effects;
    cluster.core().OnReport(second.Report(), cluster.now_ns, &effects);
    std::string refused;
    for (const SendDirective& send : effects.directives) {
      if (send.incarnation == Incarnation(9999)) {
        refused = send.directive.refused();
      }
    }
    return refused;
  };
  EXPECT_EQ(told(), "");  // the first may be dead: not told anything yet
  cluster.Rounds(2);
  EXPECT_THAT(told(), HasSubstr("another process with server id 2"));
  EXPECT_TRUE(cluster.AllActive());
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(SecondProcess, TakesOverWhenTheFirstWasDead) {
  FakeCluster cluster(OneShard());
  cluster.Form();
  // The next process reports before the stream of the last is closed.
  const uint64_t old = cluster.server(2).incarnation();
  cluster.Start(2);
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 1u);
  Effects effects;
  cluster.core().OnServerGone(ServerId(2), Incarnation(old), cluster.now_ns,
                              &effects);
  cluster.Execute(std::move(effects));
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  EXPECT_TRUE(cluster.AllActive());
}

TEST(SecondProcess, TakesOverWhenTheFirstHasBeenSilentForItsLease) {
  FakeCluster cluster(OneShard());
  cluster.Form();
  cluster.Start(2);  // no stream was closed: its machine is gone
  cluster.Rounds(10);
  // The shard goes on without the first process, then takes the second in.
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 3u);
  EXPECT_EQ(cluster.stored_shard(0).members_size(), 3);
  EXPECT_TRUE(cluster.AllActive());
}

TEST(OldReport, IsIgnored) {
  FakeCluster cluster(OneShard());
  cluster.Form();
  const proto::ServerReport old = cluster.server(2).Report();
  cluster.Restart(3);
  cluster.Settle();
  ASSERT_EQ(cluster.stored_shard(0).epoch(), 2u);
  Effects effects;
  cluster.core().OnReport(old, cluster.now_ns, &effects);
  cluster.Execute(std::move(effects));
  cluster.Settle();
  EXPECT_EQ(cluster.stored_shard(0).epoch(), 2u);
  EXPECT_TRUE(cluster.AllActive());
}

}  // namespace
}  // namespace whale::control

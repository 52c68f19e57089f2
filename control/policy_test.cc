// What an operator may ask for, and what he is told otherwise.
#include "control/policy.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

// The message for options that differ from the defaults by `change`.
template <typename Change>
std::string Told(Change change) {
  ClusterOptions options;
  change(options);
  return std::string(CheckOptions(options).message());
}

TEST(CheckOptions, EachBoundIsNamed) {
  EXPECT_EQ(Told([](auto&) {}), "");
  EXPECT_THAT(Told([](auto& o) { o.replicas = 0; }),
              HasSubstr("replicas is 0"));
  EXPECT_THAT(Told([](auto& o) { o.replicas = kMaxReplicas + 1; }),
              HasSubstr("from 1 to 16"));
  EXPECT_THAT(Told([](auto& o) { o.shard_count = 0; }),
              HasSubstr("shard count is 0"));
  EXPECT_THAT(Told([](auto& o) { o.shard_count = kMaxShards + 1; }),
              HasSubstr("from 1 to 4096"));
  EXPECT_THAT(Told([](auto& o) { o.segment_bytes = kMinSegmentBytes - 1; }),
              HasSubstr("too small; at least 8388608"));
  EXPECT_THAT(Told([](auto& o) { o.primaries_on = 4; }),
              HasSubstr("server 4, but the servers are 1 to 3"));
  EXPECT_THAT(Told([](auto& o) { o.lease_us = kMinLeaseUs - 1; }),
              HasSubstr("lease is 99999 us"));
  EXPECT_THAT(Told([](auto& o) { o.lease_us = kMaxLeaseUs + 1; }),
              HasSubstr("(60 s)"));
  EXPECT_THAT(Told([](auto& o) { o.session_lease_us = 0; }),
              HasSubstr("session lease is 0 us"));
  EXPECT_THAT(Told([](auto& o) { o.window_bytes = kMinWindowBytes - 1; }),
              HasSubstr("at least 65536"));
  EXPECT_THAT(Told([](auto& o) { o.min_replicas = 4; }),
              HasSubstr("min_replicas is 4; it must be from 1 to 3"));
}

TEST(CheckPolicy, MoreMirrorsThanBackupsAreRefused) {
  proto::Policy policy = PolicyOf(ClusterOptions(), "shm");
  policy.set_mirrors(3);
  EXPECT_THAT(std::string(CheckPolicy(policy, 3).message()),
              HasSubstr("with 3 replicas it must be less than 3"));
}

TEST(Policy, DefaultsFollowTheFabricAndTheNumberOfReplicas) {
  ClusterOptions options;
  EXPECT_EQ(PolicyOf(options, "shm").by_value_max_bytes(), 4096u);
  EXPECT_EQ(PolicyOf(options, "verbs").by_value_max_bytes(), 256u);
  EXPECT_EQ(PolicyOf(options, "shm").min_replicas(), 2u);
  options.replicas = 1;
  EXPECT_EQ(PolicyOf(options, "shm").min_replicas(), 1u);
  EXPECT_EQ(PolicyOf(options, "shm").mirrors(), 0u);
}

TEST(Policy, ZerosThatMakeNoSenseStayAsTheyAre) {
  const proto::Policy current = PolicyOf(ClusterOptions(), "shm");
  proto::Policy wanted;
  wanted.set_mirrors(2);
  const proto::Policy policy = Completed(wanted, current);
  EXPECT_EQ(policy.mirrors(), 2u);
  EXPECT_EQ(policy.by_value_max_bytes(), 0u);  // a value that makes sense
  EXPECT_EQ(policy.window_bytes(), current.window_bytes());
  EXPECT_EQ(policy.lease_us(), current.lease_us());
  EXPECT_EQ(policy.session_lease_us(), current.session_lease_us());
  EXPECT_EQ(policy.min_replicas(), current.min_replicas());
  EXPECT_FALSE(SamePolicy(policy, current));
  EXPECT_TRUE(SamePolicy(current, Completed(current, policy)));
}

}  // namespace
}  // namespace whale::control

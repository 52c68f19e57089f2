#include "chain/forwarder.h"

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <string>

#include "metadata_mcast/test_replica.h"

namespace whale::chain {
namespace {

using fabric::Opcode;
using fabric::WorkRequest;
using metadata_mcast::NewestWhole;
using metadata_mcast::TestReplica;

constexpr Epoch kEpoch{1};
constexpr uint64_t kSegmentBytes = 1024 * 1024;

class ForwarderTest : public testing::Test {
 protected:
  ForwarderConfig Config() const {
    ForwarderConfig config;
    config.epoch = kEpoch;
    config.start = Lsn(kSegmentBytes);
    config.by_value_max_bytes = 256;
    config.chain_cells = successor_.GrantOf(successor_.area().chain_cells, 128);
    config.immediate = 9;
    return config;
  }
  Forwarder MakeForwarder(const ForwarderConfig& config) {
    Forwarder forwarder(config);
    forwarder.AddSegment(1, successor_.SegmentGrant(1));
    return forwarder;
  }
  std::span<const WorkRequest> Plan(Forwarder& forwarder, bool wake = false) {
    return {out_.data(), forwarder.Plan(log(), log().end(), out_.data(),
                                        out_.size(), 42, wake)};
  }
  Lsn Append(uint64_t value_bytes) {
    return predecessor_.Append(kEpoch, "key", std::string(value_bytes, 'v'));
  }
  logstore::Log& log() { return predecessor_.log(); }

  TestReplica predecessor_{kSegmentBytes};
  TestReplica successor_{kSegmentBytes};
  std::array<WorkRequest, 16> out_;
};

TEST_F(ForwarderTest, SendsOnlyWhatDidNotGoByValue) {
  Forwarder forwarder = MakeForwarder(Config());
  Append(10);
  const Lsn large = Append(1000);
  const uint64_t large_bytes = log().end() - large;
  Append(10);
  const auto batch = Plan(forwarder);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].local, log().At(large));
  EXPECT_EQ(batch[0].length_bytes, large_bytes);
  EXPECT_FALSE(batch[0].signaled);
  EXPECT_TRUE(batch[1].signaled);
  EXPECT_EQ(batch[1].cookie, 42u);
  EXPECT_EQ(forwarder.sent(), log().end());
}

TEST_F(ForwarderTest, NeighboursAreOneWriteAndTheCellComesLast) {
  Forwarder forwarder = MakeForwarder(Config());
  const Lsn first = Append(1000);
  Append(2000);
  const auto batch = Plan(forwarder);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].length_bytes, log().end() - first);
  successor_.Execute(batch[0]);
  EXPECT_FALSE(NewestWhole<ChainCell>(successor_.area().chain_cells, kEpoch));
  successor_.Execute(batch[1]);
  EXPECT_EQ(
      NewestWhole<ChainCell>(successor_.area().chain_cells, kEpoch)->sent_upto,
      log().end().value());
}

TEST_F(ForwarderTest, ASleepingSuccessorIsWokenByTheCell) {
  Forwarder forwarder = MakeForwarder(Config());
  Append(1000);
  const auto batch = Plan(forwarder, true);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].opcode, Opcode::kWrite);
  EXPECT_EQ(batch[1].opcode, Opcode::kWriteWithImm);
  EXPECT_EQ(batch[1].immediate, 9u);
}

TEST_F(ForwarderTest, WithNothingButByValueRecordsNothingIsSent) {
  Forwarder forwarder = MakeForwarder(Config());
  Append(10);
  EXPECT_EQ(Plan(forwarder).size(), 0u);
  EXPECT_EQ(forwarder.sent(), log().end());
  EXPECT_EQ(forwarder.acked(), log().end());
}

TEST_F(ForwarderTest, AMirrorNeedsNothing) {
  ForwarderConfig config = Config();
  config.by_value_max_bytes = metadata_mcast::kAllByValue;
  Forwarder forwarder = MakeForwarder(config);
  Append(1000);
  EXPECT_EQ(Plan(forwarder).size(), 0u);
  EXPECT_EQ(forwarder.sent(), log().end());
}

TEST_F(ForwarderTest, BatchesAreBoundedAndALargeRecordGoesAlone) {
  Forwarder forwarder = MakeForwarder(Config());
  const Lsn first = Append(40'000);
  const Lsn second = Append(40'000);
  const Lsn third = Append(300'000);
  const Lsn end = log().end();
  for (const Lsn upto : {second, third, end}) {
    const auto batch = Plan(forwarder);
    ASSERT_EQ(batch.size(), 2u);
    EXPECT_EQ(forwarder.sent(), upto);
  }
  EXPECT_EQ(forwarder.counters().records, 3u);
  EXPECT_EQ(forwarder.counters().bytes, end - first);
}

TEST_F(ForwarderTest, CompletionsAcknowledgeBatchesInOrder) {
  ForwarderConfig config = Config();
  config.max_in_flight = 2;
  Forwarder forwarder = MakeForwarder(config);
  Append(40'000);
  const Lsn second = Append(40'000);
  const Lsn third = Append(40'000);
  EXPECT_GT(Plan(forwarder).size(), 0u);
  EXPECT_GT(Plan(forwarder).size(), 0u);
  EXPECT_EQ(Plan(forwarder).size(), 0u);
  forwarder.OnCompletion();
  EXPECT_EQ(forwarder.acked(), second);
  EXPECT_GT(Plan(forwarder).size(), 0u);
  // A by-value record behind what is in flight is acknowledged with it.
  Append(10);
  EXPECT_EQ(Plan(forwarder).size(), 0u);
  forwarder.OnCompletion();
  EXPECT_EQ(forwarder.acked(), third);
  forwarder.OnCompletion();
  EXPECT_EQ(forwarder.acked(), log().end());
}

TEST_F(ForwarderTest, StopsBeforeASegmentThatWasNotGranted) {
  Forwarder forwarder = MakeForwarder(Config());
  while (log().SegmentOf(log().end()) == 1) Append(60'000);
  const Lsn second_segment = log().SegmentStart(2);
  while (Plan(forwarder).size() > 0) forwarder.OnCompletion();
  EXPECT_EQ(forwarder.sent(), second_segment);
  EXPECT_EQ(forwarder.blocked_on_segment(), 2u);
  successor_.AddSegment(2);
  forwarder.AddSegment(2, successor_.SegmentGrant(2));
  const auto batch = Plan(forwarder);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].remote_address, successor_.SegmentGrant(2).address);
  EXPECT_FALSE(forwarder.blocked_on_segment());
}

TEST_F(ForwarderTest, ASmallCapacityMakesSmallBatches) {
  Forwarder forwarder = MakeForwarder(Config());
  const Lsn begin = log().end();
  for (int i = 0; i < 3; ++i) {
    Append(1000);
    Append(10);
  }
  WorkRequest out[Forwarder::kMinCapacity];
  EXPECT_EQ(forwarder.Plan(log(), log().end(), out, Forwarder::kMinCapacity - 1,
                           0, false),
            0u);
  EXPECT_EQ(forwarder.sent(), begin);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(forwarder.Plan(log(), log().end(), out, Forwarder::kMinCapacity,
                             0, false),
              2u);
  }
  EXPECT_EQ(forwarder.sent(), log().end());
}

}  // namespace
}  // namespace whale::chain

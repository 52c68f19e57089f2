// What a batch consists of, and when the sender waits.
#include "metadata_mcast/delivery_sender.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/hash.h"
#include "logstore/metadata_record.h"
#include "logstore/missing.h"
#include "metadata_mcast/test_replica.h"

namespace whale::metadata_mcast {
namespace {

using fabric::FlushMethod;
using fabric::Opcode;
using fabric::WorkRequest;
using logstore::RecordHeader;

class DeliverySenderTest : public testing::Test {
 protected:
  static constexpr Epoch kEpoch{1};

  DeliveryConfig Config() const {
    DeliveryConfig config;
    config.epoch = kEpoch;
    config.start = Lsn(256 * 1024);
    config.by_value_max_bytes = 256;
    config.ring = backup_.RingGrant();
    config.ring_slots = backup_.ring_slots();
    config.delivery_cells = backup_.DeliveryGrant();
    return config;
  }
  DeliverySender MakeSender(const DeliveryConfig& config) {
    DeliverySender sender(config);
    sender.AddSegment(1, backup_.SegmentGrant(1));
    return sender;
  }
  MetadataStaging Staging() {
    return {primary_.area().rings[0], backup_.ring_slots()};
  }
  std::span<const WorkRequest> Plan(DeliverySender& sender,
                                    size_t capacity = 64) {
    return {out_.data(), sender.Plan(log(), log().end(), Lsn(), out_.data(),
                                     capacity, Staging(), 42)};
  }
  Lsn AppendSmall() { return primary_.Append(kEpoch, "small", "v"); }
  Lsn AppendLarge() {
    return primary_.Append(kEpoch, "large", std::string(1000, 'v'));
  }
  logstore::Log& log() { return primary_.log(); }

  TestReplica primary_;
  TestReplica backup_;
  std::array<WorkRequest, 64> out_;
};

TEST_F(DeliverySenderTest, NothingNewNothingSent) {
  DeliverySender sender = MakeSender(Config());
  EXPECT_EQ(Plan(sender).size(), 0u);
  EXPECT_EQ(sender.in_flight(), 0u);
}

TEST_F(DeliverySenderTest, SmallRecordsAreOneWriteThenTheCell) {
  DeliverySender sender = MakeSender(Config());
  const Lsn first = AppendSmall();
  AppendSmall();
  AppendSmall();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].local, log().At(first));
  EXPECT_EQ(batch[0].length_bytes, log().end() - first);
  EXPECT_EQ(batch[0].remote_address, backup_.SegmentGrant(1).address);
  EXPECT_FALSE(batch[0].signaled);
  EXPECT_EQ(batch[1].length_bytes, kCellBytes);
  EXPECT_TRUE(batch[1].inline_data);
  EXPECT_TRUE(batch[1].signaled);
  EXPECT_EQ(batch[1].cookie, 42u);
}

TEST_F(DeliverySenderTest, LargeRecordsAreMetadataInTheRing) {
  DeliverySender sender = MakeSender(Config());
  const Lsn first = AppendLarge();
  const Lsn second = AppendLarge();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].length_bytes, 2 * sizeof(logstore::MetadataRecord));
  backup_.Execute(batch);
  const auto* ring = reinterpret_cast<const logstore::MetadataRecord*>(
      backup_.area().rings[0]);
  EXPECT_TRUE(logstore::CheckMetadataRecord(ring[0]));
  EXPECT_EQ(ring[0].header.lsn, first.value());
  EXPECT_EQ(ring[0].hash, HashKey("large"));
  EXPECT_EQ(ring[1].header.lsn, second.value());
  // A retry must be recognised before the value has come.
  EXPECT_EQ(ring[1].header.session, 5u);
  EXPECT_EQ(ring[1].header.request, 2u);
  EXPECT_EQ(sender.last_metadata_end(), log().end());
}

TEST_F(DeliverySenderTest, TheCellComesBehindAllRecordsAndSaysWhatWasSent) {
  DeliverySender sender = MakeSender(Config());
  AppendSmall();
  AppendLarge();
  AppendSmall();
  AppendLarge();
  const auto batch = Plan(sender);
  // Two runs by value, one run of metadata, the cell.
  ASSERT_EQ(batch.size(), 4u);
  backup_.Execute(batch.first(3));
  EXPECT_FALSE(
      NewestWhole<DeliveryCell>(backup_.area().delivery_cells, kEpoch));
  backup_.Execute(batch[3]);
  const auto cell =
      NewestWhole<DeliveryCell>(backup_.area().delivery_cells, kEpoch);
  ASSERT_TRUE(cell);
  EXPECT_EQ(cell->delivered, log().end().value());
  EXPECT_EQ(cell->ring_position, 2u);
}

TEST_F(DeliverySenderTest, AMirrorGetsEverythingByValue) {
  DeliveryConfig config = Config();
  config.mirror = true;
  DeliverySender sender = MakeSender(config);
  AppendSmall();
  AppendLarge();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].length_bytes, log().end() - log().begin());
  EXPECT_EQ(sender.counters().metadata_records, 0u);
  EXPECT_EQ(sender.last_metadata_end(), config.start);
}

// The predecessor may have the value: the two must not both write the log.
TEST_F(DeliverySenderTest, WhatStandsForAValueGoesAsThatDoes) {
  const Lsn small = AppendSmall();
  const Lsn large = AppendLarge();
  const RecordHeader original = log().HeaderAt(large);
  for (const Lsn lsn : {small, large}) {
    const logstore::MissingRecord missing =
        logstore::MakeMissing(log().HeaderAt(lsn), HashKey(log().KeyAt(lsn)));
    std::memcpy(log().At(lsn), &missing, sizeof(missing));
  }
  DeliverySender sender = MakeSender(Config());
  backup_.Execute(Plan(sender));
  EXPECT_EQ(sender.counters().by_value_records, 1u);
  EXPECT_EQ(backup_.log().HeaderAt(small).type, logstore::RecordType::kMissing);
  const auto* ring = reinterpret_cast<const logstore::MetadataRecord*>(
      backup_.area().rings[0]);
  EXPECT_TRUE(logstore::CheckMetadataRecord(ring[0]));
  EXPECT_EQ(std::memcmp(&ring[0].header, &original, sizeof(original)), 0);
  EXPECT_EQ(ring[0].hash, HashKey("large"));

  DeliveryConfig config = Config();
  config.mirror = true;
  DeliverySender to_mirror = MakeSender(config);
  backup_.Execute(Plan(to_mirror));
  EXPECT_EQ(backup_.log().HeaderAt(large).type, logstore::RecordType::kMissing);
}

TEST_F(DeliverySenderTest, OnlyPutsAndDeletesGoByMetadata) {
  DeliveryConfig config = Config();
  config.by_value_max_bytes = 0;
  DeliverySender sender = MakeSender(config);
  primary_.Append(kEpoch, "k", "v", logstore::RecordType::kPut);
  primary_.Append(kEpoch, "k", "", logstore::RecordType::kDelete);
  primary_.Append(kEpoch, "", "", logstore::RecordType::kSessionOpen);
  Plan(sender);
  EXPECT_EQ(sender.counters().metadata_records, 2u);
  EXPECT_EQ(sender.counters().by_value_records, 1u);
}

TEST_F(DeliverySenderTest, WithAFlushItCoversEveryWriteAndEndsTheBatch) {
  DeliveryConfig config = Config();
  config.flush = FlushMethod::kReceiverFlush;
  DeliverySender sender = MakeSender(config);
  AppendSmall();
  AppendLarge();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 6u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(batch[i].opcode, Opcode::kWrite);
    EXPECT_EQ(batch[3 + i].opcode, Opcode::kRemoteFlush);
    EXPECT_EQ(batch[3 + i].remote_address, batch[i].remote_address);
    EXPECT_EQ(batch[3 + i].length_bytes, batch[i].length_bytes);
  }
  EXPECT_EQ(CountSignaled(batch), 1u);
  EXPECT_TRUE(batch.back().signaled);
}

// Cells that are all not durable could all be torn by a loss of power.
TEST_F(DeliverySenderTest, WithAFlushOneCellIsAlwaysDurable) {
  DeliveryConfig config = Config();
  config.flush = FlushMethod::kReadAfterWrite;
  DeliverySender sender = MakeSender(config);
  for (size_t i = 1; i < logstore::kDeliveryCells; ++i) {
    AppendSmall();
    EXPECT_GT(Plan(sender).size(), 0u);
  }
  AppendSmall();
  EXPECT_EQ(Plan(sender).size(), 0u);
  sender.OnCompletion();
  EXPECT_GT(Plan(sender).size(), 0u);
}

TEST_F(DeliverySenderTest, CompletionsAcknowledgeBatchesInOrder) {
  DeliveryConfig config = Config();
  config.max_in_flight = 2;
  DeliverySender sender = MakeSender(config);
  AppendSmall();
  const Lsn first_end = log().end();
  Plan(sender);
  AppendSmall();
  const Lsn second_end = log().end();
  Plan(sender);
  EXPECT_EQ(sender.posted(), second_end);
  EXPECT_EQ(sender.acked(), log().begin());
  AppendSmall();
  EXPECT_EQ(Plan(sender).size(), 0u);  // two are in flight
  sender.OnCompletion();
  EXPECT_EQ(sender.acked(), first_end);
  sender.OnCompletion();
  EXPECT_EQ(sender.acked(), second_end);
}

TEST_F(DeliverySenderTest, AFullRingHoldsUpWhatFollows) {
  DeliverySender sender = MakeSender(Config());
  std::vector<Lsn> lsns;
  for (uint32_t i = 0; i < backup_.ring_slots() + 2; ++i) {
    lsns.push_back(AppendLarge());
  }
  Plan(sender);
  EXPECT_TRUE(sender.blocked_on_ring());
  EXPECT_EQ(sender.posted(), lsns[backup_.ring_slots()]);
  EXPECT_EQ(Plan(sender).size(), 0u);
  // Positions that were never written are no progress.
  sender.OnProgress(backup_.ring_slots() + 1);
  EXPECT_EQ(Plan(sender).size(), 0u);
  sender.OnProgress(1);
  EXPECT_GT(Plan(sender).size(), 0u);
  EXPECT_EQ(sender.posted(), lsns[backup_.ring_slots() + 1]);
  sender.OnProgress(2);
  Plan(sender);
  EXPECT_EQ(sender.posted(), log().end());
  EXPECT_FALSE(sender.blocked_on_ring());
}

TEST_F(DeliverySenderTest, ARingThatWrapsIsTwoWrites) {
  DeliverySender sender = MakeSender(Config());
  for (uint32_t i = 0; i < backup_.ring_slots() - 1; ++i) AppendLarge();
  Plan(sender);
  sender.OnProgress(backup_.ring_slots() - 1);
  AppendLarge();
  AppendLarge();
  AppendLarge();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 3u);
  EXPECT_EQ(batch[0].length_bytes, 64u);
  EXPECT_EQ(batch[1].length_bytes, 128u);
  EXPECT_EQ(batch[1].remote_address, backup_.RingGrant().address);
}

TEST_F(DeliverySenderTest, StopsBeforeASegmentThatWasNotGranted) {
  DeliverySender sender = MakeSender(Config());
  while (log().SegmentOf(log().end()) == 1) AppendSmall();
  Plan(sender);
  EXPECT_EQ(sender.posted(), log().SegmentStart(2));
  EXPECT_EQ(sender.blocked_on_segment(), 2u);
  EXPECT_EQ(Plan(sender).size(), 0u);
  backup_.AddSegment(2);
  sender.AddSegment(2, backup_.SegmentGrant(2));
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].remote_address, backup_.SegmentGrant(2).address);
  EXPECT_EQ(sender.posted(), log().end());
}

TEST_F(DeliverySenderTest, AGrantThatIsTooShortIsNoGrant) {
  DeliverySender sender(Config());
  fabric::Grant grant = backup_.SegmentGrant(1);
  grant.length_bytes /= 2;
  sender.AddSegment(1, grant);
  AppendSmall();
  EXPECT_EQ(Plan(sender).size(), 0u);
  EXPECT_EQ(sender.blocked_on_segment(), 1u);
}

TEST_F(DeliverySenderTest, OfAPadOnlyTheHeaderIsSent) {
  DeliverySender sender = MakeSender(Config());
  const Lsn small = AppendSmall();
  const uint64_t small_bytes = log().end() - small;
  backup_.AddSegment(2);
  sender.AddSegment(2, backup_.SegmentGrant(2));
  primary_.AddSegment(2);
  log().EnterNextSegment(kEpoch);
  AppendSmall();
  const auto batch = Plan(sender);
  ASSERT_EQ(batch.size(), 3u);
  EXPECT_EQ(batch[0].length_bytes,
            small_bytes + sizeof(logstore::RecordHeader));
  EXPECT_EQ(batch[1].length_bytes, small_bytes);
  EXPECT_EQ(sender.posted(), log().end());
}

TEST_F(DeliverySenderTest, ASmallCapacityMakesSmallBatches) {
  DeliveryConfig config = Config();
  config.flush = FlushMethod::kNativeFlush;
  DeliverySender sender = MakeSender(config);
  for (int i = 0; i < 4; ++i) {
    AppendSmall();
    AppendLarge();
  }
  EXPECT_EQ(Plan(sender, DeliverySender::kMinCapacity - 1).size(), 0u);
  int batches = 0;
  for (; sender.posted() < log().end(); ++batches) {
    const auto batch = Plan(sender, DeliverySender::kMinCapacity);
    ASSERT_GT(batch.size(), 0u);
    ASSERT_LE(batch.size(), DeliverySender::kMinCapacity);
    sender.OnCompletion();
  }
  EXPECT_EQ(batches, 8);
}

TEST_F(DeliverySenderTest, ABareCellCarriesTheCommitWatermark) {
  DeliverySender sender = MakeSender(Config());
  AppendSmall();
  backup_.Execute(Plan(sender));
  sender.OnCompletion();
  const Lsn committed = log().end();
  const size_t count = sender.PlanCommit(committed, out_.data(), 64, 43);
  ASSERT_EQ(count, 1u);
  EXPECT_TRUE(out_[0].signaled);
  EXPECT_EQ(out_[0].cookie, 43u);
  backup_.Execute(out_[0]);
  const auto cell =
      NewestWhole<DeliveryCell>(backup_.area().delivery_cells, kEpoch);
  EXPECT_EQ(cell->committed, committed.value());
  EXPECT_EQ(cell->delivered, committed.value());
  EXPECT_EQ(sender.PlanCommit(committed, out_.data(), 64, 44), 0u);
  sender.OnCompletion();
  EXPECT_EQ(sender.in_flight(), 0u);
}

}  // namespace
}  // namespace whale::metadata_mcast

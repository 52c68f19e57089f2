// Primary and backup together: what the primary delivers, the backup announces,
// whatever the order of events and whatever is torn, stale or lost on the way.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/hash.h"
#include "common/prng.h"
#include "logstore/metadata_record.h"
#include "metadata_mcast/announcer.h"
#include "metadata_mcast/delivery_sender.h"
#include "metadata_mcast/test_replica.h"

namespace whale::metadata_mcast {
namespace {

using fabric::FlushMethod;
using fabric::WorkRequest;

constexpr uint64_t kSegmentBytes = 64 * 1024;
constexpr uint32_t kRingSlots = 16;
constexpr size_t kCapacity = 32;

struct Options {
  Epoch epoch{1};
  bool mirror = false;
  uint64_t by_value_max_bytes = 256;
  FlushMethod flush = FlushMethod::kNone;
  Lsn start{kSegmentBytes};
};

// One primary, one backup, and what is on its way between them.
class Link {
 public:
  explicit Link(const Options& options) : Link(options, nullptr, nullptr) {}

  Link(const Options& options, std::unique_ptr<TestReplica> primary,
       std::unique_ptr<TestReplica> backup)
      : options_(options),
        primary_(primary ? std::move(primary) : MakeReplica()),
        backup_(backup ? std::move(backup) : MakeReplica()),
        sender_(SenderConfig()),
        announcer_(AnnouncerConfigOf(options_)) {
    if (history_.empty()) history_.Add(options.epoch, options.start);
    for (uint64_t n = 1; backup_->log().HasSegment(n); ++n) {
      sender_.AddSegment(n, backup_->SegmentGrant(n));
    }
  }

  static std::unique_ptr<TestReplica> MakeReplica() {
    return std::make_unique<TestReplica>(kSegmentBytes, kRingSlots);
  }

  Lsn Append(std::string_view key, uint64_t value_bytes) {
    return primary_->Append(options_.epoch, key,
                            std::string(value_bytes, key[0]));
  }
  // The backup grants whatever the primary has entered.
  void GrantSegments() {
    for (uint64_t n = 1; n <= log().SegmentOf(log().end()); ++n) {
      if (sender_.HasSegment(n)) continue;
      backup_->AddSegment(n);
      sender_.AddSegment(n, backup_->SegmentGrant(n));
    }
  }
  std::vector<WorkRequest> Plan() {
    const size_t count =
        sender_.Plan(log(), log().end(), sender_.acked(), out_.data(),
                     kCapacity, {primary_->area().rings[0], kRingSlots}, 0);
    // The cell is sent inline: taken along at the time of posting.
    std::vector<WorkRequest> batch(out_.begin(), out_.begin() + count);
    for (WorkRequest& request : batch) {
      if (!request.inline_data) continue;
      inline_.emplace_back();
      std::memcpy(inline_.back().data(), request.local, request.length_bytes);
      request.local = inline_.back().data();
    }
    return batch;
  }
  // Plans, delivers, announces and completes all there is.
  void DeliverAll() {
    GrantSegments();
    while (sender_.posted() < log().end()) {
      const std::vector<WorkRequest> batch = Plan();
      ASSERT_FALSE(batch.empty());
      backup_->Execute(batch);
      sender_.OnCompletion();
      Announce();
      sender_.OnProgress(announcer_.ReleaseRing(announcer_.announced()));
    }
  }
  size_t Announce() { return Announce(announcer_); }
  size_t Announce(Announcer& announcer) {
    return announcer.Announce(
        backup_->log(), history_,
        [this](const Announced& record) { announced_.push_back(record); });
  }

  // As if the chain had brought the values up to somewhere.
  uint64_t ReleaseRing(Prng& prng) {
    const uint64_t ahead = announcer_.announced() - durable_;
    durable_ += prng.Below(ahead + 1);
    return announcer_.ReleaseRing(durable_);
  }

  // What is announced is what the primary has, from `start` on.
  void ExpectAnnounced(Lsn start, Lsn end) {
    Lsn lsn = start;
    for (const Announced& record : announced_) {
      ASSERT_EQ(record.lsn, lsn);
      const logstore::RecordHeader& header = log().HeaderAt(lsn);
      EXPECT_EQ(std::memcmp(&record.header, &header, sizeof(header)), 0);
      EXPECT_EQ(record.by_value, sender_.by_value(header));
      if (logstore::IsKeyed(header)) {
        EXPECT_EQ(record.hash, HashKey(log().KeyAt(lsn)));
      }
      if (record.by_value) {
        EXPECT_EQ(std::memcmp(backup_->log().At(lsn), log().At(lsn),
                              logstore::TransferBytes(header)),
                  0);
      }
      lsn = log().After(lsn, logstore::RecordBytes(header));
    }
    EXPECT_EQ(lsn, end);
    EXPECT_EQ(announcer_.announced(), end);
  }

  logstore::Log& log() { return primary_->log(); }
  TestReplica& primary() { return *primary_; }
  TestReplica& backup() { return *backup_; }
  DeliverySender& sender() { return sender_; }
  Announcer& announcer() { return announcer_; }
  logstore::History& history() { return history_; }
  std::vector<Announced>& announced() { return announced_; }
  std::unique_ptr<TestReplica> TakePrimary() { return std::move(primary_); }
  std::unique_ptr<TestReplica> TakeBackup() { return std::move(backup_); }

  AnnouncerConfig AnnouncerConfigOf(const Options& options) const {
    AnnouncerConfig config;
    config.epoch = options.epoch;
    config.start = options.start;
    config.delivery_cells = backup_->area().delivery_cells;
    config.ring = backup_->area().rings[0];
    config.ring_slots = kRingSlots;
    config.tries_before_damage = 4;
    return config;
  }

 private:
  DeliveryConfig SenderConfig() const {
    DeliveryConfig config;
    config.epoch = options_.epoch;
    config.start = options_.start;
    config.mirror = options_.mirror;
    config.by_value_max_bytes = options_.by_value_max_bytes;
    config.flush = options_.flush;
    config.ring = backup_->RingGrant();
    config.ring_slots = kRingSlots;
    config.delivery_cells = backup_->DeliveryGrant();
    return config;
  }

  const Options options_;
  std::unique_ptr<TestReplica> primary_;
  std::unique_ptr<TestReplica> backup_;
  DeliverySender sender_;
  Announcer announcer_;
  logstore::History history_;
  std::array<WorkRequest, kCapacity> out_;
  std::deque<std::array<std::byte, 64>> inline_;
  std::vector<Announced> announced_;
  Lsn durable_;
};

// --- The figure of section 4, step by step ---

TEST(Delivery, ABackupAnnouncesByValueAndByMetadataInLsnOrder) {
  Link link({});
  const Lsn small = link.Append("small", 10);
  const Lsn large = link.Append("large", 1000);
  EXPECT_EQ(link.Announce(), 0u);
  link.backup().Execute(link.Plan());
  EXPECT_EQ(link.Announce(), 2u);
  EXPECT_EQ(link.announced()[0].lsn, small);
  EXPECT_TRUE(link.announced()[0].by_value);
  EXPECT_EQ(link.announced()[1].lsn, large);
  EXPECT_FALSE(link.announced()[1].by_value);
  EXPECT_EQ(link.announcer().ring_read(), 1u);
  link.ExpectAnnounced(Lsn(kSegmentBytes), link.log().end());
  // Nothing twice.
  EXPECT_EQ(link.Announce(), 0u);
}

TEST(Delivery, NothingIsAnnouncedBeforeTheCell) {
  Link link({});
  link.Append("small", 10);
  link.Append("large", 1000);
  const std::vector<WorkRequest> batch = link.Plan();
  for (size_t i = 0; i + 1 < batch.size(); ++i) {
    link.backup().Execute(batch[i]);
    EXPECT_EQ(link.Announce(), 0u);
  }
  link.backup().Execute(batch.back());
  EXPECT_EQ(link.Announce(), 2u);
}

TEST(Delivery, TheCommitWatermarkComesWithTheNextCellAndNeverMovesBack) {
  Link link({});
  link.Append("a", 10);
  link.DeliverAll();
  const Lsn first = link.log().end();
  EXPECT_LT(link.announcer().known_committed(), first);
  link.Append("b", 10);
  link.DeliverAll();
  EXPECT_EQ(link.announcer().known_committed(), first);
  WorkRequest cell;
  ASSERT_EQ(link.sender().PlanCommit(link.log().end(), &cell,
                                     DeliverySender::kMinCapacity, 0),
            1u);
  link.backup().Execute(cell);
  EXPECT_EQ(link.Announce(), 0u);
  EXPECT_EQ(link.announcer().known_committed(), link.log().end());
}

// Until its value is here, the ring entry is all that a restart would find.
TEST(Delivery, ARingEntryIsKeptUntilItsValueIsDurable) {
  Link link({});
  link.Append("a", 1000);
  const Lsn second = link.Append("b", 1000);
  link.backup().Execute(link.Plan());
  EXPECT_EQ(link.Announce(), 2u);
  EXPECT_EQ(link.announcer().ring_read(), 2u);
  EXPECT_EQ(link.announcer().ReleaseRing(Lsn(kSegmentBytes)), 0u);
  EXPECT_EQ(link.announcer().ReleaseRing(second), 1u);
  EXPECT_EQ(link.announcer().ReleaseRing(Lsn(kSegmentBytes)), 1u);
  EXPECT_EQ(link.announcer().ReleaseRing(link.log().end()), 2u);
}

// --- What may be wrong with the bytes ---

TEST(Delivery, ATornCellIsAsIfItHadNotCome) {
  Link link({});
  link.Append("a", 10);
  link.DeliverAll();
  const Lsn before = link.announcer().announced();
  link.Append("b", 10);
  const std::vector<WorkRequest> batch = link.Plan();
  link.backup().Execute(std::span(batch).first(batch.size() - 1));
  for (uint64_t bytes = 8; bytes < 64; bytes += 8) {
    link.backup().ExecutePart(batch.back(), bytes);
    EXPECT_EQ(link.Announce(), 0u);
    EXPECT_EQ(link.announcer().announced(), before);
    EXPECT_FALSE(link.announcer().behind());
  }
  link.backup().Execute(batch.back());
  EXPECT_EQ(link.Announce(), 1u);
}

TEST(Delivery, ATornRecordIsTriedAgain) {
  for (const uint64_t value_bytes : {10, 1000}) {  // by value, by metadata
    SCOPED_TRACE(value_bytes);
    Link link({});
    link.Append("torn", value_bytes);
    const std::vector<WorkRequest> batch = link.Plan();
    const WorkRequest& last_write = batch[batch.size() - 2];
    link.backup().Execute(std::span(batch).first(batch.size() - 2));
    link.backup().ExecutePart(last_write, last_write.length_bytes - 24);
    link.backup().Execute(batch.back());
    EXPECT_EQ(link.Announce(), 0u);
    EXPECT_TRUE(link.announcer().behind());
    EXPECT_FALSE(link.announcer().damage());
    link.backup().Execute(last_write);
    EXPECT_EQ(link.Announce(), 1u);
    link.ExpectAnnounced(Lsn(kSegmentBytes), link.log().end());
  }
}

TEST(Delivery, ARecordThatStaysTornIsDamage) {
  Link link({});
  const Lsn lsn = link.Append("rotten", 10);
  link.backup().Execute(link.Plan());
  link.backup().log().At(lsn)[50] ^= std::byte{1};
  for (int i = 0; i < 3; ++i) {
    link.Announce();
    EXPECT_FALSE(link.announcer().damage());
  }
  link.Announce();
  EXPECT_EQ(link.announcer().damage(), lsn);
  EXPECT_TRUE(link.announced().empty());
}

TEST(Delivery, ACellThatClaimsASegmentThatIsNotThereIsDamage) {
  Link link({});
  link.Append("a", 10);
  link.DeliverAll();
  const Lsn end = link.announcer().announced();
  CellWriter<DeliveryCell> writer(link.backup().DeliveryGrant(), Epoch(1));
  for (int i = 0; i < 5; ++i) {
    link.backup().Execute(writer.Write({.delivered = 40 * kSegmentBytes}));
  }
  for (int i = 0; i < 4; ++i) EXPECT_EQ(link.Announce(), 0u);
  EXPECT_EQ(link.announcer().damage(), end);
}

// A metadata-only record whose value came early by the chain must not pass for
// one that went by value while its ring entry is unreadable: the entry would be
// taken for a later record's.
TEST(Delivery, AnEarlyChainValueDoesNotReplaceATornRingEntry) {
  Link link({});
  const Lsn lsn = link.Append("large", 1000);
  const uint64_t bytes = link.log().end() - lsn;
  const std::vector<WorkRequest> batch = link.Plan();
  std::memcpy(link.backup().log().At(lsn), link.log().At(lsn), bytes);
  link.backup().ExecutePart(batch[0], 40);
  link.backup().Execute(batch[1]);
  EXPECT_EQ(link.Announce(), 0u);
  link.backup().Execute(batch[0]);
  EXPECT_EQ(link.Announce(), 1u);
  EXPECT_FALSE(link.announced()[0].by_value);
  EXPECT_EQ(link.announcer().ring_read(), 1u);
}

// --- A new epoch over the remains of an older one ---

TEST(Delivery, RemainsOfAnOlderEpochAreNotAnnounced) {
  Options first;
  Link old_link(first);
  const Lsn cut = old_link.Append("old-large", 1000);
  old_link.Append("old-small", 10);
  old_link.DeliverAll();

  // A change cuts at the first record: the same LSNs are assigned again.
  Options second;
  second.epoch = Epoch(2);
  second.start = cut;
  auto primary = Link::MakeReplica();
  Link link(second, std::move(primary), old_link.TakeBackup());
  link.history() = logstore::History();
  link.history().Add(Epoch(1), Lsn(kSegmentBytes));
  link.history().Add(Epoch(2), cut);
  link.Append("new-large", 1000);
  link.Append("new-small", 10);
  EXPECT_EQ(link.Announce(), 0u);  // the old epoch's cell says nothing
  const std::vector<WorkRequest> batch = link.Plan();
  // The cell alone: log and ring still hold what the old epoch wrote, at the
  // very same LSNs and slots.
  link.backup().Execute(batch.back());
  EXPECT_EQ(link.Announce(), 0u);
  link.backup().Execute(batch);
  EXPECT_EQ(link.Announce(), 2u);
  link.ExpectAnnounced(cut, link.log().end());
}

TEST(Delivery, RecordsBelowTheCutAreDeliveredAgainInTheNewEpoch) {
  Link old_link({});
  for (int i = 0; i < 6; ++i) old_link.Append("k", i % 2 == 0 ? 10 : 1000);
  const Lsn end = old_link.log().end();
  auto primary = old_link.TakePrimary();

  // A backup that had announced nothing of them.
  Options second;
  second.epoch = Epoch(2);
  Link link(second, std::move(primary), nullptr);
  link.history() = logstore::History();
  link.history().Add(Epoch(1), Lsn(kSegmentBytes));
  link.history().Add(Epoch(2), end);
  link.Append("new", 1000);
  link.DeliverAll();
  EXPECT_EQ(link.announced().size(), 7u);
  link.ExpectAnnounced(Lsn(kSegmentBytes), link.log().end());
}

// --- Ends of segments ---

TEST(Delivery, ARestTooSmallForAHeaderIsPassedOver) {
  Link link({});
  link.Append("a", 10);
  const Lsn pad = link.log().end();
  // Leaves 16 bytes, in which no header fits.
  link.log().WritePad(pad, Epoch(1), link.log().SegmentStart(2) - pad - 16);
  link.primary().AddSegment(2);
  link.log().set_end(Lsn(link.log().SegmentStart(2).value() - 16));
  link.DeliverAll();
  EXPECT_EQ(link.announcer().announced(), link.log().end());
  link.log().set_end(link.log().SegmentStart(2));
  link.Append("b", 10);
  link.DeliverAll();
  EXPECT_EQ(link.announced().size(), 3u);
  link.ExpectAnnounced(Lsn(kSegmentBytes), link.log().end());
}

// --- Loss of power ---

// Whatever was acknowledged is found after the power went: cell and records.
TEST(Delivery, WhatCompletedSurvivesALossOfPower) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Options options;
    options.flush = FlushMethod::kReceiverFlush;
    options.mirror = prng.Chance(0.3);
    Link link(options);
    const uint64_t rounds = 1 + prng.Below(3);
    for (uint64_t i = 0; i < rounds; ++i) {
      for (uint64_t r = 1 + prng.Below(4); r > 0; --r) {
        link.Append("key", prng.Below(600));
      }
      link.DeliverAll();
    }
    const Lsn acked = link.sender().acked();
    // A further batch gets as far as it gets.
    link.Append("unfinished", 10);
    link.Append("unfinished", 1000);
    const std::vector<WorkRequest> batch = link.Plan();
    link.backup().Execute(std::span(batch).first(prng.Below(batch.size() + 1)));
    link.backup().LosePower();

    // Rings keep what was not read; those of this test are large enough for
    // all of it, so a second reader must find everything acknowledged.
    link.announced().clear();
    Announcer after(link.AnnouncerConfigOf(options));
    link.Announce(after);
    EXPECT_GE(after.announced(), acked);
  }
}

// --- Everything at once ---

struct Mix {
  bool mirror;
  uint64_t by_value_max_bytes;
  FlushMethod flush;
};

class RandomDelivery : public testing::TestWithParam<Mix> {};

TEST_P(RandomDelivery, TheBackupAnnouncesExactlyWhatWasOrdered) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Options options;
    options.mirror = GetParam().mirror;
    options.by_value_max_bytes = GetParam().by_value_max_bytes;
    options.flush = GetParam().flush;
    Link link(options);
    std::deque<WorkRequest> wire;  // posted, not yet carried out
    int appended = 0;
    while (appended < 400 || link.announcer().announced() < link.log().end()) {
      switch (prng.Below(5)) {
        case 0:
          if (appended >= 400) break;
          for (uint64_t r = 1 + prng.Below(8); r > 0; --r, ++appended) {
            const uint64_t bytes =
                prng.Chance(0.1) ? prng.Below(8000) : prng.Below(500);
            link.Append("key" + std::to_string(prng.Below(9)), bytes);
          }
          break;
        case 1:
          if (prng.Chance(0.3)) link.GrantSegments();
          break;
        case 2: {
          const std::vector<WorkRequest> batch = link.Plan();
          ASSERT_EQ(CountSignaled(batch), batch.empty() ? 0u : 1u);
          wire.insert(wire.end(), batch.begin(), batch.end());
          break;
        }
        case 3:
          for (uint64_t r = prng.Below(6); r > 0 && !wire.empty(); --r) {
            const WorkRequest request = wire.front();
            wire.pop_front();
            link.backup().Execute(request);
            if (request.signaled) link.sender().OnCompletion();
          }
          break;
        case 4:
          link.Announce();
          ASSERT_GE(link.announcer().announced(), link.sender().acked());
          ASSERT_LE(link.announcer().announced(), link.sender().posted());
          link.sender().OnProgress(link.ReleaseRing(prng));
          break;
      }
      ASSERT_EQ(link.announcer().failed_tries(), 0u);
    }
    link.ExpectAnnounced(Lsn(kSegmentBytes), link.log().end());
    ASSERT_GT(link.log().SegmentOf(link.log().end()), 2u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policies, RandomDelivery,
    testing::Values(Mix{false, 0, FlushMethod::kNone},
                    Mix{false, 256, FlushMethod::kNone},
                    Mix{false, 256, FlushMethod::kReadAfterWrite},
                    Mix{false, 4096, FlushMethod::kNativeFlush},
                    Mix{true, 0, FlushMethod::kNone},
                    Mix{true, 0, FlushMethod::kReceiverFlush}));

}  // namespace
}  // namespace whale::metadata_mcast

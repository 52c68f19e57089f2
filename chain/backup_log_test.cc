#include "chain/backup_log.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "metadata_mcast/test_replica.h"

namespace whale::chain {
namespace {

using metadata_mcast::TestReplica;

class BackupLogTest : public testing::Test {
 protected:
  BackupLogTest() : backup_log_(replica_.log().begin()) {
    history_.Add(Epoch(1), replica_.log().begin());
  }

  // A record announced by metadata: its bytes are put aside until Arrive.
  Lsn AnnounceHole(uint64_t value_bytes = 500) {
    const Lsn lsn = Append(value_bytes);
    const uint64_t bytes = replica_.log().end() - lsn;
    const std::byte* at = replica_.log().At(lsn);
    aside_.emplace_back(lsn, std::vector<std::byte>(at, at + bytes));
    std::memset(replica_.log().At(lsn), 0, bytes);
    backup_log_.OnAnnounced(lsn, bytes, false);
    return lsn;
  }
  Lsn AnnounceByValue() {
    const Lsn lsn = Append(10);
    backup_log_.OnAnnounced(lsn, replica_.log().end() - lsn, true);
    return lsn;
  }
  void Arrive(Lsn lsn) {
    for (const auto& [at, bytes] : aside_) {
      if (at != lsn) continue;
      std::memcpy(replica_.log().At(lsn), bytes.data(), bytes.size());
    }
  }
  LsnRange Take(Lsn sent_upto) {
    return backup_log_.TakeChain(ChainCell{.sent_upto = sent_upto.value()},
                                 replica_.log(), history_);
  }
  Lsn end() { return replica_.log().end(); }

  TestReplica replica_;
  logstore::History history_;
  BackupLog backup_log_;

 private:
  Lsn Append(uint64_t value_bytes) {
    return replica_.Append(Epoch(1), "key", std::string(value_bytes, 'v'));
  }
  std::vector<std::pair<Lsn, std::vector<std::byte>>> aside_;
};

TEST_F(BackupLogTest, WithoutHolesEverythingAnnouncedIsDurable) {
  AnnounceByValue();
  AnnounceByValue();
  EXPECT_EQ(backup_log_.announced(), end());
  EXPECT_EQ(backup_log_.durable(), end());
}

TEST_F(BackupLogTest, TheFirstHoleHoldsTheDurableWatermark) {
  AnnounceByValue();
  const Lsn hole = AnnounceHole();
  AnnounceByValue();
  EXPECT_EQ(backup_log_.durable(), hole);
  EXPECT_TRUE(backup_log_.IsHole(hole));
  EXPECT_EQ(backup_log_.hole_count(), 1u);
  Arrive(hole);
  const LsnRange moved = Take(end());
  EXPECT_EQ(moved, (LsnRange{hole, end()}));
  EXPECT_EQ(backup_log_.durable(), end());
  EXPECT_FALSE(backup_log_.IsHole(hole));
}

TEST_F(BackupLogTest, AnEarlyValueDoesNotCountBeforeTheCellSaysSo) {
  const Lsn hole = AnnounceHole();
  Arrive(hole);
  EXPECT_TRUE(Take(hole).empty());
  EXPECT_EQ(backup_log_.durable(), hole);
}

TEST_F(BackupLogTest, StopsAtTheFirstValueThatIsNotWhole) {
  const Lsn first = AnnounceHole();
  const Lsn second = AnnounceHole();
  const Lsn third = AnnounceHole();
  Arrive(first);
  Arrive(third);
  EXPECT_EQ(Take(end()), (LsnRange{first, second}));
  EXPECT_TRUE(backup_log_.IsHole(second));
  Arrive(second);
  EXPECT_EQ(Take(end()), (LsnRange{second, end()}));
  EXPECT_FALSE(backup_log_.damage());
}

TEST_F(BackupLogTest, ValuesArePersistedBeforeTheyAreDurable) {
  const Lsn first = AnnounceHole();
  const Lsn second = AnnounceHole();
  Arrive(first);
  Arrive(second);
  const int fences = replica_.domain().fences();
  Take(end());
  EXPECT_EQ(replica_.domain().fences(), fences + 1);
  replica_.LosePower();
  EXPECT_EQ(replica_.log().Check(first, history_),
            logstore::Log::Validity::kValid);
  EXPECT_EQ(replica_.log().Check(second, history_),
            logstore::Log::Validity::kValid);
}

TEST_F(BackupLogTest, AValueThatStaysInvalidIsDamage) {
  const Lsn hole = AnnounceHole();
  Arrive(hole);
  replica_.log().At(hole)[100] ^= std::byte{1};
  for (uint32_t i = 1; i < BackupLog::kTriesBeforeDamage; ++i) Take(end());
  EXPECT_FALSE(backup_log_.damage());
  Take(end());
  EXPECT_EQ(backup_log_.damage(), hole);
  EXPECT_EQ(backup_log_.durable(), hole);
}

TEST_F(BackupLogTest, AFetchedValueFillsAHoleInTheMiddle) {
  const Lsn first = AnnounceHole();
  const Lsn second = AnnounceHole();
  EXPECT_TRUE(backup_log_.Fill(second));
  EXPECT_FALSE(backup_log_.Fill(second));
  EXPECT_FALSE(backup_log_.Fill(Lsn(1)));
  EXPECT_EQ(backup_log_.durable(), first);
  std::vector<LsnRange> holes;
  backup_log_.ForEachHole([&](LsnRange hole) { holes.push_back(hole); });
  EXPECT_EQ(holes, (std::vector<LsnRange>{{first, second}}));
  EXPECT_TRUE(backup_log_.Fill(first));
  EXPECT_EQ(backup_log_.durable(), end());
  EXPECT_EQ(backup_log_.hole_count(), 0u);
  EXPECT_EQ(backup_log_.hole_bytes(), 0u);
}

TEST_F(BackupLogTest, ACutDropsHolesAndWhatWasAnnounced) {
  const Lsn first = AnnounceHole();
  const Lsn second = AnnounceHole();
  AnnounceByValue();
  backup_log_.DropFrom(second);
  EXPECT_EQ(backup_log_.announced(), second);
  EXPECT_EQ(backup_log_.hole_count(), 1u);
  EXPECT_EQ(backup_log_.hole_bytes(), second - first);
  backup_log_.OnAnnounced(second, 64, true);
  EXPECT_EQ(backup_log_.announced(), second + 64);
  EXPECT_EQ(backup_log_.durable(), first);
}

TEST_F(BackupLogTest, ImplicitPadsAreAnnouncedWithoutARecord) {
  AnnounceByValue();
  const Lsn segment_end = replica_.log().SegmentStart(2);
  backup_log_.OnAnnouncedUpTo(segment_end);
  EXPECT_EQ(backup_log_.announced(), segment_end);
  backup_log_.OnAnnouncedUpTo(Lsn(1));
  EXPECT_EQ(backup_log_.announced(), segment_end);
}

}  // namespace
}  // namespace whale::chain

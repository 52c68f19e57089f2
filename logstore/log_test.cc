#include "logstore/log.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "common/prng.h"
#include "logstore/test_memory.h"

namespace whale::logstore {
namespace {

using Validity = Log::Validity;
constexpr ShardId kShard{0};
constexpr Epoch kEpoch{5};

History OneEpoch() {
  History history;
  history.Add(kEpoch, Lsn(0));
  return history;
}

RecordFields Put(uint64_t request = 1) {
  return {.type = RecordType::kPut,
          .epoch = kEpoch,
          .session = SessionId(9),
          .request = RequestNumber(request)};
}

class LogTest : public ::testing::Test {
 protected:
  explicit LogTest(uint64_t segment_bytes = 4096)
      : test_(SmallGeometry(segment_bytes, 8, 1)),
        log_(test_.pool.get(), kShard) {}

  Lsn Append(std::string_view key, std::string_view value) {
    const Lsn lsn = log_.Reserve(key.size(), value.size());
    log_.Write(lsn, Put(), key, value);
    return lsn;
  }
  Validity Check(Lsn lsn) const { return log_.Check(lsn, OneEpoch()); }

  TestPool test_;
  Log log_;
};

TEST_F(LogTest, BeginsAtSegmentOne) {
  EXPECT_EQ(log_.begin(), Lsn(4096));
  EXPECT_EQ(log_.end(), log_.begin());
  EXPECT_FALSE(log_.Fits(64));
  ASSERT_TRUE(log_.AddSegment(1).ok());
  EXPECT_TRUE(log_.Fits(64));
}

TEST_F(LogTest, AppendedRecordIsReadBack) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  const Lsn lsn = Append("key", "value");
  EXPECT_EQ(lsn, Lsn(4096));
  EXPECT_EQ(log_.end(), Lsn(4096 + 64));
  EXPECT_EQ(Check(lsn), Validity::kValid);
  EXPECT_EQ(log_.KeyAt(lsn), "key");
  EXPECT_EQ(log_.ValueAt(lsn), "value");
  EXPECT_EQ(log_.HeaderAt(lsn).lsn, 4096u);
  EXPECT_EQ(log_.HeaderAt(lsn).session, 9u);
  EXPECT_EQ(log_.HeaderAt(lsn).epoch_low, 5u);
}

TEST_F(LogTest, ReplicasHaveTheSameBytes) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  std::memset(log_.SegmentBase(1), 0xee, 4096);  // of a former use
  const Lsn lsn = Append("key", "value");
  const std::byte* record = log_.At(lsn);
  for (int i = 48 + 8; i < 64; ++i) EXPECT_EQ(record[i], std::byte{0});
  EXPECT_EQ(record[64], std::byte{0xee});
}

TEST_F(LogTest, ValueMayComeLater) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  const Lsn lsn = log_.Reserve(3, 5);
  log_.WriteWithoutValue(lsn, Put(), "key", 5);
  EXPECT_NE(Check(lsn), Validity::kValid);
  std::memcpy(log_.ValueAddress(lsn), "value", 5);
  log_.FinishValue(lsn);
  EXPECT_EQ(Check(lsn), Validity::kValid);
  const Lsn same = Append("key", "value");
  // Byte for byte what Write makes, but for LSN and checksum.
  EXPECT_EQ(std::memcmp(log_.At(lsn) + 4, log_.At(same) + 4, 20), 0);
  EXPECT_EQ(std::memcmp(log_.At(lsn) + 32, log_.At(same) + 32, 32), 0);
}

TEST_F(LogTest, PlaceGivenUpBecomesAPad) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  const Lsn lsn = log_.Reserve(3, 500);
  const Lsn next = Append("key", "value");
  log_.WritePad(lsn, kEpoch, RecordBytes(3, 500));
  EXPECT_EQ(Check(lsn), Validity::kValid);
  EXPECT_EQ(log_.HeaderAt(lsn).type, RecordType::kPad);
  EXPECT_EQ(log_.After(lsn, RecordBytes(log_.HeaderAt(lsn))), next);
}

TEST_F(LogTest, RestOfASegmentIsPadded) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  Append("key", std::string(3000, 'v'));
  EXPECT_FALSE(log_.Fits(RecordBytes(3, 3000)));
  const Lsn pad = log_.end();
  log_.EnterNextSegment(kEpoch);
  EXPECT_EQ(log_.end(), Lsn(8192));
  EXPECT_EQ(Check(pad), Validity::kValid);
  EXPECT_EQ(log_.After(pad, RecordBytes(log_.HeaderAt(pad))), Lsn(8192));
  EXPECT_EQ(Check(Append("key", "in the next")), Validity::kValid);
}

// Only EnterNextSegment moves the end into another segment.
TEST_F(LogTest, RoomForAPadIsAlwaysLeft) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  for (uint64_t record_bytes = 64; record_bytes <= 4096; record_bytes += 16) {
    EXPECT_EQ(log_.Fits(record_bytes), record_bytes <= 4096 - 48);
  }
  Append("k", std::string(4096 - 48 - 48 - 1, 'v'));
  EXPECT_EQ(log_.end(), Lsn(8192 - 48));
  EXPECT_FALSE(log_.Fits(48));
  log_.EnterNextSegment(kEpoch);
  EXPECT_EQ(Check(Lsn(8192 - 48)), Validity::kValid);
  EXPECT_EQ(RecordBytes(log_.HeaderAt(Lsn(8192 - 48))), 48u);
  EXPECT_EQ(log_.end(), Lsn(8192));
}

TEST_F(LogTest, RestTooSmallForAHeaderIsAnImplicitPad) {
  for (const uint64_t rest : {16, 32}) {
    EXPECT_EQ(log_.After(Lsn(8192 - rest - 64), 64), Lsn(8192));
  }
  EXPECT_EQ(log_.After(Lsn(8192 - 48 - 64), 64), Lsn(8192 - 48));
  EXPECT_EQ(log_.After(Lsn(8192 - 64), 64), Lsn(8192));
  // Entering the next segment from there writes nothing.
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  std::memset(log_.SegmentBase(1), 0xee, 4096);
  log_.set_end(Lsn(8192 - 32));
  log_.EnterNextSegment(kEpoch);
  EXPECT_EQ(log_.end(), Lsn(8192));
  EXPECT_EQ(log_.At(Lsn(8192 - 32))[0], std::byte{0xee});
}

TEST_F(LogTest, WhatDoesNotBelongIsNothing) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  const Lsn lsn = Append("key", "value");
  EXPECT_EQ(Check(log_.end()), Validity::kNothing);     // blank
  EXPECT_EQ(Check(Lsn(0)), Validity::kNothing);         // before the log
  EXPECT_EQ(Check(Lsn(4097)), Validity::kNothing);      // no position
  EXPECT_EQ(Check(Lsn(4096 * 7)), Validity::kNothing);  // no segment
  EXPECT_EQ(Check(kMaxLsn), Validity::kNothing);
  EXPECT_EQ(Check(Lsn(8192 - 16)), Validity::kNothing);
  // Of another epoch by the history.
  History cut;
  cut.Add(Epoch(6), Lsn(4096));
  EXPECT_EQ(log_.Check(lsn, cut), Validity::kNothing);
  // The same bytes at another place.
  std::memcpy(log_.At(Lsn(8192)), log_.At(lsn), 64);
  EXPECT_EQ(Check(Lsn(8192)), Validity::kNothing);
}

TEST_F(LogTest, HeaderThatReachesBeyondItsSegmentIsNothing) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  RecordHeader header{.magic = kRecordMagic,
                      .type = RecordType::kPut,
                      .epoch_low = 5,
                      .key_bytes = 1,
                      .value_bytes = kMaxValueBytes,
                      .lsn = 4096};
  std::memcpy(log_.At(Lsn(4096)), &header, sizeof(header));
  EXPECT_EQ(Check(Lsn(4096)), Validity::kNothing);
}

TEST_F(LogTest, EveryDamagedBitIsSeen) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  const Lsn lsn = Append("key", "value");
  std::byte* record = log_.At(lsn);
  int damaged = 0;
  for (int bit = 0; bit < 56 * 8; ++bit) {
    record[bit / 8] ^= std::byte(1 << bit % 8);
    ASSERT_NE(Check(lsn), Validity::kValid) << bit;
    damaged += Check(lsn) == Validity::kDamaged;
    record[bit / 8] ^= std::byte(1 << bit % 8);
  }
  // Those of the value, the key and what the header does not check itself.
  EXPECT_GE(damaged, 8 * 8 + 16 * 8 + 32);
  EXPECT_EQ(Check(lsn), Validity::kValid);
}

TEST_F(LogTest, SegmentsAreFoundAgain) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());  // there already
  const Lsn lsn = Append("key", "value");
  log_.FreeSegment(2);
  EXPECT_FALSE(log_.HasSegment(2));
  test_.Reopen();
  Log again(test_.pool.get(), kShard);
  EXPECT_TRUE(again.HasSegment(1));
  EXPECT_FALSE(again.HasSegment(2));
  EXPECT_EQ(again.Check(lsn, OneEpoch()), Validity::kValid);
}

TEST_F(LogTest, FullPoolSaysSo) {
  for (uint64_t number = 1; number <= 8; ++number) {
    ASSERT_TRUE(log_.AddSegment(number).ok());
  }
  EXPECT_EQ(log_.AddSegment(9).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(log_.HasSegment(9));
}

TEST_F(LogTest, PersistedRangeSurvivesAcrossSegments) {
  Prng prng(1);
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  const Lsn first = Append("key", std::string(3900, 'a'));
  log_.EnterNextSegment(kEpoch);
  const Lsn second = Append("key", std::string(1000, 'b'));
  log_.Persist(first, log_.end());
  const Lsn third = Append("key", std::string(2000, 'c'));
  test_.memory.Crash(prng);
  EXPECT_EQ(Check(first), Validity::kValid);
  EXPECT_EQ(Check(second), Validity::kValid);
  EXPECT_NE(Check(third), Validity::kValid);  // half its words are gone
}

class LargeValueTest : public LogTest {
 protected:
  LargeValueTest() : LogTest(8 * kMiB) {}
};

TEST_F(LargeValueTest, LargestRecordAtTheEndOfASegment) {
  ASSERT_TRUE(log_.AddSegment(1).ok());
  ASSERT_TRUE(log_.AddSegment(2).ok());
  const std::string key(kMaxKeyBytes, 'k');
  std::string value(kMaxValueBytes, 'v');
  Prng prng(2);
  for (char& c : value) c = static_cast<char>(prng.Next());
  // Moves the end so that the record just fits.
  const uint64_t before = 8 * kMiB - 48 - kMaxRecordBytes;
  log_.WritePad(log_.end(), kEpoch, before);
  log_.set_end(log_.begin() + before);
  ASSERT_TRUE(log_.Fits(kMaxRecordBytes));
  const Lsn lsn = Append(key, value);
  EXPECT_EQ(Check(lsn), Validity::kValid);
  EXPECT_EQ(log_.KeyAt(lsn), key);
  EXPECT_EQ(log_.ValueAt(lsn), value);
  EXPECT_FALSE(log_.Fits(kMaxRecordBytes));
  log_.EnterNextSegment(kEpoch);
  EXPECT_EQ(log_.end(), Lsn(16 * kMiB));
  EXPECT_TRUE(log_.Fits(kMaxRecordBytes));
}

TEST(SegmentMapTest, FindsWhatIsThere) {
  SegmentMap map(4096);
  std::vector<std::byte> memory(64);
  EXPECT_EQ(map.NextPresent(0), 0u);
  EXPECT_EQ(map.Last(), 0u);
  // Far apart: old segments stay while the log goes on.
  for (const uint64_t number : {5ul, 6ul, 7ul, 1'000'000ul, 4'000'000'000ul}) {
    map.Add(number, &memory[number % 64]);
  }
  EXPECT_EQ(map.Base(1'000'000), &memory[1'000'000 % 64]);
  EXPECT_FALSE(map.Has(4));
  EXPECT_FALSE(map.Has(8));
  EXPECT_EQ(map.NextPresent(8), 1'000'000u);
  EXPECT_EQ(map.Last(), 4'000'000'000u);
  map.Remove(1'000'000);
  EXPECT_FALSE(map.Has(1'000'000));
  EXPECT_EQ(map.NextPresent(8), 4'000'000'000u);
  EXPECT_TRUE(map.Has(5) && map.Has(6) && map.Has(7));
}

}  // namespace
}  // namespace whale::logstore

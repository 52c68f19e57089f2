#include "logstore/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "common/hash.h"
#include "common/prng.h"
#include "logstore/metadata_record.h"
#include "logstore/test_memory.h"

namespace whale::logstore {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ShardId kShard{0};
constexpr Epoch kEpoch{5};

History OneEpoch() {
  History history;
  history.Add(kEpoch, Lsn(0));
  return history;
}

MetadataEntry MetadataOf(const RecordHeader& header) {
  return {header, HashKey(KeyOf(header))};
}

class RecoveryTest : public ::testing::Test {
 protected:
  RecoveryTest()
      : test_(SmallGeometry(4096, 16, 1)),
        log_(std::make_unique<Log>(test_.pool.get(), kShard)) {}

  Lsn Append(const RecordFields& fields, std::string_view key,
             std::string_view value) {
    const uint64_t bytes = RecordBytes(key.size(), value.size());
    if (!log_->Fits(bytes)) {
      const uint64_t current = log_->SegmentOf(log_->end());
      if (log_->HasSegment(current)) {
        EXPECT_TRUE(log_->AddSegment(current + 1).ok());
        log_->EnterNextSegment(fields.epoch);
      } else {
        EXPECT_TRUE(log_->AddSegment(current).ok());
      }
    }
    const Lsn lsn = log_->Reserve(key.size(), value.size());
    log_->Write(lsn, fields, key, value);
    return lsn;
  }
  Lsn Put(std::string_view key, std::string_view value, Epoch epoch = kEpoch) {
    return Append({.type = RecordType::kPut, .epoch = epoch}, key, value);
  }
  // `count` puts over several segments; their LSNs.
  std::vector<Lsn> Fill(int count) {
    std::vector<Lsn> lsns;
    for (int i = 0; i < count; ++i) {
      lsns.push_back(Put("key" + std::to_string(i), std::string(200, 'v')));
    }
    return lsns;
  }
  void Reopen() {
    log_.reset();
    test_.Reopen();
    log_ = std::make_unique<Log>(test_.pool.get(), kShard);
  }

  RecoveryResult Run(const RecoveryFloors& floors = {},
                     std::vector<MetadataEntry> metadata = {},
                     const History& history = OneEpoch()) {
    std::sort(metadata.begin(), metadata.end(),
              [](const MetadataEntry& a, const MetadataEntry& b) {
                return a.header.lsn < b.header.lsn;
              });
    visited_.clear();
    return Recover(*log_, history, metadata, kLogBegin, floors,
                   [this](Lsn lsn, const RecordHeader& header) {
                     if (header.type != RecordType::kPad) {
                       visited_.push_back(lsn);
                     }
                   });
  }

  TestPool test_;
  std::unique_ptr<Log> log_;
  std::vector<Lsn> visited_;  // by the last Run, pads left out
};

TEST_F(RecoveryTest, EmptyPool) {
  const RecoveryResult result = Run();
  EXPECT_EQ(result.begin, Lsn(4096));
  EXPECT_EQ(result.end, Lsn(4096));
  EXPECT_EQ(result.records, 0u);
  EXPECT_THAT(result.damage, IsEmpty());
}

TEST_F(RecoveryTest, FindsEveryRecordInOrder) {
  const auto lsns = Fill(60);
  const Lsn end = log_->end();
  Reopen();
  const RecoveryResult result = Run();
  EXPECT_EQ(result.end, end);
  EXPECT_EQ(log_->end(), end);
  EXPECT_EQ(visited_, lsns);
  EXPECT_EQ(result.Count(RecordType::kPut), 60u);
  EXPECT_GE(result.Count(RecordType::kPad), 3u);
  EXPECT_EQ(result.bytes, end - Lsn(4096));
  EXPECT_THAT(result.holes, IsEmpty());
  EXPECT_THAT(result.damage, IsEmpty());
  EXPECT_FALSE(result.torn_tail);
}

TEST_F(RecoveryTest, TornRecordEndsTheLog) {
  const auto lsns = Fill(10);
  log_->At(lsns[9])[100] ^= std::byte{1};
  const RecoveryResult result = Run({.announced = lsns[9], .durable = lsns[9]});
  EXPECT_EQ(result.end, lsns[9]);
  EXPECT_TRUE(result.torn_tail);
  EXPECT_THAT(result.damage, IsEmpty());
}

TEST_F(RecoveryTest, WhatFollowsATornRecordIsNotTaken) {
  const auto lsns = Fill(10);
  log_->At(lsns[5])[100] ^= std::byte{1};
  const RecoveryResult result = Run();
  EXPECT_EQ(result.end, lsns[5]);
  EXPECT_EQ(visited_.size(), 5u);
}

TEST_F(RecoveryTest, RecordsAboveACutAreNotTaken) {
  const auto lsns = Fill(10);
  History history = OneEpoch();
  history.Add(Epoch(6), lsns[4]);
  EXPECT_EQ(Run({}, {}, history).end, lsns[4]);
  // Written again in the new epoch: only that.
  log_->set_end(lsns[4]);
  const Lsn again = Put("new", "value", Epoch(6));
  EXPECT_EQ(again, lsns[4]);
  const RecoveryResult result = Run({}, {}, history);
  EXPECT_EQ(result.end, log_->end());
  EXPECT_EQ(visited_.back(), again);
}

TEST_F(RecoveryTest, MetadataWithoutValueIsAHole) {
  const auto lsns = Fill(20);
  const Lsn end = log_->end();
  std::vector<MetadataEntry> metadata;
  for (const int i : {3, 4, 19}) {
    metadata.push_back(MetadataOf(log_->HeaderAt(lsns[i])));
    std::memset(log_->At(lsns[i]), 0, 256);
  }
  metadata.push_back(MetadataOf(log_->HeaderAt(lsns[7])));  // value is here
  const RecoveryResult result = Run({.announced = end}, metadata);
  EXPECT_EQ(result.end, end);
  ASSERT_EQ(result.holes.size(), 3u);
  EXPECT_EQ(result.holes[0].lsn, lsns[3]);
  EXPECT_EQ(result.holes[0].hash, HashKey("key3"));
  EXPECT_EQ(result.holes[1].lsn, lsns[4]);
  EXPECT_EQ(result.holes[2].lsn, lsns[19]);
  EXPECT_EQ(visited_.size(), 17u);
  EXPECT_THAT(result.damage, IsEmpty());
}

TEST_F(RecoveryTest, HoleBelowTheDurableFloorIsDamageToo) {
  const auto lsns = Fill(5);
  const auto metadata = MetadataOf(log_->HeaderAt(lsns[2]));
  std::memset(log_->At(lsns[2]), 0, 256);
  const RecoveryResult result = Run({.durable = lsns[4]}, {metadata});
  EXPECT_EQ(result.holes.size(), 1u);
  ASSERT_EQ(result.damage.size(), 1u);
  EXPECT_EQ(result.damage[0].begin, lsns[2]);
  EXPECT_EQ(result.damage[0].end, lsns[3]);
}

TEST_F(RecoveryTest, ForeignMetadataIsIgnored) {
  const auto lsns = Fill(5);
  const Lsn end = log_->end();
  auto old_epoch = MetadataOf(log_->HeaderAt(lsns[2]));
  old_epoch.header.epoch_low = 4;
  auto too_long = MetadataOf(log_->HeaderAt(lsns[2]));
  too_long.header.value_bytes = kMaxValueBytes;
  std::memset(log_->At(lsns[2]), 0, 256);
  EXPECT_EQ(Run({}, {old_epoch, too_long}).end, lsns[2]);
  // Several for one LSN: the one that belongs is found.
  auto right = old_epoch;
  right.header.epoch_low = 5;
  EXPECT_EQ(Run({}, {old_epoch, too_long, right}).end, end);
}

TEST_F(RecoveryTest, RecordWithoutBodyIsRestoredFromItsMetadata) {
  Put("a", "1");
  const Lsn open = Append({.type = RecordType::kSessionOpen,
                           .epoch = kEpoch,
                           .session = SessionId(9)},
                          "", "");
  const RecordHeader header = log_->HeaderAt(open);
  const Lsn last = Put("b", "2");
  const Lsn end = log_->end();
  log_->Persist(log_->begin(), end);
  std::memset(log_->At(open), 0, sizeof(header));
  const RecoveryResult result =
      Run({.announced = end, .durable = end}, {{header, 0}});
  EXPECT_EQ(result.end, end);
  EXPECT_EQ(result.restored, 1u);
  EXPECT_THAT(result.holes, IsEmpty());
  EXPECT_THAT(result.damage, IsEmpty());
  EXPECT_EQ(visited_.back(), last);
  EXPECT_THAT(visited_, ::testing::Contains(open));
  // It is in the log now, durably.
  Prng prng(1);
  test_.memory.Crash(prng);
  EXPECT_EQ(Run().end, end);
}

// Every byte of a record in the middle, below the floor.
TEST_F(RecoveryTest, RotInTheMiddleIsReportedNotTakenForTheEnd) {
  const auto lsns = Fill(40);
  const Lsn end = log_->end();
  std::byte* record = log_->At(lsns[20]);
  const uint64_t used = 48 + 5 + 200;
  for (uint64_t at = 0; at < used; ++at) {
    for (const uint8_t mask : {0x01, 0x10, 0xff}) {
      record[at] ^= std::byte{mask};
      const RecoveryResult result = Run({.announced = end, .durable = end});
      record[at] ^= std::byte{mask};
      ASSERT_EQ(result.damage.size(), 1u) << at;
      EXPECT_EQ(result.damage[0].begin, lsns[20]);
      EXPECT_EQ(result.damage[0].end, lsns[21]) << at;
      EXPECT_EQ(result.end, end);
      EXPECT_EQ(visited_.size(), 39u);
    }
  }
}

TEST_F(RecoveryTest, RotOfTheLastRecordBelowTheFloor) {
  const auto lsns = Fill(10);
  const Lsn end = log_->end();
  log_->At(lsns[9])[120] ^= std::byte{1};  // its value
  RecoveryResult result = Run({.announced = end});
  ASSERT_EQ(result.damage.size(), 1u);
  EXPECT_EQ(result.damage[0].begin, lsns[9]);
  EXPECT_TRUE(result.damage[0].has_header);
  log_->At(lsns[9])[4] ^= std::byte{1};  // its magic as well
  result = Run({.announced = end});
  ASSERT_EQ(result.damage.size(), 1u);
  EXPECT_EQ(result.damage[0].begin, lsns[9]);
  EXPECT_FALSE(result.damage[0].has_header);
  EXPECT_EQ(result.end, lsns[9]);
}

TEST_F(RecoveryTest, WholeSegmentBlankIsDamage) {
  const auto lsns = Fill(60);
  const Lsn end = log_->end();
  std::memset(log_->SegmentBase(2), 0, 4096);
  const RecoveryResult result = Run({.announced = end});
  ASSERT_EQ(result.damage.size(), 1u);
  EXPECT_EQ(result.damage[0].begin, Lsn(8192));
  EXPECT_EQ(result.damage[0].end, Lsn(12288));
  EXPECT_EQ(result.end, end);
}

TEST_F(RecoveryTest, LogThatEndsBelowItsFloorIsDamaged) {
  Fill(5);
  const Lsn end = log_->end();
  const RecoveryResult result = Run({.announced = end + 4096});
  ASSERT_EQ(result.damage.size(), 1u);
  EXPECT_EQ(result.damage[0].begin, end);
  EXPECT_EQ(result.damage[0].end, end);
  EXPECT_EQ(result.end, end);
}

TEST_F(RecoveryTest, NothingAtAllBelowAFloorIsDamage) {
  const RecoveryResult result = Run({.durable = Lsn(9000)});
  EXPECT_EQ(result.damage.size(), 1u);
}

TEST_F(RecoveryTest, CleanedSegmentsAreSkipped) {
  const auto lsns = Fill(60);
  const Lsn end = log_->end();
  log_->FreeSegment(1);
  log_->FreeSegment(3);
  Reopen();
  const RecoveryResult result = Run({.announced = end, .durable = end});
  EXPECT_EQ(result.begin, Lsn(8192));
  EXPECT_EQ(result.end, end);
  EXPECT_THAT(result.damage, IsEmpty());
  for (const Lsn lsn : visited_) {
    EXPECT_TRUE(lsn >= Lsn(8192) && !(lsn >= Lsn(12288) && lsn < Lsn(16384)));
  }
}

TEST_F(RecoveryTest, FromTheMiddle) {
  const auto lsns = Fill(20);
  std::vector<Lsn> seen;
  const RecoveryResult result =
      Recover(*log_, OneEpoch(), {}, lsns[12], {},
              [&](Lsn lsn, const RecordHeader&) { seen.push_back(lsn); });
  EXPECT_EQ(seen.front(), lsns[12]);
  EXPECT_EQ(result.end, log_->end());
}

// Power goes at any moment: each word that was not persisted is old or new.
// All that was persisted is found, in the same bytes; nothing is found that
// was never written; a second recovery gives the same.
TEST(RecoveryCrashTest, PersistedRecordsSurviveAnyLossOfWords) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Prng prng(seed);
    TestPool test(SmallGeometry(4096, 16, 1));
    Log log(test.pool.get(), kShard);
    struct Written {
      Lsn lsn;
      std::string key, value;
    };
    std::vector<Written> written;
    Lsn persisted = log.begin();
    ASSERT_TRUE(log.AddSegment(1).ok());
    const int count = static_cast<int>(prng.Below(100));
    for (int i = 0; i < count; ++i) {
      Written w{Lsn(), "k" + std::to_string(prng.Below(20)),
                std::string(prng.Below(500), static_cast<char>(prng.Next()))};
      if (!log.Fits(RecordBytes(w.key.size(), w.value.size()))) {
        ASSERT_TRUE(log.AddSegment(log.SegmentOf(log.end()) + 1).ok());
        log.EnterNextSegment(kEpoch);
      }
      w.lsn = log.Reserve(w.key.size(), w.value.size());
      log.Write(w.lsn, {.type = RecordType::kPut, .epoch = kEpoch}, w.key,
                w.value);
      written.push_back(w);
      if (prng.Chance(0.2)) {
        log.Persist(persisted, log.end());
        persisted = log.end();
      }
    }
    test.memory.Crash(prng);
    test.Reopen();
    Log after(test.pool.get(), kShard);
    const auto recover = [&] {
      size_t next = 0;
      const RecoveryResult result =
          Recover(after, OneEpoch(), {}, kLogBegin,
                  {.announced = persisted, .durable = persisted},
                  [&](Lsn lsn, const RecordHeader& header) {
                    if (header.type == RecordType::kPad) return;
                    ASSERT_LT(next, written.size());
                    ASSERT_EQ(lsn, written[next].lsn);
                    ASSERT_EQ(KeyOf(header), written[next].key);
                    ASSERT_EQ(ValueOf(header), written[next].value);
                    ++next;
                  });
      EXPECT_THAT(result.damage, IsEmpty()) << "seed " << seed;
      EXPECT_GE(result.end, persisted);
      EXPECT_LE(result.end, log.end());
      return std::pair(result.end, next);
    };
    const auto first = recover();
    EXPECT_EQ(recover(), first);
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
}

// Any bytes: recovery ends, and stays inside the pool.
TEST(RecoveryCrashTest, RandomDamageNeverCrashesIt) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Prng prng(seed);
    TestPool test(SmallGeometry(4096, 8, 1));
    Log log(test.pool.get(), kShard);
    std::vector<MetadataEntry> metadata;
    ASSERT_TRUE(log.AddSegment(1).ok());
    for (int i = 0; i < 60; ++i) {
      const std::string value(prng.Below(300), 'v');
      if (!log.Fits(RecordBytes(1, value.size()))) {
        ASSERT_TRUE(log.AddSegment(log.SegmentOf(log.end()) + 1).ok());
        log.EnterNextSegment(kEpoch);
      }
      const Lsn lsn = log.Reserve(1, value.size());
      log.Write(lsn, {.type = RecordType::kPut, .epoch = kEpoch}, "k", value);
      if (prng.Chance(0.2)) metadata.push_back(MetadataOf(log.HeaderAt(lsn)));
    }
    const Lsn end = log.end();
    for (uint64_t i = prng.Below(30); i-- > 0;) {
      const Lsn at(4096 + prng.Below(end - Lsn(4096)));
      log.At(at)[0] ^= std::byte(1 + prng.Below(255));
    }
    const RecoveryFloors floors = {.announced = Lsn(prng.Below(40'000)),
                                   .durable = Lsn(prng.Below(40'000))};
    const RecoveryResult result =
        Recover(log, OneEpoch(), metadata, kLogBegin, floors,
                [&](Lsn lsn, const RecordHeader& header) {
                  EXPECT_EQ(header.lsn, lsn.value());
                  EXPECT_LE(lsn, end);
                });
    EXPECT_LE(result.end, end);
    if (result.end < std::max(floors.announced, floors.durable)) {
      EXPECT_FALSE(result.damage.empty());
    }
  }
}

}  // namespace
}  // namespace whale::logstore

#include "logstore/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/crc32c.h"
#include "common/prng.h"
#include "logstore/pool_layout.h"
#include "logstore/test_memory.h"

namespace whale::logstore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ShardId kShard0{0};
constexpr ShardId kShard1{1};

ShardState SomeState(uint64_t salt) {
  ShardState state;
  state.epoch = Epoch(salt + 3);
  state.ended_epoch = Epoch(salt + 4);
  state.committed_start = Lsn(4096 + 16 * salt);
  state.start = Lsn(4112 + 16 * salt);
  state.history.Add(Epoch(1), Lsn(4096));
  state.history.Add(Epoch(salt + 3), state.start);
  state.ring = salt % 2;
  state.announced = Lsn(5008 + salt);
  state.durable = Lsn(5024 + salt);
  state.committed = Lsn(4992 + salt);
  return state;
}

void ExpectSame(const ShardState& a, const ShardState& b) {
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.ended_epoch, b.ended_epoch);
  EXPECT_EQ(a.committed_start, b.committed_start);
  EXPECT_EQ(a.start, b.start);
  EXPECT_EQ(a.history, b.history);
  EXPECT_EQ(a.ring, b.ring);
  EXPECT_EQ(a.announced, b.announced);
  EXPECT_EQ(a.durable, b.durable);
  EXPECT_EQ(a.committed, b.committed);
}

std::vector<uint64_t> Numbers(const Pool& pool, ShardId shard) {
  std::vector<uint64_t> numbers;
  for (const SegmentInfo& segment : pool.Segments(shard)) {
    numbers.push_back(segment.number);
  }
  return numbers;
}

// Two shards with segments, one freed, states stored.
void Fill(Pool& pool) {
  ASSERT_TRUE(pool.AllocateSegment(kShard0, 1).ok());
  ASSERT_TRUE(pool.AllocateSegment(kShard1, 1).ok());
  ASSERT_TRUE(pool.AllocateSegment(kShard0, 2).ok());
  ASSERT_TRUE(pool.AllocateSegment(kShard0, 3).ok());
  pool.FreeSegment(kShard0, 2);
  pool.StoreState(kShard0, SomeState(5));
  pool.StoreState(kShard1, SomeState(8));
}

void ExpectFilled(const Pool& pool) {
  EXPECT_EQ(pool.geometry().server, ServerId(7));
  EXPECT_EQ(pool.geometry().segment_slots, 8u);
  EXPECT_THAT(Numbers(pool, kShard0), ElementsAre(1, 3));
  EXPECT_THAT(Numbers(pool, kShard1), ElementsAre(1));
  EXPECT_EQ(pool.free_slots(), 5u);
  EXPECT_EQ(pool.used_slots(kShard0), 2u);
  const auto state0 = pool.LoadState(kShard0);
  const auto state1 = pool.LoadState(kShard1);
  ASSERT_TRUE(state0.ok() && state1.ok());
  ExpectSame(*state0, SomeState(5));
  ExpectSame(*state1, SomeState(8));
}

TEST(PoolTest, BytesOfTheSuperblock) {
  constexpr uint8_t kBytes[88] = {
      0x57, 0x48, 0x41, 0x4c, 0x45, 0x50, 0x4c, 0x31, 0x03, 0x00, 0x00,
      0x00, 0xe6, 0xe6, 0x8c, 0xfe, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x60, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11,
      0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
      0x11, 0x11, 0x11, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00,
      0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,
  };
  TestPool test;
  EXPECT_EQ(std::memcmp(test.memory.base(), kBytes, sizeof(kBytes)), 0);
  EXPECT_EQ(std::memcmp(test.memory.base() + kPageBytes, test.memory.base(),
                        kPageBytes),
            0);
}

TEST(PoolTest, WordsOfTheSegmentTable) {
  Uuid uuid;
  uuid.fill(0x11);
  EXPECT_EQ(EncodeTableWord(uuid, 0, {.number = 1, .shard = kShard0}),
            0xc3a2000000000001u);
  EXPECT_EQ(EncodeTableWord(uuid, 3, {.number = 0x1234, .shard = kShard1}),
            0xc914000100001234u);
  EXPECT_EQ(EncodeTableWord(uuid, 0, {.number = 0, .shard = kNoShard}),
            0x3ec7ffff00000000u);
  // Of another slot, another pool, or blank.
  EXPECT_FALSE(DecodeTableWord(uuid, 1, 0xc3a2000000000001u).has_value());
  EXPECT_FALSE(DecodeTableWord(Uuid{}, 0, 0xc3a2000000000001u).has_value());
  EXPECT_FALSE(DecodeTableWord(uuid, 0, 0).has_value());
}

TEST(PoolTest, EveryFlippedBitOfATableWordIsSeen) {
  Uuid uuid;
  uuid.fill(0x11);
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_FALSE(
        DecodeTableWord(uuid, 3, 0xc914000100001234u ^ uint64_t{1} << bit)
            .has_value());
  }
}

TEST(PoolTest, SameAfterReopening) {
  TestPool test;
  Fill(*test.pool);
  test.Reopen();
  ExpectFilled(*test.pool);
}

TEST(PoolTest, NewPoolIsEmpty) {
  TestPool test;
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(test.pool->Segments(kShard0).empty());
    EXPECT_EQ(test.pool->free_slots(), 8u);
    EXPECT_EQ(test.pool->quota(), 4u);
    const auto state = test.pool->LoadState(kShard1);
    ASSERT_TRUE(state.ok());
    ExpectSame(*state, ShardState());
    test.Reopen();
  }
}

TEST(PoolTest, AreasLieApartAndInsideThePool) {
  TestPool test;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const ShardId shard : {kShard0, kShard1}) {
    const ShardArea area = test.pool->Area(shard);
    const auto add = [&](const std::byte* begin, uint64_t length) {
      EXPECT_EQ(test.pool->OffsetOf(begin) % kCellBytes, 0);
      ranges.emplace_back(test.pool->OffsetOf(begin),
                          test.pool->OffsetOf(begin) + length);
    };
    add(area.delivery_cells, kDeliveryCells * kCellBytes);
    add(area.chain_cells, 2 * kCellBytes);
    add(area.commit_cells, 2 * kCellBytes);
    add(area.epoch_cells, 2 * kCellBytes);
    add(area.progress_cells, 2 * kMaxBackups * kCellBytes);
    for (const std::byte* ring : area.rings) {
      add(ring, test.pool->geometry().ring_slots * kRingSlotBytes);
    }
  }
  const PoolLayout layout = LayoutOf(test.pool->geometry());
  ranges.emplace_back(0, layout.areas);
  ranges.emplace_back(layout.tables[0], layout.segments);
  for (uint32_t slot = 0; slot < 8; ++slot) {
    const uint64_t begin = test.pool->OffsetOf(test.pool->SlotBase(slot));
    EXPECT_EQ(begin % kPageBytes, 0);
    ranges.emplace_back(begin, begin + 4096);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    EXPECT_LE(ranges[i - 1].second, ranges[i].first);
  }
  EXPECT_EQ(ranges.back().second, Pool::BytesNeeded(test.pool->geometry()));
}

TEST(PoolTest, BadGeometryIsNamed) {
  TestMemory memory(1 << 20);
  const auto refused = [&](auto change, const char* word) {
    Geometry geometry = SmallGeometry();
    change(geometry);
    const auto status = Pool::Format(memory.mapping(), geometry).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  };
  refused([](Geometry& g) { g.shard_count = 0; }, "shard count");
  refused([](Geometry& g) { g.segment_bytes = 5000; }, "segment size");
  refused([](Geometry& g) { g.segment_bytes = 64; }, "segment size");
  refused([](Geometry& g) { g.ring_slots = 3; }, "ring slots");
  refused([](Geometry& g) { g.segment_slots = 1; }, "segment slots");
  refused([](Geometry& g) { g.segment_slots = UINT32_MAX; }, "segment slots");
  refused([](Geometry& g) { g.segment_slots = 1000; }, "larger");
}

TEST(PoolTest, OpenSaysWhatIsWrong) {
  TestPool test;
  const Mapping mapping = test.memory.mapping();
  const auto open_prefix = [&](size_t bytes) {
    Mapping part = mapping;
    part.length_bytes = bytes;
    return Pool::Open(part).status();
  };
  for (const size_t bytes :
       {size_t{100}, size_t{4096}, size_t{8192}, mapping.length_bytes - 1}) {
    EXPECT_EQ(open_prefix(bytes).code(), absl::StatusCode::kDataLoss) << bytes;
  }
  EXPECT_EQ(open_prefix(0).code(), absl::StatusCode::kNotFound);

  TestMemory blank(mapping.length_bytes);
  EXPECT_EQ(Pool::Open(blank.mapping()).status().code(),
            absl::StatusCode::kNotFound);
  std::memset(blank.base(), 0xa5, blank.bytes());
  EXPECT_EQ(Pool::Open(blank.mapping()).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(PoolTest, OtherFormatVersionIsRefusedByName) {
  TestPool test;
  auto* page = reinterpret_cast<SuperblockPage*>(test.memory.base());
  page->format_version = 1;  // before missing and lost records
  const auto* bytes = reinterpret_cast<const std::byte*>(page);
  page->checksum =
      ExtendCrc32c(ExtendCrc32c(0, bytes, 12), bytes + 16, kPageBytes - 16);
  std::memcpy(test.memory.base() + kPageBytes, page, kPageBytes);
  const auto status = Pool::Open(test.memory.mapping()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 1, "));
}

TEST(PoolTest, ClusterIsLearnedOnce) {
  TestPool test;
  Uuid cluster;
  cluster.fill(0x77);
  test.pool->SetClusterUuid(cluster);
  test.Reopen();
  EXPECT_EQ(test.pool->geometry().cluster_uuid, cluster);
}

TEST(PoolTest, QuotaAndPoolRunOut) {
  TestPool test;
  for (uint64_t number = 1; number <= 4; ++number) {
    ASSERT_TRUE(test.pool->AllocateSegment(kShard0, number).ok());
  }
  const auto status = test.pool->AllocateSegment(kShard0, 5).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("server 7"));
  test.pool->FreeSegment(kShard0, 2);
  EXPECT_TRUE(test.pool->AllocateSegment(kShard0, 5).ok());
}

TEST(PoolTest, OwnAndUnusedSlotsArePreferred) {
  TestPool test(SmallGeometry(4096, 4, 2));
  ASSERT_TRUE(test.pool->AllocateSegment(kShard1, 1).ok());
  const auto used = test.pool->AllocateSegment(kShard0, 1);
  ASSERT_TRUE(used.ok());
  std::memset(test.pool->SlotBase(*used), 0x57, 4096);
  test.pool->FreeSegment(kShard0, 1);
  EXPECT_NE(*test.pool->AllocateSegment(kShard1, 2), *used);
  EXPECT_NE(*test.pool->AllocateSegment(kShard0, 2), *used);
  // Its own comes as it was.
  EXPECT_EQ(*test.pool->AllocateSegment(kShard0, 3), *used);
  EXPECT_EQ(test.pool->SlotBase(*used)[100], std::byte{0x57});
}

// Records do not name their shard, so another's would pass for one's own.
TEST(PoolTest, SlotOfAnotherShardComesBlank) {
  TestPool test(SmallGeometry(4096, 4, 2));
  const auto used = test.pool->AllocateSegment(kShard0, 1);
  ASSERT_TRUE(used.ok());
  std::memset(test.pool->SlotBase(*used), 0x57, 4096);
  ASSERT_TRUE(test.pool->AllocateSegment(kShard0, 2).ok());
  ASSERT_TRUE(test.pool->AllocateSegment(kShard1, 1).ok());
  test.pool->FreeSegment(kShard0, 1);
  ASSERT_TRUE(test.pool->AllocateSegment(kShard0, 3).ok());  // the last unused
  test.Reopen();  // who had it is durable
  ASSERT_EQ(*test.pool->AllocateSegment(kShard1, 2), *used);
  for (int i = 0; i < 4096; ++i) {
    ASSERT_EQ(test.pool->SlotBase(*used)[i], std::byte{0});
  }
}

TEST(PoolTest, FormattingAgainForgetsEverything) {
  TestPool test;
  Fill(*test.pool);
  for (const SegmentInfo& segment : test.pool->Segments(kShard0)) {
    std::memset(test.pool->SlotBase(segment.slot), 0x57, 4096);
  }
  test.pool = *Pool::Format(test.memory.mapping(), SmallGeometry());
  EXPECT_EQ(test.pool->free_slots(), 8u);
  const auto slot = test.pool->AllocateSegment(kShard1, 1);
  for (int i = 0; i < 4096; ++i) {
    ASSERT_EQ(test.pool->SlotBase(*slot)[i], std::byte{0});
  }
}

// Every byte of everything but the segments and rings, each way of damage:
// Open gives the right content or an error, LoadState too.
TEST(PoolTest, EveryDamagedByteIsMendedOrSeen) {
  TestPool test;
  Fill(*test.pool);
  const PoolLayout layout = LayoutOf(test.pool->geometry());
  test.pool.reset();
  const std::vector<std::byte> whole(test.memory.base(),
                                     test.memory.base() + test.memory.bytes());
  for (uint64_t at = 0; at < layout.segments; ++at) {
    test.memory.base()[at] ^= std::byte(1 << at % 8);
    {
      const auto pool = Pool::Open(test.memory.mapping());
      // One damaged byte is always mended: everything has a second copy.
      ASSERT_TRUE(pool.ok()) << at << ": " << pool.status();
      ExpectFilled(**pool);
      if (HasFailure()) FAIL() << "byte " << at;
    }
    std::memcpy(test.memory.base(), whole.data(), layout.segments);
  }
}

TEST(PoolTest, DamageInBothCopiesIsAnError) {
  TestPool test;
  Fill(*test.pool);
  const PoolLayout layout = LayoutOf(test.pool->geometry());
  test.pool.reset();
  const std::vector<std::byte> whole(test.memory.base(),
                                     test.memory.base() + test.memory.bytes());
  const auto damage = [&](uint64_t a, uint64_t b) {
    test.memory.base()[a] ^= std::byte{4};
    test.memory.base()[b] ^= std::byte{4};
  };
  for (uint64_t at = 0; at < kPageBytes; ++at) {
    damage(at, kPageBytes + at);
    ASSERT_EQ(Pool::Open(test.memory.mapping()).status().code(),
              absl::StatusCode::kDataLoss)
        << at;
    std::memcpy(test.memory.base(), whole.data(), whole.size());
  }
  for (uint64_t at = 0; at < 8 * sizeof(uint64_t); ++at) {
    damage(layout.tables[0] + at, layout.tables[1] + at);
    ASSERT_EQ(Pool::Open(test.memory.mapping()).status().code(),
              absl::StatusCode::kDataLoss);
    std::memcpy(test.memory.base(), whole.data(), whole.size());
  }
  for (uint64_t at = 0; at < kPageBytes; ++at) {
    damage(layout.State(kShard0, 0) + at, layout.State(kShard0, 1) + at);
    const auto pool = Pool::Open(test.memory.mapping());
    ASSERT_TRUE(pool.ok());
    ASSERT_EQ((*pool)->LoadState(kShard0).status().code(),
              absl::StatusCode::kDataLoss);
    ASSERT_TRUE((*pool)->LoadState(kShard1).ok());
    std::memcpy(test.memory.base(), whole.data(), whole.size());
  }
}

TEST(PoolTest, OneSegmentInTwoSlotsIsDamage) {
  TestPool test;
  Fill(*test.pool);
  const PoolLayout layout = LayoutOf(test.pool->geometry());
  for (const uint64_t table : layout.tables) {
    const uint64_t word = EncodeTableWord(test.pool->geometry().pool_uuid, 7,
                                          {.number = 1, .shard = kShard0});
    std::memcpy(test.memory.base() + table + 7 * 8, &word, 8);
  }
  EXPECT_EQ(Pool::Open(test.memory.mapping()).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(PoolTest, RandomBytesNeverCrashIt) {
  Prng prng(21);
  TestPool test;
  Fill(*test.pool);
  const std::vector<std::byte> whole(test.memory.base(),
                                     test.memory.base() + test.memory.bytes());
  for (int round = 0; round < 2000; ++round) {
    std::memcpy(test.memory.base(), whole.data(), whole.size());
    for (uint64_t i = prng.Below(400); i-- > 0;) {
      test.memory.base()[prng.Below(whole.size())] ^=
          std::byte(prng.Below(256));
    }
    const auto pool = Pool::Open(test.memory.mapping());
    if (!pool.ok()) continue;
    for (const ShardId shard : {kShard0, kShard1}) {
      (void)(*pool)->LoadState(shard);
      for (const SegmentInfo& segment : (*pool)->Segments(shard)) {
        EXPECT_LT(segment.slot, 8u);
      }
    }
  }
}

// A crash in the middle of anything leaves the state before or after it.
TEST(PoolTest, CrashLeavesOldOrNewState) {
  Prng prng(5);
  TestPool test;
  ASSERT_TRUE(test.pool->AllocateSegment(kShard0, 1).ok());
  for (uint64_t i = 0; i < 300; ++i) {
    test.pool->StoreState(kShard0, SomeState(i));
    // The next one is cut off at any point: some of its words are there.
    StatePage page;
    FillState(kShard0, SomeState(i + 1), 1000 + i, &page);
    const PoolLayout layout = LayoutOf(test.pool->geometry());
    const int copy = prng.Chance(0.5) ? 1 : 0;
    if (copy == 1) {
      std::memcpy(test.memory.base() + layout.State(kShard0, 0), &page,
                  sizeof(page));
      test.memory.Persist(test.memory.base() + layout.State(kShard0, 0),
                          sizeof(page));
    }
    std::memcpy(test.memory.base() + layout.State(kShard0, copy), &page,
                sizeof(page));
    test.memory.Crash(prng);
    test.Reopen();
    const auto state = test.pool->LoadState(kShard0);
    ASSERT_TRUE(state.ok());
    const uint64_t salt = state->epoch.value() - 3;
    ASSERT_TRUE(salt == i || salt == i + 1);
    EXPECT_GE(salt, i + copy);
    ExpectSame(*state, SomeState(salt));
    EXPECT_THAT(Numbers(*test.pool, kShard0), ElementsAre(1));
  }
}

TEST(PoolTest, WhatAllocateAndFreeReturnFromIsDurable) {
  Prng prng(6);
  TestPool test;
  std::vector<uint64_t> expected;
  for (uint64_t number = 1; number < 200; ++number) {
    if (expected.size() == 4) {
      const size_t i = prng.Below(expected.size());
      test.pool->FreeSegment(kShard0, expected[i]);
      expected.erase(expected.begin() + i);
    }
    ASSERT_TRUE(test.pool->AllocateSegment(kShard0, number).ok());
    expected.push_back(number);
    test.memory.Crash(prng);
    test.Reopen();
    ASSERT_EQ(Numbers(*test.pool, kShard0), expected);
  }
}

TEST(PoolTest, InterruptedFormatLeavesNoPoolOrAWholeOne) {
  Prng prng(8);
  const Geometry geometry = SmallGeometry();
  int none = 0, whole = 0;
  for (int round = 0; round < 400; ++round) {
    TestMemory memory(Pool::BytesNeeded(geometry));
    memory.LosePowerAfter(static_cast<int>(prng.Below(12)));
    ASSERT_TRUE(Pool::Format(memory.mapping(), geometry).ok());
    memory.Crash(prng);
    auto pool = Pool::Open(memory.mapping());
    if (!pool.ok()) {
      ASSERT_EQ(pool.status().code(), absl::StatusCode::kNotFound)
          << pool.status();
      ++none;
      pool = Pool::Format(memory.mapping(), geometry);
    } else {
      ++whole;
    }
    ASSERT_TRUE(pool.ok());
    EXPECT_EQ((*pool)->free_slots(), 8u);
    EXPECT_TRUE((*pool)->LoadState(kShard1).ok());
  }
  EXPECT_GT(none, 0);
  EXPECT_GT(whole, 0);
}

TEST(PoolTest, InterruptedWorkLeavesOldOrNew) {
  Prng prng(9);
  for (int round = 0; round < 400; ++round) {
    TestPool test;
    Fill(*test.pool);
    test.memory.LosePowerAfter(static_cast<int>(prng.Below(8)));
    test.pool->FreeSegment(kShard0, 1);
    ASSERT_TRUE(test.pool->AllocateSegment(kShard0, 4).ok());
    test.pool->StoreState(kShard1, SomeState(9));
    test.memory.Crash(prng);
    test.Reopen();
    const auto numbers = Numbers(*test.pool, kShard0);
    const auto state = test.pool->LoadState(kShard1);
    ASSERT_TRUE(state.ok());
    const bool is_new = state->epoch == SomeState(9).epoch;
    ExpectSame(*state, SomeState(is_new ? 9 : 8));
    // In the order in which they were done.
    if (is_new) {
      EXPECT_THAT(numbers, ElementsAre(3, 4));
    } else {
      EXPECT_THAT(numbers, ::testing::AnyOf(ElementsAre(1, 3), ElementsAre(3),
                                            ElementsAre(3, 4)));
    }
  }
}

// The process dies in the middle of something, and the power in the middle of
// what the next one does.
TEST(PoolTest, PowerLostAfterARestartLeavesOldOrNew) {
  Prng prng(10);
  for (int round = 0; round < 2000; ++round) {
    TestPool test;
    Fill(*test.pool);
    test.memory.LosePowerAfter(static_cast<int>(prng.Below(4)));
    test.pool->StoreState(kShard1, SomeState(9));
    test.memory.Restart();
    test.Reopen();
    test.memory.LosePowerAfter(static_cast<int>(prng.Below(4)));
    test.pool->StoreState(kShard1, SomeState(10));
    test.memory.Crash(prng);
    test.Reopen();
    const auto state = test.pool->LoadState(kShard1);
    ASSERT_TRUE(state.ok()) << state.status();
  }
}

}  // namespace
}  // namespace whale::logstore

#include "metadata_mcast/cells.h"

#include <gtest/gtest.h>

#include <cstring>

#include "metadata_mcast/cell_writer.h"

namespace whale::metadata_mcast {
namespace {

struct Pair {
  alignas(64) std::byte bytes[kCellSlots * kCellBytes] = {};
};

// What the fabric does with a writer's request.
void Land(const fabric::WorkRequest& request, Pair& pair,
          size_t bytes = kCellBytes) {
  std::memcpy(pair.bytes + request.remote_address, request.local, bytes);
}

fabric::Grant GrantOfPair() { return {1, 0, kCellSlots * kCellBytes}; }

TEST(Cells, FreshMemoryHoldsNone) {
  Pair pair;
  EXPECT_FALSE(NewestWhole<DeliveryCell>(pair.bytes, Epoch(1)));
  EXPECT_FALSE(NewestWhole<EpochCell>(pair.bytes));
}

TEST(Cells, TheNewestWins) {
  Pair pair;
  CellWriter<DeliveryCell> writer(GrantOfPair(), Epoch(3));
  for (uint64_t i = 1; i <= 5; ++i) {
    Land(writer.Write({.delivered = i * 100}), pair);
    const auto cell = NewestWhole<DeliveryCell>(pair.bytes, Epoch(3));
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->delivered, i * 100);
    EXPECT_EQ(cell->sequence, i);
  }
}

TEST(Cells, ATornCellLeavesTheOneBeforeIt) {
  for (size_t torn_at = 8; torn_at < kCellBytes; torn_at += 8) {
    Pair pair;
    CellWriter<DeliveryCell> writer(GrantOfPair(), Epoch(3));
    for (uint64_t i = 1; i <= 3; ++i) {
      Land(writer.Write({.delivered = i * 100, .committed = i * 100}), pair);
    }
    Land(writer.Write({.delivered = 400, .committed = 400}), pair, torn_at);
    const auto cell = NewestWhole<DeliveryCell>(pair.bytes, Epoch(3));
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->delivered, 300u);
  }
}

TEST(Cells, EveryFlippedBitIsSeen) {
  CommitCell cell{.epoch = 3, .committed = 4096, .sequence = 9};
  SealCell(cell);
  ASSERT_TRUE(IsWhole(cell));
  for (size_t bit = 0; bit < kCellBytes * 8; ++bit) {
    CommitCell damaged = cell;
    reinterpret_cast<unsigned char*>(&damaged)[bit / 8] ^= 1u << (bit % 8);
    EXPECT_FALSE(IsWhole(damaged)) << bit;
  }
}

TEST(Cells, CellsOfAnotherEpochDoNotCount) {
  Pair pair;
  CellWriter<DeliveryCell> old_writer(GrantOfPair(), Epoch(2));
  for (uint64_t i = 1; i <= 8; ++i) {
    Land(old_writer.Write({.delivered = 9000}), pair);
  }
  EXPECT_FALSE(NewestWhole<DeliveryCell>(pair.bytes, Epoch(3)));
  CellWriter<DeliveryCell> writer(GrantOfPair(), Epoch(3));
  Land(writer.Write({.delivered = 100}), pair);
  EXPECT_EQ(NewestWhole<DeliveryCell>(pair.bytes, Epoch(3))->delivered, 100u);
}

TEST(Cells, OwnCellsAreReadBack) {
  Pair pair;
  StoreOwnCell(pair.bytes, EpochCell{.ended_epoch = 4, .sequence = 1});
  StoreOwnCell(pair.bytes, EpochCell{.ended_epoch = 5, .sequence = 2});
  EXPECT_EQ(NewestWhole<EpochCell>(pair.bytes)->ended_epoch, 5u);
}

}  // namespace
}  // namespace whale::metadata_mcast

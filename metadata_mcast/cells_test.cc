#include "metadata_mcast/cells.h"

#include <gtest/gtest.h>

#include <cstring>

#include "metadata_mcast/cell_writer.h"

namespace whale::metadata_mcast {
namespace {

struct Slots {
  alignas(64) std::byte bytes[kSlots<DeliveryCell> * kCellBytes] = {};
};

// What the fabric does with a writer's request.
void Land(const fabric::WorkRequest& request, Slots& slots,
          size_t bytes = kCellBytes) {
  std::memcpy(slots.bytes + request.remote_address, request.local, bytes);
}

fabric::Grant GrantOfSlots() { return {1, 0, sizeof(Slots)}; }

TEST(Cells, FreshMemoryHoldsNone) {
  Slots slots;
  EXPECT_FALSE(NewestWhole<DeliveryCell>(slots.bytes, Epoch(1)));
  EXPECT_FALSE(NewestWhole<EpochCell>(slots.bytes));
}

TEST(Cells, TheNewestWins) {
  Slots slots;
  CellWriter<DeliveryCell> writer(GrantOfSlots(), Epoch(3));
  for (uint64_t i = 1; i <= 5; ++i) {
    Land(writer.Write({.delivered = i * 100}), slots);
    const auto cell = NewestWhole<DeliveryCell>(slots.bytes, Epoch(3));
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->delivered, i * 100);
    EXPECT_EQ(cell->sequence, i);
  }
}

TEST(Cells, ATornCellLeavesTheOneBeforeIt) {
  for (size_t torn_at = 8; torn_at < kCellBytes; torn_at += 8) {
    Slots slots;
    CellWriter<DeliveryCell> writer(GrantOfSlots(), Epoch(3));
    for (uint64_t i = 1; i <= 3; ++i) {
      Land(writer.Write({.delivered = i * 100, .committed = i * 100}), slots);
    }
    Land(writer.Write({.delivered = 400, .committed = 400}), slots, torn_at);
    const auto cell = NewestWhole<DeliveryCell>(slots.bytes, Epoch(3));
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->delivered, 300u);
  }
}

TEST(Cells, TheNewestOfThoseThatAreWholeAmongTornOnes) {
  Slots slots;
  CellWriter<DeliveryCell> writer(GrantOfSlots(), Epoch(3));
  for (uint64_t i = 1; i <= kSlots<DeliveryCell>; ++i) {
    Land(writer.Write({.delivered = i * 100}), slots);
  }
  for (uint64_t torn = 1; torn < kSlots<DeliveryCell>; ++torn) {
    Land(writer.Write({.delivered = 9000}), slots, 40);
    const auto cell = NewestWhole<DeliveryCell>(slots.bytes, Epoch(3));
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->delivered, kSlots<DeliveryCell> * 100);
  }
  Land(writer.Write({.delivered = 9000}), slots, 40);
  EXPECT_FALSE(NewestWhole<DeliveryCell>(slots.bytes, Epoch(3)));
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
  Slots slots;
  CellWriter<DeliveryCell> old_writer(GrantOfSlots(), Epoch(2));
  for (uint64_t i = 1; i <= 8; ++i) {
    Land(old_writer.Write({.delivered = 9000}), slots);
  }
  EXPECT_FALSE(NewestWhole<DeliveryCell>(slots.bytes, Epoch(3)));
  CellWriter<DeliveryCell> writer(GrantOfSlots(), Epoch(3));
  Land(writer.Write({.delivered = 100}), slots);
  EXPECT_EQ(NewestWhole<DeliveryCell>(slots.bytes, Epoch(3))->delivered, 100u);
}

TEST(Cells, OwnCellsAreReadBack) {
  Slots slots;
  StoreOwnCell(slots.bytes, EpochCell{.ended_epoch = 4, .sequence = 1});
  StoreOwnCell(slots.bytes, EpochCell{.ended_epoch = 5, .sequence = 2});
  EXPECT_EQ(NewestWhole<EpochCell>(slots.bytes)->ended_epoch, 5u);
}

}  // namespace
}  // namespace whale::metadata_mcast

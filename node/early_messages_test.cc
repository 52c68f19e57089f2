#include "node/early_messages.h"

#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::node {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr ServerId kOne(1);
constexpr ServerId kTwo(2);

void Keep(EarlyMessages& early, ServerId from, uint64_t epoch,
          std::string_view text) {
  early.Keep(from, Epoch(epoch), std::as_bytes(std::span(text)));
}

auto Is(ServerId from, std::string_view text) {
  return ::testing::AllOf(Field(&EarlyMessages::Message::from, from),
                          Field(&EarlyMessages::Message::bytes, text));
}

TEST(EarlyMessagesTest, ComeOutOnceInTheOrderInWhichTheyCame) {
  EarlyMessages early;
  Keep(early, kOne, 3, "a");
  Keep(early, kTwo, 3, "b");
  Keep(early, kOne, 3, "c");
  const EarlyMessages::Taken taken = early.Take(Epoch(3));
  EXPECT_THAT(taken.messages,
              ElementsAre(Is(kOne, "a"), Is(kTwo, "b"), Is(kOne, "c")));
  EXPECT_FALSE(taken.lost_from);
  EXPECT_THAT(early.Take(Epoch(3)).messages, IsEmpty());
}

TEST(EarlyMessagesTest, OnlyTheNewestEpochCounts) {
  EarlyMessages early;
  Keep(early, kOne, 3, "old");
  Keep(early, kOne, 5, "new");
  Keep(early, kTwo, 4, "late");
  EXPECT_THAT(early.Take(Epoch(3)).messages, IsEmpty());
  EXPECT_THAT(early.Take(Epoch(4)).messages, IsEmpty());
  EXPECT_THAT(early.Take(Epoch(5)).messages, ElementsAre(Is(kOne, "new")));
}

TEST(EarlyMessagesTest, WhatIsOlderThanTheEpochTakenIsForgotten) {
  EarlyMessages early;
  Keep(early, kOne, 3, "old");
  EXPECT_THAT(early.Take(Epoch(4)).messages, IsEmpty());
  EXPECT_THAT(early.Take(Epoch(3)).messages, IsEmpty());
}

TEST(EarlyMessagesTest, EndedEpochsTakeNoRoom) {
  EarlyMessages early;
  for (size_t i = 0; i <= EarlyMessages::kMaxMessages; ++i) {
    Keep(early, kOne, 3, "grants");
  }
  Keep(early, kTwo, 4, "ready");
  const EarlyMessages::Taken taken = early.Take(Epoch(4));
  EXPECT_THAT(taken.messages, ElementsAre(Is(kTwo, "ready")));
  EXPECT_FALSE(taken.lost_from);
}

TEST(EarlyMessagesTest, WhatDoesNotFitIsNoted) {
  EarlyMessages early;
  for (size_t i = 0; i < EarlyMessages::kMaxMessages; ++i) {
    Keep(early, kOne, 3, "grants");
  }
  Keep(early, kTwo, 3, "ready");
  const EarlyMessages::Taken taken = early.Take(Epoch(3));
  EXPECT_THAT(taken.messages, SizeIs(EarlyMessages::kMaxMessages));
  EXPECT_EQ(taken.lost_from, kTwo);
}

}  // namespace
}  // namespace whale::node

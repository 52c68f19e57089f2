// The message ring and the notes on what was posted.
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "common/prng.h"
#include "fabric/verbs/message_ring.h"
#include "fabric/verbs/notices.h"
#include "fabric/verbs/send_queue.h"

namespace whale::fabric::verbs {
namespace {

// Messages of all lengths, freed in order: none overlaps another that is not
// free, and room comes back.
TEST(MessageRing, RangesOfMessagesInFlightAreDisjoint) {
  std::vector<std::byte> bytes(MessageRing::kBytes);
  MessageRing ring;
  ring.Reset(bytes.data());
  struct InFlight {
    size_t begin, end;
    uint32_t position;
  };
  std::deque<InFlight> in_flight;
  Prng prng(1);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    const size_t length = prng.Below(kMaxMessageBytes + 1);
    std::byte* const room = ring.Reserve(length);
    if (room == nullptr) {
      ++refused;
      ASSERT_FALSE(in_flight.empty());
      ring.FreeUntil(in_flight.front().position);
      in_flight.pop_front();
      continue;
    }
    const auto begin = static_cast<size_t>(room - bytes.data());
    ASSERT_LE(begin + length, bytes.size());
    for (const InFlight& other : in_flight) {
      ASSERT_TRUE(begin + length <= other.begin || begin >= other.end);
    }
    // Some turn out shorter than their room.
    const size_t used = prng.Chance(0.3) ? length / 2 : length;
    in_flight.push_back({begin, begin + used, ring.Commit(used)});
  }
  EXPECT_GT(refused, 100);
}

TEST(SendQueue, CompletionCoversAllBefore) {
  SendQueue queue;
  queue.Reset(5);  // rounded up
  for (uint32_t round = 0; round < 1000; ++round) {
    const uint32_t first = queue.next();
    for (uint64_t i = 0; i < 5; ++i) queue.Push().cookie = i;
    EXPECT_FALSE(queue.oldest_is_completed());
    EXPECT_FALSE(queue.CompleteUpTo(first + 5)) << "never posted";
    EXPECT_TRUE(queue.CompleteUpTo(first + 2));
    for (uint64_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(queue.oldest_is_completed());
      EXPECT_EQ(queue.oldest().cookie, i);
      queue.PopOldest();
    }
    EXPECT_FALSE(queue.oldest_is_completed());
    EXPECT_TRUE(queue.CompleteUpTo(first + 4));
    queue.PopOldest();
    queue.PopOldest();
    EXPECT_TRUE(queue.empty());
  }
}

// "All before the first one failed" with nothing before it.
TEST(SendQueue, NothingBeforeTheOldest) {
  SendQueue queue;
  queue.Reset(4);
  queue.Push();
  EXPECT_TRUE(queue.CompleteUpTo(queue.next() - 2));
  EXPECT_FALSE(queue.oldest_is_completed());
}

TEST(Notices, KindAndCountTravelTogether) {
  const uint32_t immediate =
      EncodeNotice(NoticeKind::kFlushAnswer, kTakenMask + 5);
  EXPECT_EQ(NoticeKindOf(immediate), NoticeKind::kFlushAnswer);
  EXPECT_EQ(TakenOf(immediate), 4u);
}

}  // namespace
}  // namespace whale::fabric::verbs

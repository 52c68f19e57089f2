// Two-sided messages.
#include <array>
#include <cstring>
#include <string>

#include "common/prng.h"
#include "fabric/conformance/suite.h"

namespace whale::fabric {
namespace {

TEST_P(FabricConformance, MessagesArriveInOrderInBothDirections) {
  const Link link = ConnectEnds();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Send(0, link.near, "to " + std::to_string(i)));
    ASSERT_TRUE(Send(1, link.far, "fro " + std::to_string(i)));
  }
  ASSERT_TRUE(PollUntil([&] {
    return ends_[1].Count(EventKind::kReceived, link.far) == 20 &&
           ends_[0].Count(EventKind::kReceived, link.near) == 20;
  }));
  const auto to = ends_[1].Of(EventKind::kReceived, link.far);
  const auto fro = ends_[0].Of(EventKind::kReceived, link.near);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(to[i].data, "to " + std::to_string(i));
    EXPECT_EQ(fro[i].data, "fro " + std::to_string(i));
  }
}

TEST_P(FabricConformance, MessagesOfAllSizes) {
  const Link link = ConnectEnds();
  const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4095, kMaxMessageBytes};
  for (size_t i = 0; i < std::size(sizes); ++i) {
    const std::string text(sizes[i], static_cast<char>('a' + i));
    ASSERT_TRUE(Send(0, link.near, text));
    ASSERT_TRUE(PollUntil([&] {
      return ends_[1].Count(EventKind::kReceived, link.far) == i + 1;
    }));
    EXPECT_EQ(ends_[1].Of(EventKind::kReceived, link.far)[i].data, text);
  }
}

TEST_P(FabricConformance, AMessageMayBeShorterThanItsRoom) {
  const Link link = ConnectEnds();
  for (int i = 0; i < 3; ++i) {
    std::byte* room =
        ends_[0].fabric->BeginMessage(link.near, kMaxMessageBytes);
    ASSERT_NE(room, nullptr);
    std::memcpy(room, "short", 5);
    ends_[0].fabric->EndMessage(link.near, 5);
  }
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) == 3; }));
  for (const Seen& seen : ends_[1].Of(EventKind::kReceived, link.far)) {
    EXPECT_EQ(seen.data, "short");
  }
}

// Thousands of messages of many sizes, so that every buffer is used again and
// again at every offset.
TEST_P(FabricConformance, ManyMessagesKeepOrderAndContent) {
  const Link link = ConnectEnds();
  Prng sizes(1), contents(1);
  constexpr int kMessages = 5000;
  int sent = 0;
  size_t checked = 0;
  std::vector<size_t> lengths;
  ASSERT_TRUE(PollUntil([&] {
    for (int burst = 0; burst < 50 && sent < kMessages; ++burst) {
      const size_t length = sizes.Chance(0.1)
                                ? sizes.Below(kMaxMessageBytes - 8)
                                : sizes.Below(300);
      std::byte* room = ends_[0].fabric->BeginMessage(link.near, length + 8);
      if (room == nullptr) {
        // Draw the same length again when there is room.
        lengths.push_back(length);
        break;
      }
      const uint64_t number = sent;
      std::memcpy(room, &number, 8);
      std::memset(room + 8, static_cast<int>(number % 251), length);
      ends_[0].fabric->EndMessage(link.near, length + 8);
      ++sent;
    }
    for (; checked < ends_[1].seen.size(); ++checked) {
      const Seen& seen = ends_[1].seen[checked];
      if (seen.event.kind != EventKind::kReceived) continue;
      uint64_t number;
      if (seen.data.size() < 8) return true;
      std::memcpy(&number, seen.data.data(), 8);
      if (seen.data.substr(8) !=
          std::string(seen.data.size() - 8, static_cast<char>(number % 251))) {
        ADD_FAILURE() << "message " << number << " is damaged";
        return true;
      }
    }
    return ends_[1].Count(EventKind::kReceived, link.far) == kMessages;
  }));
  const auto received = ends_[1].Of(EventKind::kReceived, link.far);
  ASSERT_EQ(received.size(), size_t{kMessages});
  for (uint64_t i = 0; i < received.size(); ++i) {
    uint64_t number;
    std::memcpy(&number, received[i].data.data(), 8);
    ASSERT_EQ(number, i);
  }
}

// Nobody polls at the receiver: sooner or later there is no room. Once it
// polls again, everything arrives.
TEST_P(FabricConformance, AFullQueueRefusesAndRecovers) {
  const Link link = ConnectEnds();
  size_t sent = 0;
  constexpr size_t kLimit = 1'000'000;
  while (sent < kLimit) {
    std::byte* room = ends_[0].fabric->BeginMessage(link.near, 1000);
    if (room == nullptr) break;
    std::memset(room, static_cast<int>(sent % 251), 1000);
    ends_[0].fabric->EndMessage(link.near, 1000);
    ++sent;
  }
  ASSERT_LT(sent, kLimit) << "the send queue has no bound";
  ASSERT_GT(sent, 0u);
  ends_[0].fabric->FlushMessages();
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) == sent; }));
  ASSERT_TRUE(Send(0, link.near, "one more"));
  ASSERT_TRUE(PollUntil([&] {
    return ends_[1].Count(EventKind::kReceived, link.far) == sent + 1;
  }));
  const auto received = ends_[1].Of(EventKind::kReceived, link.far);
  for (size_t i = 0; i < sent; ++i) {
    ASSERT_EQ(received[i].data, std::string(1000, static_cast<char>(i % 251)));
  }
}

TEST_P(FabricConformance, ReceivedBytesStayUntilTheNextPoll) {
  const Link link = ConnectEnds();
  ASSERT_TRUE(Send(0, link.near, "first"));
  ends_[0].fabric->FlushMessages();
  std::array<Event, 1> event;
  ASSERT_TRUE(PumpUntil([&] { return ends_[1].fabric->Poll(event) == 1; }));
  ASSERT_EQ(event[0].kind, EventKind::kReceived);
  // The sender goes on until it has no room left; nothing may touch `first`.
  for (int i = 0; i < 100000; ++i) {
    std::byte* room = ends_[0].fabric->BeginMessage(link.near, 100);
    if (room == nullptr) break;
    std::memset(room, 0xee, 100);
    ends_[0].fabric->EndMessage(link.near, 100);
  }
  ends_[0].fabric->FlushMessages();
  fixture_->Pump();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(event[0].data), 5),
            "first");
  // Even when the connection is closed meanwhile.
  ends_[1].fabric->Close(link.far);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(event[0].data), 5),
            "first");
}

TEST_P(FabricConformance, MessagesSentBeforeCloseArriveBeforeTheEnd) {
  const Link link = ConnectEnds();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Send(0, link.near, std::to_string(i)));
  }
  // On their way and taken by the network before the end.
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) >= 1; }));
  ends_[0].fabric->Close(link.near);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kDisconnected, link.far) == 1; }));
  EXPECT_EQ(ends_[1].seen.back().event.kind, EventKind::kDisconnected);
  // What arrives is a prefix, in order.
  const auto received = ends_[1].Of(EventKind::kReceived, link.far);
  for (size_t i = 0; i < received.size(); ++i) {
    EXPECT_EQ(received[i].data, std::to_string(i));
  }
}

TEST_P(FabricConformance, PollWithNoRoomLosesNothing) {
  const Link link = ConnectEnds();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Send(0, link.near, std::to_string(i)));
  }
  for (int i = 0; i < 100; ++i) {
    ends_[0].fabric->Poll({});
    fixture_->Pump();
    EXPECT_EQ(ends_[1].fabric->Poll({}), 0u);
  }
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) == 10; }));
}

}  // namespace
}  // namespace whale::fabric

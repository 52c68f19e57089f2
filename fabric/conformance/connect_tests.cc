// Connecting, refusing, closing.
#include <string>

#include "fabric/conformance/suite.h"

namespace whale::fabric {
namespace {

TEST_P(FabricConformance, HasNameAndAddress) {
  EXPECT_FALSE(ends_[0].fabric->name().empty());
  for (const End& end : ends_) EXPECT_FALSE(end.fabric->address().empty());
}

TEST_P(FabricConformance, BothSidesSeeTheOthersHello) {
  const Link link = ConnectEnds();
  const auto request = ends_[1].Of(EventKind::kConnectRequest, link.far);
  ASSERT_EQ(request.size(), 1u);
  EXPECT_EQ(request[0].data, "hello");
  EXPECT_EQ(ends_[0].Of(EventKind::kConnected, link.near)[0].data, "welcome");
  EXPECT_EQ(ends_[1].Of(EventKind::kConnected, link.far)[0].data, "hello");
}

TEST_P(FabricConformance, HelloMayBeEmptyOrAsLargeAsAllowed) {
  for (const size_t length : {size_t{0}, kMaxHelloBytes}) {
    const std::string hello(length, 'h');
    const size_t first = ends_[1].seen.size();
    const ConnectionId near =
        ends_[0].fabric->Connect(ends_[1].fabric->address(), Bytes(hello));
    ConnectionId far;
    ASSERT_TRUE(PollUntil([&] {
      for (size_t i = first; i < ends_[1].seen.size(); ++i) {
        if (ends_[1].seen[i].event.kind == EventKind::kConnectRequest) {
          far = ends_[1].seen[i].event.connection;
          return true;
        }
      }
      return false;
    }));
    EXPECT_EQ(ends_[1].Of(EventKind::kConnectRequest, far)[0].data, hello);
    ends_[1].fabric->Accept(far, Bytes(hello));
    ASSERT_TRUE(PollUntil(
        [&] { return ends_[0].Count(EventKind::kConnected, near) == 1; }));
    EXPECT_EQ(ends_[0].Of(EventKind::kConnected, near)[0].data, hello);
  }
}

TEST_P(FabricConformance, RejectGivesTheReason) {
  const ConnectionId near =
      ends_[0].fabric->Connect(ends_[1].fabric->address(), Bytes("hello"));
  ASSERT_TRUE(PollUntil([&] { return !ends_[1].seen.empty(); }));
  const ConnectionId far = ends_[1].seen[0].event.connection;
  ends_[1].fabric->Reject(far, "not today");
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[0].Count(EventKind::kConnectFailed, near) == 1; }));
  const Seen failed = ends_[0].Of(EventKind::kConnectFailed, near)[0];
  EXPECT_NE(failed.data.find("not today"), std::string::npos) << failed.data;
  PollMore();
  EXPECT_EQ(ends_[0].seen.size(), 1u);
  EXPECT_EQ(ends_[1].seen.size(), 1u);
  EXPECT_EQ(ends_[0].fabric->Post(near, {}), PostResult::kClosed);
}

TEST_P(FabricConformance, ConnectToNobodyFails) {
  const ConnectionId near =
      ends_[0].fabric->Connect(fixture_->DeadAddress(), Bytes("hello"));
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[0].Count(EventKind::kConnectFailed, near) == 1; }));
  EXPECT_FALSE(ends_[0].seen[0].data.empty());
  PollMore();
  EXPECT_EQ(ends_[0].seen.size(), 1u);
}

TEST_P(FabricConformance, CloseEndsBothSides) {
  const Link link = ConnectEnds();
  ends_[0].fabric->Close(link.near);
  EXPECT_EQ(ends_[0].fabric->Post(link.near, {}), PostResult::kClosed);
  EXPECT_EQ(ends_[0].fabric->BeginMessage(link.near, 8), nullptr);
  EXPECT_EQ(ends_[0].fabric->FreeSlots(link.near), 0u);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kDisconnected, link.far) == 1; }));
  EXPECT_FALSE(ends_[1].Of(EventKind::kDisconnected, link.far)[0].data.empty());
  EXPECT_EQ(ends_[1].fabric->Post(link.far, {}), PostResult::kClosed);
  PollMore();
  EXPECT_EQ(ends_[0].Count(EventKind::kDisconnected, link.near), 0u);
  EXPECT_EQ(ends_[1].Count(EventKind::kDisconnected, link.far), 1u);
}

TEST_P(FabricConformance, CloseWhileConnectingIsSeenByThePeer) {
  const ConnectionId near =
      ends_[0].fabric->Connect(ends_[1].fabric->address(), Bytes("hello"));
  ASSERT_TRUE(PollUntil([&] { return !ends_[1].seen.empty(); }));
  const ConnectionId far = ends_[1].seen[0].event.connection;
  ends_[0].fabric->Close(near);
  // The request may be answered before the end is noticed.
  ends_[1].fabric->Accept(far, Bytes("welcome"));
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kDisconnected, far) == 1; }));
  PollMore();
  EXPECT_TRUE(ends_[0].seen.empty());
}

TEST_P(FabricConformance, ClosingTwiceAndUnknownIdsIsHarmless) {
  const Link link = ConnectEnds();
  Fabric& fabric = *ends_[0].fabric;
  fabric.Close(link.near);
  fabric.Close(link.near);
  fabric.Close(ConnectionId{});
  EXPECT_EQ(fabric.Revoke(link.near), Revocation::kFenced);
  fabric.EndMessage(link.near, 0);
  fabric.Accept(link.near, {});
  fabric.Reject(link.near, "late");
  EXPECT_EQ(fabric.Post(ConnectionId{}, {}), PostResult::kClosed);
}

TEST_P(FabricConformance, IdsAreNotUsedAgain) {
  std::vector<ConnectionId> ids;
  for (int i = 0; i < 5; ++i) {
    const Link link = ConnectEnds();
    for (const ConnectionId id : ids) EXPECT_NE(id, link.near);
    ids.push_back(link.near);
    ends_[0].fabric->Close(link.near);
    ASSERT_TRUE(PollUntil([&] {
      return ends_[1].Count(EventKind::kDisconnected, link.far) == 1;
    }));
  }
}

TEST_P(FabricConformance, EndsMayHaveSeveralConnections) {
  const Link ab = ConnectEnds(0, 1);
  const Link ab2 = ConnectEnds(0, 1);
  const Link ba = ConnectEnds(1, 0);
  const Link bc = ConnectEnds(1, 2);
  const Link ca = ConnectEnds(2, 0);
  ASSERT_TRUE(Send(0, ab.near, "ab"));
  ASSERT_TRUE(Send(0, ab2.near, "ab2"));
  ASSERT_TRUE(Send(1, ba.near, "ba"));
  ASSERT_TRUE(Send(1, bc.near, "bc"));
  ASSERT_TRUE(Send(2, ca.near, "ca"));
  const auto received = [&](size_t end, ConnectionId id, std::string text) {
    const auto messages = ends_[end].Of(EventKind::kReceived, id);
    return messages.size() == 1 && messages[0].data == text;
  };
  EXPECT_TRUE(PollUntil([&] {
    return received(1, ab.far, "ab") && received(1, ab2.far, "ab2") &&
           received(0, ba.far, "ba") && received(2, bc.far, "bc") &&
           received(0, ca.far, "ca");
  }));
}

}  // namespace
}  // namespace whale::fabric

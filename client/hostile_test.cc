// Servers that break the rules: the connection is dropped, the operation goes
// on elsewhere or later, nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/testing/core_fixture.h"
#include "common/prng.h"
#include "common/units.h"

namespace whale::client {
namespace {

using ::testing::HasSubstr;
using wire::RequestType;
using wire::Result;

class HostileTest : public CoreTest {
 protected:
  wire::Reply GoodReply(const SentRequest& request) const {
    wire::Reply reply = {};
    reply.type = request.header.type;
    reply.shard = request.header.shard;
    reply.tag = request.header.tag;
    reply.epoch = request.header.epoch;
    return reply;
  }
  void SendReply(const SentRequest& request, const wire::Reply& reply,
                 size_t body_bytes) {
    std::string bytes(reinterpret_cast<const char*>(&reply), sizeof(reply));
    fabric_.SendRaw(request.connection, bytes + std::string(body_bytes, '!'));
    Run();
  }
  // The connection was dropped, and the get is answered on the next one.
  void ExpectDropped(const std::shared_ptr<Outcome>& get) {
    EXPECT_FALSE(get->has_value());
    Reply(TakeRetry(), Result::kOk, 16, "v");
    ASSERT_TRUE(get->has_value());
    EXPECT_EQ((*get)->value, "v");
    EXPECT_EQ(fabric_.server(1).connects, 2u);
  }
};

TEST_F(HostileTest, ShortReply) {
  Ready();
  auto get = Get("key");
  fabric_.SendRaw(TakeOne().connection, "too short");
  Run();
  ExpectDropped(get);
}

TEST_F(HostileTest, EmptyReply) {
  Ready();
  auto get = Get("key");
  fabric_.SendRaw(TakeOne().connection, "");
  Run();
  ExpectDropped(get);
}

TEST_F(HostileTest, ValueShorterThanItsLength) {
  Ready();
  auto get = Get("key");
  const SentRequest request = TakeOne();
  wire::Reply reply = GoodReply(request);
  reply.value_bytes = 100;
  SendReply(request, reply, 99);
  ExpectDropped(get);
}

TEST_F(HostileTest, ValueSaidToBeInABufferThatWasNotGranted) {
  Ready();
  auto get = Get("key");
  const SentRequest request = TakeOne();
  wire::Reply reply = GoodReply(request);
  reply.value_bytes = 100;
  SendReply(request, reply, 0);
  ExpectDropped(get);
}

TEST_F(HostileTest, ValueBeyondTheBufferThatWasGranted) {
  Ready();
  auto get = Get("key");
  const SentRequest first = TakeOne();
  wire::Reply reply = GoodReply(first);
  reply.result = Result::kBufferTooSmall;
  reply.value_bytes = 10'000;
  SendReply(first, reply, 0);
  const SentRequest second = TakeOne();
  reply = GoodReply(second);
  reply.value_bytes = static_cast<uint32_t>(second.grant->length_bytes + 4097);
  SendReply(second, reply, 0);
  ExpectDropped(get);
}

TEST_F(HostileTest, RoomBeyondEveryLimit) {
  Ready();
  auto get = Get("key");
  const SentRequest request = TakeOne();
  wire::Reply reply = GoodReply(request);
  reply.result = Result::kBufferTooSmall;
  reply.value_bytes = kMaxValueBytes + 1;
  SendReply(request, reply, 0);
  ExpectDropped(get);
}

TEST_F(HostileTest, UnknownResult) {
  Ready();
  auto get = Get("key");
  const SentRequest request = TakeOne();
  wire::Reply reply = GoodReply(request);
  reply.result = static_cast<Result>(200);
  SendReply(request, reply, 0);
  ExpectDropped(get);
}

TEST_F(HostileTest, ReplyOfAnotherType) {
  Ready();
  auto get = Get("key");
  const SentRequest request = TakeOne();
  wire::Reply reply = GoodReply(request);
  reply.type = RequestType::kPut;
  SendReply(request, reply, 0);
  ExpectDropped(get);
}

TEST_F(HostileTest, TagOfAnotherConnectionIsIgnored) {
  Ready();
  auto at_primary = Get("key");
  const SentRequest request = TakeOne();
  Operation pinned;
  pinned.key = "key";
  pinned.replica = 2;
  auto at_replica = Submit(pinned);
  const SentRequest other = TakeOne();
  SentRequest forged = request;
  forged.connection = other.connection;
  Reply(forged, Result::kOk, 16, "forged");
  EXPECT_FALSE(at_primary->has_value());
  EXPECT_FALSE(at_replica->has_value());
}

TEST_F(HostileTest, HelloOfAnotherClusterVersionOrServer) {
  core_->OnMap(MakeMap(1, 1));
  const wire::Hello good = fabric_.server(1).hello;
  std::vector<std::pair<wire::Hello, std::string>> bad(5, {good, ""});
  bad[0].first.magic = 1;
  bad[0].second = "not a Whale server";
  bad[1].first.protocol_version = 99;
  bad[1].second = "protocol version 99";
  bad[2].first.cluster_uuid[0] ^= 1;
  bad[2].second = "another cluster";
  bad[3].first.from_server = 2;
  bad[3].second = "server 2";
  bad[4].first.credits = 0;
  bad[4].second = "no credits";
  for (const auto& [hello, text] : bad) {
    fabric_.server(1).hello = hello;
    auto get = Get("key", 20 * kMs);
    for (int i = 0; i < 1000 && !get->has_value(); ++i) Advance(kMs);
    ASSERT_TRUE(get->has_value());
    EXPECT_EQ((*get)->status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string((*get)->status.message()), HasSubstr(text));
    EXPECT_FALSE(fabric_.IsConnected(1));
    Advance(kSecond);
  }
}

TEST_F(HostileTest, GarbageOfAnyLengthNeverCrashes) {
  Ready();
  Prng prng(7);
  for (int round = 0; round < 300; ++round) {
    auto get = Get("key", kSecond);
    const SentRequest request = TakeRetry();
    std::string bytes(prng.Below(200), '\0');
    for (char& byte : bytes) byte = static_cast<char>(prng.Next());
    // Often with a tag that is known, so that the rest is looked at.
    const size_t tag_at = offsetof(wire::Reply, tag);
    if (bytes.size() >= sizeof(wire::Reply) && prng.Chance(0.8)) {
      std::memcpy(bytes.data() + tag_at, &request.header.tag, 8);
      bytes[0] = static_cast<char>(request.header.type);
      bytes[1] = static_cast<char>(prng.Below(13));
    }
    fabric_.SendRaw(request.connection, bytes);
    Run();
    Advance(2 * kSecond);
    EXPECT_TRUE(get->has_value());
    Take();
  }
  auto get = Get("key");
  Reply(TakeRetry(), Result::kOk, 16, "still here");
  EXPECT_EQ((*get)->value, "still here");
}

}  // namespace
}  // namespace whale::client

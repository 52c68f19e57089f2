// Large values in the client's registered buffer.
#include "client/buffers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/testing/core_fixture.h"
#include "common/units.h"

namespace whale::client {
namespace {

using ::testing::HasSubstr;
using wire::RequestType;
using wire::Result;

class LargeValueTest : public CoreTest {
 protected:
  // Answers a get whose value the server has written into the buffer.
  void ReplyInBuffer(const SentRequest& request, std::string_view value) {
    fabric_.WriteGrant(*request.grant, value);
    wire::Reply reply = {};
    reply.result = Result::kOk;
    reply.epoch = request.header.epoch;
    reply.version = 16;
    reply.value_bytes = static_cast<uint32_t>(value.size());
    fabric_.Reply(request, reply);
    Run();
  }
  void ReplyTooSmall(const SentRequest& request, uint32_t value_bytes) {
    wire::Reply reply = {};
    reply.result = Result::kBufferTooSmall;
    reply.epoch = request.header.epoch;
    reply.value_bytes = value_bytes;
    fabric_.Reply(request, reply);
    Run();
  }
};

TEST_F(LargeValueTest, PutGrantsItsValue) {
  Ready();
  const std::string value(kMaxValueBytes, 'x');
  auto put = Put("key", value);
  const SentRequest request = TakeOne();
  ASSERT_TRUE(request.grant.has_value());
  EXPECT_EQ(request.value, "");
  EXPECT_EQ(request.header.value_bytes, value.size());
  EXPECT_EQ(request.grant->length_bytes, value.size());
  EXPECT_EQ(fabric_.ReadGrant(*request.grant), value);
  Reply(request, Result::kOk, 16);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(LargeValueTest, InlineUpToTheLimitOnly) {
  Ready();
  auto small = Put("key", std::string(4096, 'x'));
  EXPECT_FALSE(TakeOne().grant.has_value());
  auto large = Put("key", std::string(4097, 'x'));
  EXPECT_TRUE(TakeOne().grant.has_value());
}

TEST_F(LargeValueTest, GetLearnsTheSizeThenGrantsRoom) {
  Ready();
  const std::string value(100'000, 'y');
  auto get = Get("key");
  const SentRequest first = TakeOne();
  EXPECT_FALSE(first.grant.has_value());
  ReplyTooSmall(first, value.size());
  const SentRequest second = TakeOne();
  ASSERT_TRUE(second.grant.has_value());
  EXPECT_GE(second.grant->length_bytes, value.size());
  ReplyInBuffer(second, value);
  EXPECT_EQ((*get)->value, value);
}

TEST_F(LargeValueTest, NextGetGrantsRoomAtOnceUntilAValueIsSmall) {
  Ready();
  auto first = Get("key");
  ReplyTooSmall(TakeOne(), 50'000);
  ReplyInBuffer(TakeOne(), std::string(50'000, 'y'));
  auto second = Get("key");
  const SentRequest request = TakeOne();
  ASSERT_TRUE(request.grant.has_value());
  Reply(request, Result::kOk, 16, "small");
  EXPECT_EQ((*second)->value, "small");
  auto third = Get("key");
  EXPECT_FALSE(TakeOne().grant.has_value());
}

TEST_F(LargeValueTest, ValueThatGrewMeanwhileIsAskedForAgain) {
  Ready();
  auto get = Get("key");
  ReplyTooSmall(TakeOne(), 10'000);
  ReplyTooSmall(TakeOne(), 90'000);
  const SentRequest request = TakeOne();
  EXPECT_GE(request.grant->length_bytes, 90'000u);
  ReplyInBuffer(request, std::string(90'000, 'z'));
  EXPECT_EQ((*get)->value.size(), 90'000u);
}

TEST_F(LargeValueTest, FullBufferMakesOperationsWaitInTurn) {
  CoreOptions options;
  options.buffer_bytes = 8 * kMiB;
  StartCore(options);
  Ready();
  const std::string value(3 * kMiB, 'x');
  auto a = Put("a", value);
  auto b = Put("b", value);
  auto c = Put("c", value);
  auto d = Put("d", value);
  std::vector<SentRequest> sent = Take();
  ASSERT_EQ(sent.size(), 2u);
  Reply(sent[0], Result::kOk, 16);
  const SentRequest third = TakeOne();
  EXPECT_EQ(third.key, "c");
  EXPECT_EQ(fabric_.ReadGrant(*third.grant), value);
  auto small = Put("e", "small values need none");
  EXPECT_EQ(TakeOne().key, "e");
  Reply(third, Result::kOk, 16);
  EXPECT_EQ(TakeOne().key, "d");
}

TEST_F(LargeValueTest, RangeOfAnExpiredPutIsNotReusedWhileTheServerMayReadIt) {
  CoreOptions options;
  options.buffer_bytes = 4 * kMiB;
  StartCore(options);
  Ready();
  auto lost = Put("lost", std::string(3 * kMiB, 'x'), 10 * kMs);
  const SentRequest hung = TakeOne();
  Advance(20 * kMs);
  ASSERT_TRUE(lost->has_value());
  auto next = Put("next", std::string(3 * kMiB, 'y'));
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(fabric_.ReadGrant(*hung.grant), std::string(3 * kMiB, 'x'));
  Reply(hung, Result::kOk, 16);
  EXPECT_EQ(TakeOne().key, "next");
}

TEST_F(LargeValueTest, LostConnectionIsRevokedBeforeItsRangesAreReused) {
  Ready();
  auto get = Get("key");
  ReplyTooSmall(TakeOne(), 100'000);
  const SentRequest hung = TakeOne();
  fabric_.Disconnect(1);
  Run();
  ASSERT_EQ(fabric_.revoked.size(), 1u);
  EXPECT_EQ(fabric_.revoked[0].value, hung.connection.value);
  const SentRequest retry = TakeRetry();
  ReplyInBuffer(retry, std::string(100'000, 'v'));
  EXPECT_EQ((*get)->value, std::string(100'000, 'v'));
}

TEST_F(LargeValueTest, MemoryThatCouldNotBeFencedIsAbandoned) {
  Ready();
  auto get = Get("key");
  ReplyTooSmall(TakeOne(), 100'000);
  const SentRequest hung = TakeOne();
  fabric_.revocation = fabric::Revocation::kMoveMemory;
  fabric_.Disconnect(1);
  Run();
  const SentRequest retry = TakeRetry();
  EXPECT_NE(retry.grant->key, hung.grant->key);
  // The stopped peer goes on writing into the old memory.
  ReplyInBuffer(retry, std::string(100'000, 'v'));
  fabric_.WriteGrant(*hung.grant, std::string(100'000, '?'));
  EXPECT_EQ((*get)->value, std::string(100'000, 'v'));
}

// A request that was moved to another server leaves its old range to the old
// server: what that one still writes must not show in the new answer.
TEST_F(LargeValueTest, RetriedGetHasItsOwnRoom) {
  Ready();
  auto get = Get("key");
  ReplyTooSmall(TakeOne(), 100'000);
  const SentRequest old_request = TakeOne();
  core_->OnMap(MakeMap(2, 2, {2, 3}));
  Run();
  const SentRequest retry = TakeOne();
  ASSERT_TRUE(retry.grant.has_value());
  fabric_.WriteGrant(*retry.grant, std::string(100'000, 'n'));
  fabric_.WriteGrant(*old_request.grant, std::string(100'000, 'o'));
  ReplyInBuffer(retry, std::string(100'000, 'n'));
  EXPECT_EQ((*get)->value, std::string(100'000, 'n'));
}

TEST_F(LargeValueTest, RetriedPutGrantsTheSameValue) {
  Ready();
  const std::string value(100'000, 'p');
  auto put = Put("key", value);
  TakeOne();
  core_->OnMap(MakeMap(2, 2, {2, 3}));
  Run();
  const SentRequest retry = TakeOne();
  EXPECT_EQ(fabric_.ReadGrant(*retry.grant), value);
}

TEST_F(LargeValueTest, ValueBeyondTheBufferIsRefusedWithTheCure) {
  CoreOptions options;
  options.buffer_bytes = 64 * kKiB;
  StartCore(options);
  Ready();
  auto put = Put("key", std::string(100'000, 'x'));
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string((*put)->status.message()), HasSubstr("buffer_bytes"));
  auto get = Get("key");
  ReplyTooSmall(TakeOne(), 100'000);
  EXPECT_EQ((*get)->status.code(), absl::StatusCode::kResourceExhausted);
}

TEST(ClientBufferTest, FreedRangesGrowTogetherAgain) {
  FakeFabric fabric;
  ClientBuffer buffer(&fabric, 64 * kKiB);
  std::vector<BufferRange*> ranges;
  for (int i = 0; i < 4; ++i) ranges.push_back(buffer.Allocate(16 * kKiB));
  EXPECT_EQ(buffer.Allocate(1), nullptr);
  EXPECT_EQ(buffer.LargestFreeBytes(), 0u);
  for (int i : {2, 0, 3, 1}) buffer.Release(ranges[i]);
  BufferRange* all = buffer.Allocate(64 * kKiB);
  ASSERT_NE(all, nullptr);
  buffer.Hold(all);
  buffer.Release(all);
  EXPECT_EQ(buffer.Allocate(1), nullptr);
  buffer.Release(all);
  EXPECT_EQ(buffer.LargestFreeBytes(), 64 * kKiB);
}

}  // namespace
}  // namespace whale::client

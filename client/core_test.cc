// Requests and replies when nothing fails: what is sent to whom, credits,
// limits, order, reads.
#include "client/core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "client/testing/core_fixture.h"
#include "common/hash.h"
#include "common/units.h"

namespace whale::client {
namespace {

using ::testing::HasSubstr;
using wire::RequestType;
using wire::Result;

TEST_F(CoreTest, PutCarriesKeyValueSessionAndNumber) {
  Ready();
  auto put = Put("key", "value");
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.server, 1u);
  EXPECT_EQ(request.header.type, RequestType::kPut);
  EXPECT_EQ(request.key, "key");
  EXPECT_EQ(request.value, "value");
  EXPECT_EQ(request.header.value_bytes, 5u);
  EXPECT_EQ(request.header.epoch, 1u);
  EXPECT_EQ(request.header.session, kSession);
  EXPECT_EQ(request.header.request, 2u);  // Ready has written once
  Reply(request, Result::kOk, 4096);
  ASSERT_TRUE(put->has_value());
  EXPECT_TRUE((*put)->status.ok());
  EXPECT_EQ((*put)->version, 4096u);
  EXPECT_EQ((*put)->copies, 2u);
  EXPECT_EQ(core_->in_flight(), 0u);
}

TEST_F(CoreTest, HelloNamesClusterAndServer) {
  Ready();
  const wire::Hello& hello = fabric_.server(1).last_caller;
  EXPECT_EQ(hello.magic, wire::kHelloMagic);
  EXPECT_EQ(hello.purpose, wire::Purpose::kClient);
  EXPECT_EQ(hello.to_server, 1u);
  EXPECT_EQ(hello.from_server, 0u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(hello.cluster_uuid), 16),
            std::string(kUuid, 16));
}

TEST_F(CoreTest, GetAnswersValueAndNotFound) {
  Ready();
  auto found = Get("key");
  auto missing = Get("other");
  const std::vector<SentRequest> requests = Take();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].header.request, 0u);
  EXPECT_FALSE(requests[0].grant.has_value());
  Reply(requests[0], Result::kOk, 48, "the value");
  Reply(requests[1], Result::kNotFound);
  EXPECT_EQ((*found)->value, "the value");
  EXPECT_EQ((*found)->version, 48u);
  EXPECT_EQ((*missing)->status.code(), absl::StatusCode::kNotFound);
}

TEST_F(CoreTest, CompareTellsTheVersionThatIsThere) {
  Ready();
  Operation compare;
  compare.type = OperationType::kCompareAndPut;
  compare.key = "key";
  compare.value = "new";
  compare.expected_version = 64;
  auto outcome = Submit(compare);
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.header.type, RequestType::kCompareAndPut);
  EXPECT_EQ(request.header.argument, 64u);
  Reply(request, Result::kCompareFailed, 128);
  EXPECT_EQ((*outcome)->status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*outcome)->version, 128u);
  EXPECT_THAT(std::string((*outcome)->status.message()), HasSubstr("128"));
}

TEST_F(CoreTest, LimitsAreNamedWithWhatWasGiven) {
  Ready();
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  const std::string long_value(kMaxValueBytes + 1, 'v');
  auto empty_key = Put("", "value");
  auto key = Put(long_key, "value");
  auto value = Put("key", long_value);
  for (const auto& outcome : {empty_key, key, value}) {
    ASSERT_TRUE(outcome->has_value());
    EXPECT_EQ((*outcome)->status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(std::string((*key)->status.message()), HasSubstr("4097"));
  EXPECT_THAT(std::string((*value)->status.message()), HasSubstr("4194305"));
  EXPECT_TRUE(Take().empty());
}

TEST_F(CoreTest, LongestKeyAndInlineValueTravel) {
  Ready();
  const std::string key(kMaxKeyBytes, 'k');
  auto put = Put(key, std::string(4096, 'v'));
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.key, key);
  EXPECT_EQ(request.header.value_bytes, 4096u);
  Reply(request, Result::kOk, 16);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(CoreTest, NeverMoreUnansweredThanCredits) {
  Ready();
  std::vector<std::shared_ptr<Outcome>> gets;
  for (int i = 0; i < 20; ++i) gets.push_back(Get("key" + std::to_string(i)));
  std::vector<SentRequest> sent = Take();
  ASSERT_EQ(sent.size(), kCredits);
  for (uint32_t i = 0; i < kCredits; ++i) {
    EXPECT_EQ(sent[i].key, "key" + std::to_string(i));
  }
  Reply(sent[3], Result::kNotFound);
  const SentRequest next = TakeOne();
  EXPECT_EQ(next.key, "key8");
  EXPECT_TRUE(gets[3]->has_value());
}

TEST_F(CoreTest, RepliesInAnyOrder) {
  Ready();
  auto first = Put("a", "1");
  auto second = Put("b", "2");
  const std::vector<SentRequest> sent = Take();
  Reply(sent[1], Result::kOk, 200);
  EXPECT_FALSE(first->has_value());
  EXPECT_EQ((*second)->version, 200u);
  Reply(sent[0], Result::kOk, 100);
  EXPECT_EQ((*first)->version, 100u);
}

TEST_F(CoreTest, DuplicateReplyIsIgnored) {
  Ready();
  auto first = Get("a");
  const SentRequest request = TakeOne();
  Reply(request, Result::kOk, 16, "one");
  auto second = Get("b");
  const SentRequest next = TakeOne();
  EXPECT_NE(next.header.tag, request.header.tag);
  Reply(request, Result::kOk, 32, "two");
  EXPECT_FALSE(second->has_value());
  EXPECT_TRUE(fabric_.IsConnected(1));
  Reply(next, Result::kOk, 48, "three");
  EXPECT_EQ((*first)->value, "one");
  EXPECT_EQ((*second)->value, "three");
}

TEST_F(CoreTest, FullSendQueueKeepsTheOrder) {
  Ready();
  fabric_.send_queue_messages = 0;
  auto a = Get("a");
  auto b = Get("b");
  EXPECT_TRUE(Take().empty());
  EXPECT_LE(core_->NextDeadlineNs(), clock_.NowNs() + kMs);
  fabric_.send_queue_messages = SIZE_MAX;
  Run();
  const std::vector<SentRequest> sent = Take();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].key, "a");
  EXPECT_EQ(sent[1].key, "b");
}

TEST_F(CoreTest, KeysGoToTheirShards) {
  core_->OnMap(MakeMap(1, 5, {2, 3, 1}, 16));
  std::set<uint16_t> shards;
  for (int i = 0; i < 8; ++i) {
    const std::string key = "key" + std::to_string(i);
    auto get = Get(key);
    const SentRequest request = TakeOne();
    EXPECT_EQ(request.header.shard, ShardOfHash(HashKey(key), 16).value());
    EXPECT_EQ(request.server, 2u);
    EXPECT_EQ(request.header.epoch, 5u);
    shards.insert(request.header.shard);
    Reply(request, Result::kNotFound);
  }
  EXPECT_GT(shards.size(), 2u);
}

TEST_F(CoreTest, AnyReplicaReadsAreSpread) {
  Ready();
  Operation get;
  get.key = "key";
  get.any_replica = true;
  std::vector<int> count(4);
  for (int i = 0; i < 9; ++i) {
    auto outcome = Submit(get);
    const SentRequest request = TakeOne();
    ++count[request.server];
    Reply(request, Result::kNotFound);
  }
  EXPECT_EQ(count, (std::vector<int>{0, 3, 3, 3}));
}

TEST_F(CoreTest, PinnedReadStaysAtItsReplica) {
  Ready();
  Operation get;
  get.key = "key";
  get.replica = 3;
  auto outcome = Submit(get);
  SentRequest request = TakeOne();
  EXPECT_EQ(request.server, 3u);
  Reply(request, Result::kNotServing);
  request = TakeRetry();
  EXPECT_EQ(request.server, 3u);
  Reply(request, Result::kOk, 16, "v");
  EXPECT_EQ((*outcome)->value, "v");
}

TEST_F(CoreTest, ReplicaWithoutLeaseSendsReadToThePrimary) {
  Ready();
  Operation get;
  get.key = "key";
  get.any_replica = true;
  SentRequest request;
  std::shared_ptr<Outcome> outcome;
  do {
    outcome = Submit(get);
    request = TakeOne();
    if (request.server == 1) Reply(request, Result::kNotFound);
  } while (request.server == 1);
  Reply(request, Result::kNotServing);
  request = TakeOne();
  EXPECT_EQ(request.server, 1u);
  Reply(request, Result::kOk, 16, "v");
  EXPECT_EQ((*outcome)->value, "v");
}

TEST_F(CoreTest, SessionReadNamesWhatThisClientHasSeen) {
  Ready();
  auto put = Put("key", "value");
  Reply(TakeOne(), Result::kOk, 4096);
  Operation get;
  get.key = "key";
  get.read_level = ReadLevel::kSession;
  auto outcome = Submit(get);
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.header.flags, wire::kSessionRead);
  EXPECT_GT(request.header.argument, 4096u);
  EXPECT_LE(request.header.argument, 4096u + 48);
}

TEST_F(CoreTest, WaitReplicatedAsksOnlyWhereSomethingWasWritten) {
  Operation wait;
  wait.type = OperationType::kWaitReplicated;
  auto nothing = Submit(wait);
  ASSERT_TRUE(nothing->has_value());
  EXPECT_TRUE((*nothing)->status.ok());
  Ready();
  auto put = Put("key", "value");
  Reply(TakeOne(), Result::kOk, 4096);
  auto waited = Submit(wait);
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.header.type, RequestType::kWaitReplicated);
  EXPECT_GT(request.header.argument, 4096u);
  EXPECT_FALSE(waited->has_value());
  Reply(request, Result::kOk);
  EXPECT_TRUE((*waited)->status.ok());
  auto again = Submit(wait);
  EXPECT_TRUE(Take().empty());
  EXPECT_TRUE((*again)->status.ok());
}

TEST_F(CoreTest, FullDurabilityIsAskedFor) {
  Ready();
  Operation put;
  put.type = OperationType::kPut;
  put.key = "key";
  put.full_durability = true;
  auto outcome = Submit(put);
  EXPECT_EQ(TakeOne().header.flags, wire::kFullDurability);
}

TEST_F(CoreTest, CallbackMaySubmit) {
  Ready();
  Operation get;
  get.key = "first";
  std::string second_value;
  core_->Submit(get, [&](OperationResult) {
    Operation next;
    next.key = "second";
    core_->Submit(next,
                  [&](OperationResult result) { second_value = result.value; });
  });
  Run();
  Reply(TakeOne(), Result::kNotFound);
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.key, "second");
  Reply(request, Result::kOk, 16, "v");
  EXPECT_EQ(second_value, "v");
}

TEST_F(CoreTest, UnfinishedOperationsEndWithTheCore) {
  Ready();
  auto sent = Get("a");
  auto large = Put("b", std::string(100'000, 'x'));
  core_ = nullptr;
  EXPECT_FALSE(sent->has_value());
  EXPECT_FALSE(large->has_value());
}

}  // namespace
}  // namespace whale::client

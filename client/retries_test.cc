// What goes wrong and is tried again: old maps, lost connections, full
// servers, deadlines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/testing/core_fixture.h"

namespace whale::client {
namespace {

using ::testing::HasSubstr;
using wire::Reason;
using wire::RequestType;
using wire::Result;

using RetryTest = CoreTest;

std::string Text(const Outcome& outcome) {
  return std::string(outcome->status.message());
}

TEST_F(RetryTest, WrongEpochIsRetriedWithTheSameNumberAndTheNewMap) {
  Ready();
  auto put = Put("key", "value");
  const SentRequest first = TakeOne();
  const int asked = maps_.maps_asked;
  ReplyFrom(2, first, Result::kWrongEpoch);
  EXPECT_GT(maps_.maps_asked, asked);
  core_->OnMap(MakeMap(2, 2, {2, 3}));
  Run();
  const SentRequest second = TakeOne();
  EXPECT_EQ(second.server, 2u);
  EXPECT_EQ(second.header.epoch, 2u);
  EXPECT_EQ(second.header.request, first.header.request);
  EXPECT_EQ(second.header.session, first.header.session);
  EXPECT_EQ(second.value, "value");
  Reply(second, Result::kOk, 640);
  EXPECT_EQ((*put)->version, 640u);
}

TEST_F(RetryTest, WriteWhoseEpochEndedIsInDoubtUntilTheNextOneAnswers) {
  Ready();
  auto lost = Put("lost", "value", 50 * kMs);
  auto put = Put("key", "value", kSecond);
  const std::vector<SentRequest> first = Take();
  ASSERT_EQ(first.size(), 2u);
  for (const SentRequest& request : first) {
    ReplyFrom(1, request, Result::kEpochEnded);
  }
  for (int i = 0; i < 60; ++i) {
    Advance(kMs);
    for (const SentRequest& request : Take()) {
      ReplyFrom(1, request, Result::kUnavailable);
    }
  }
  ASSERT_TRUE(lost->has_value());
  EXPECT_EQ((*lost)->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Text(*lost), HasSubstr("outcome unknown"));
  EXPECT_FALSE(put->has_value());
  core_->OnMap(MakeMap(2, 2, {2, 3}));
  Run();
  const SentRequest retry = TakeOne();
  EXPECT_EQ(retry.header.request, first[1].header.request);
  Reply(retry, Result::kOk, 640);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(RetryTest, WriteThatAnOldMapMisledDidNotHappen) {
  Ready();
  auto put = Put("key", "value", 50 * kMs);
  for (int i = 0; i < 60; ++i) {
    for (const SentRequest& request : Take()) {
      ReplyFrom(2, request, Result::kWrongEpoch);
    }
    Advance(kMs);
  }
  ASSERT_TRUE(put->has_value());
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(*put), HasSubstr("epoch"));
}

TEST_F(RetryTest, ServerThatIsBehindIsAskedAgain) {
  Ready();
  core_->OnMap(MakeMap(2, 7));
  auto put = Put("key", "value");
  SentRequest request = TakeOne();
  EXPECT_EQ(request.header.epoch, 7u);
  ReplyFrom(6, request, Result::kWrongEpoch);
  request = TakeRetry();
  Reply(request, Result::kOk, 640);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(RetryTest, NewMapMovesUnansweredRequests) {
  Ready();
  auto put = Put("key", "value");
  const SentRequest old_request = TakeOne();
  core_->OnMap(MakeMap(2, 2, {3, 2}));
  Run();
  const SentRequest retry = TakeOne();
  EXPECT_EQ(retry.server, 3u);
  EXPECT_EQ(retry.header.request, old_request.header.request);
  EXPECT_NE(retry.header.tag, old_request.header.tag);
}

// An answer without effect leaves no record: what an earlier epoch said need
// not hold in the one where the request was retried.
TEST_F(RetryTest, AnswerOfAnEarlierEpochIsIgnored) {
  Ready();
  Operation compare;
  compare.type = OperationType::kCompareAndPut;
  compare.key = "key";
  auto outcome = Submit(compare);
  const SentRequest old_request = TakeOne();
  core_->OnMap(MakeMap(2, 2, {2, 3}));
  Run();
  const SentRequest retry = TakeOne();
  ReplyFrom(1, old_request, Result::kCompareFailed, 999);
  EXPECT_FALSE(outcome->has_value());
  Reply(retry, Result::kOk, 640);
  EXPECT_TRUE((*outcome)->status.ok());
  EXPECT_EQ((*outcome)->version, 640u);
}

TEST_F(RetryTest, AnswerFromBelowTheEpochThatWasAskedIsNotBelieved) {
  Ready();
  core_->OnMap(MakeMap(2, 5));
  auto get = Get("key");
  ReplyFrom(4, TakeOne(), Result::kNotFound);
  EXPECT_FALSE(get->has_value());
  Reply(TakeRetry(), Result::kOk, 16, "v");
  EXPECT_EQ((*get)->value, "v");
}

TEST_F(RetryTest, LostConnectionIsOpenedAgainAndRequestsRepeatedInOrder) {
  Ready();
  auto a = Put("a", "1");
  auto b = Put("b", "2");
  const std::vector<SentRequest> first = Take();
  fabric_.Disconnect(1);
  Run();
  EXPECT_FALSE(a->has_value());
  Advance(10 * kMs);
  const std::vector<SentRequest> second = Take();
  ASSERT_EQ(second.size(), 2u);
  for (int i : {0, 1}) {
    EXPECT_EQ(second[i].key, first[i].key);
    EXPECT_EQ(second[i].header.request, first[i].header.request);
    Reply(second[i], Result::kOk, 640 + i);
  }
  EXPECT_TRUE((*a)->status.ok());
  EXPECT_TRUE((*b)->status.ok());
}

TEST_F(RetryTest, ReplicaThatIsGoneDoesNotHoldUpReads) {
  Ready();
  fabric_.server(2).accepts = false;
  Operation get;
  get.key = "key";
  get.any_replica = true;
  for (int i = 0; i < 6; ++i) {
    auto outcome = Submit(get);
    for (const SentRequest& request : Take()) {
      EXPECT_NE(request.server, 2u);
      Reply(request, Result::kNotFound);
    }
    EXPECT_TRUE(outcome->has_value());
  }
}

TEST_F(RetryTest, ReplicaThatIsBackServesReadsAgain) {
  Ready();
  fabric_.server(2).accepts = false;
  Operation get;
  get.key = "key";
  get.any_replica = true;
  int at_second = 0;
  for (int i = 0; i < 12; ++i) {
    if (i == 6) {
      fabric_.server(2).accepts = true;
      Advance(kSecond);
    }
    auto outcome = Submit(get);
    for (const SentRequest& request : Take()) {
      at_second += request.server == 2;
      Reply(request, Result::kNotFound);
    }
    EXPECT_TRUE(outcome->has_value());
  }
  EXPECT_EQ(at_second, 2);
}

TEST_F(RetryTest, FullServerIsAskedLessAndLess) {
  Ready();
  auto put = Put("key", "value", 10 * kSecond);
  SentRequest request = TakeOne();
  const uint64_t number = request.header.request;
  std::vector<int64_t> pauses;
  for (int i = 0; i < 9; ++i) {
    wire::Reply reply = {};
    reply.result = Result::kResourceExhausted;
    reply.detail = static_cast<uint32_t>(Reason::kWindowFull);
    reply.epoch = 1;
    fabric_.Reply(request, reply);
    Run();
    const int64_t before = clock_.NowNs();
    request = TakeRetry();
    EXPECT_EQ(request.header.request, number);
    pauses.push_back(clock_.NowNs() - before);
  }
  EXPECT_LT(pauses.front(), 3 * kMs);
  EXPECT_GT(pauses.back(), 20 * kMs);
  EXPECT_LT(pauses.back(), 160 * kMs);
  Reply(request, Result::kOk, 16);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(RetryTest, RefusalUntilTheDeadlineNamesServerAndReason) {
  Ready();
  auto put = Put("key", "value", 50 * kMs);
  for (int i = 0; i < 100 && !put->has_value(); ++i) {
    for (const SentRequest& request : Take()) {
      wire::Reply reply = {};
      reply.result = Result::kResourceExhausted;
      reply.detail = static_cast<uint32_t>(Reason::kPoolFull);
      reply.epoch = 1;
      fabric_.Reply(request, reply);
    }
    Advance(kMs);
  }
  ASSERT_TRUE(put->has_value());
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Text(*put), HasSubstr("server 1"));
  EXPECT_THAT(Text(*put), HasSubstr("pool is full"));
}

TEST_F(RetryTest, WriteWithoutAnswerHasUnknownOutcome) {
  Ready();
  auto put = Put("key", "value", 50 * kMs);
  auto get = Get("key", 50 * kMs);
  Take();
  Advance(49 * kMs);
  EXPECT_FALSE(put->has_value());
  Advance(kMs);
  ASSERT_TRUE(put->has_value());
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Text(*put), HasSubstr("outcome unknown"));
  EXPECT_EQ((*get)->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Text(*get), HasSubstr("server 1"));
}

TEST_F(RetryTest, WriteThatWasRefusedAfterALossIsStillInDoubt) {
  Ready();
  auto put = Put("key", "value", 100 * kMs);
  Take();
  fabric_.Disconnect(1);
  Run();
  for (int i = 0; i < 200 && !put->has_value(); ++i) {
    for (const SentRequest& request : Take()) {
      Reply(request, Result::kUnavailable);
    }
    Advance(kMs);
  }
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Text(*put), HasSubstr("outcome unknown"));
}

TEST_F(RetryTest, LateReplyOfAnExpiredRequestChangesNothing) {
  Ready();
  auto get = Get("a", 10 * kMs);
  const SentRequest late = TakeOne();
  Advance(20 * kMs);
  ASSERT_TRUE(get->has_value());
  auto next = Get("b");
  const SentRequest request = TakeOne();
  Reply(late, Result::kOk, 16, "old");
  EXPECT_FALSE(next->has_value());
  Reply(request, Result::kOk, 32, "new");
  EXPECT_EQ((*next)->value, "new");
}

TEST_F(RetryTest, WriteThatWasNeverSentDidNotHappen) {
  for (uint32_t id : {1, 2, 3}) fabric_.server(id).accepts = false;
  core_->OnMap(MakeMap(1, 1));
  auto put = Put("key", "value", 50 * kMs);
  auto get = Get("key", 50 * kMs);
  for (int i = 0; i < 60; ++i) Advance(kMs);
  ASSERT_TRUE(put->has_value());
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(*put), HasSubstr("session"));
  EXPECT_EQ((*get)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(*get), HasSubstr("refused"));
}

TEST_F(RetryTest, NoMapSaysWhatTheCoordinatorSaid) {
  auto get = Get("key", 50 * kMs);
  EXPECT_EQ(maps_.maps_asked, 1);
  core_->OnMapError(absl::UnavailableError("connection refused at port 7400"));
  Advance(60 * kMs);
  EXPECT_EQ((*get)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(*get), HasSubstr("port 7400"));
}

TEST_F(RetryTest, OperationsWaitForTheFirstMap) {
  auto get = Get("key");
  EXPECT_TRUE(Take().empty());
  core_->OnMap(MakeMap(1, 1));
  Run();
  Reply(TakeOne(), Result::kOk, 16, "v");
  EXPECT_EQ((*get)->value, "v");
}

TEST_F(RetryTest, InactiveShardSaysWhy) {
  core_->OnMap(MakeMap(1, 1, {}));
  auto get = Get("key", 50 * kMs);
  Advance(60 * kMs);
  EXPECT_EQ((*get)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(*get), HasSubstr("no member is there"));
  auto later = Get("key", kSecond);
  core_->OnMap(MakeMap(2, 1, {2}));
  Run();
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.server, 2u);
}

TEST_F(RetryTest, SilenceAsksForANewMap) {
  Ready();
  auto get = Get("key");
  Take();
  const int asked = maps_.maps_asked;
  Advance(50 * kMs);
  EXPECT_EQ(maps_.maps_asked, asked);
  for (int i = 0; i < 30; ++i) Advance(10 * kMs);
  EXPECT_GT(maps_.maps_asked, asked);
}

TEST_F(RetryTest, ServerThatHoldsAllCreditsInSilenceIsConnectedAgain) {
  Ready();
  for (uint32_t i = 0; i < kCredits; ++i) Get("key", 10 * kMs);
  Take();
  auto get = Get("last", 10 * kSecond);
  for (int i = 0; i < 30; ++i) Advance(100 * kMs);
  Reply(TakeRetry(), Result::kOk, 16, "v");
  ASSERT_TRUE(get->has_value());
  EXPECT_EQ((*get)->value, "v");
  EXPECT_EQ(fabric_.server(1).connects, 2u);
}

TEST_F(RetryTest, RestartedServerIsConnectedAgainAtItsNewAddress) {
  Ready();
  auto put = Put("key", "value");
  const SentRequest first = TakeOne();
  fabric_.server(1).hello.from_incarnation = 555;
  proto::ClusterMap map = MakeMap(2, 2);
  map.mutable_servers(0)->set_incarnation(555);
  core_->OnMap(map);
  Run();
  const SentRequest second = TakeOne();
  EXPECT_NE(second.connection.value, first.connection.value);
  EXPECT_EQ(second.header.request, first.header.request);
}

TEST_F(RetryTest, ZeroTimeoutEndsAtOnce) {
  Ready();
  auto get = Get("key", 0);
  ASSERT_TRUE(get->has_value());
  EXPECT_FALSE((*get)->status.ok());
}

TEST_F(RetryTest, MapOfAnotherClusterIsRefused) {
  Ready();
  proto::ClusterMap map = MakeMap(9, 9, {3});
  map.set_cluster_uuid("another 16 bytes");
  core_->OnMap(map);
  EXPECT_EQ(core_->map().version(), 1u);
}

TEST_F(RetryTest, OlderMapIsIgnored) {
  core_->OnMap(MakeMap(5, 5, {2}));
  core_->OnMap(MakeMap(4, 4, {3}));
  auto get = Get("key");
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.server, 2u);
  EXPECT_EQ(request.header.epoch, 5u);
}

}  // namespace
}  // namespace whale::client

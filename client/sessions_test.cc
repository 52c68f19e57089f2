// Sessions, request numbers and their window.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/request_window.h"
#include "client/testing/core_fixture.h"

namespace whale::client {
namespace {

using ::testing::HasSubstr;
using wire::RequestType;
using wire::Result;

using SessionTest = CoreTest;

TEST_F(SessionTest, OpenedBeforeTheFirstWriteOfAShard) {
  answer_sessions_ = false;
  core_->OnMap(MakeMap(1, 1));
  auto a = Put("a", "1");
  auto b = Put("b", "2");
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(maps_.sessions_asked, 1);
  core_->OnSession(kSession, 60 * kSecond);
  Run();
  const SentRequest open = TakeOne();
  EXPECT_EQ(open.header.type, RequestType::kOpenSession);
  EXPECT_EQ(open.header.session, kSession);
  Reply(open, Result::kOk);
  const std::vector<SentRequest> writes = Take();
  ASSERT_EQ(writes.size(), 2u);
  EXPECT_EQ(writes[0].header.request, 1u);
  EXPECT_EQ(writes[1].header.request, 2u);
  EXPECT_EQ(maps_.sessions_asked, 1);
}

TEST_F(SessionTest, ReadsNeedNone) {
  core_->OnMap(MakeMap(1, 1));
  auto get = Get("key");
  EXPECT_EQ(TakeOne().header.type, RequestType::kGet);
  EXPECT_EQ(maps_.sessions_asked, 0);
}

TEST_F(SessionTest, OpeningIsRetried) {
  answer_sessions_ = false;
  core_->OnMap(MakeMap(1, 1));
  core_->OnSession(kSession, 60 * kSecond);
  auto put = Put("key", "value");
  Reply(TakeOne(), Result::kUnavailable);
  const SentRequest again = TakeRetry();
  EXPECT_EQ(again.header.type, RequestType::kOpenSession);
  Reply(again, Result::kOk);
  Reply(TakeOne(), Result::kOk, 16);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(SessionTest, LostSessionOfAWriteThatDidNotHappenIsReplaced) {
  Ready();
  auto put = Put("key", "value");
  const SentRequest first = TakeOne();
  EXPECT_EQ(maps_.sessions_asked, 0);
  Reply(first, Result::kUnknownSession);
  EXPECT_EQ(maps_.sessions_asked, 1);
  EXPECT_FALSE(put->has_value());
  core_->OnSession(kSession + 1, 60 * kSecond);
  Run();
  const SentRequest second = TakeOne();
  EXPECT_EQ(second.header.session, kSession + 1);
  EXPECT_EQ(second.header.request, 1u);
  Reply(second, Result::kOk, 64);
  EXPECT_TRUE((*put)->status.ok());
}

TEST_F(SessionTest, LostSessionOfAWriteInDoubtLeavesTheOutcomeUnknown) {
  Ready();
  auto put = Put("key", "value");
  Take();
  fabric_.Disconnect(1);
  Run();
  Reply(TakeRetry(), Result::kUnknownSession);
  ASSERT_TRUE(put->has_value());
  EXPECT_EQ((*put)->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string((*put)->status.message()),
              HasSubstr("outcome unknown"));
  EXPECT_TRUE(Take().empty());
}

TEST_F(SessionTest, KeptAliveWhenIdle) {
  Ready();
  answer_sessions_ = false;
  Take();
  int keep_alives = 0;
  for (int i = 0; i < 60; ++i) {
    Advance(kSecond);
    for (const SentRequest& request : Take()) {
      EXPECT_EQ(request.header.type, RequestType::kKeepAlive);
      EXPECT_EQ(request.header.session, kSession);
      Reply(request, Result::kOk);
      ++keep_alives;
    }
  }
  EXPECT_GE(keep_alives, 2);
  EXPECT_LE(keep_alives, 3);
}

TEST_F(SessionTest, KeepAliveOfALostSessionReplacesItBeforeTheNextWrite) {
  Ready();
  answer_sessions_ = false;
  Advance(30 * kSecond);
  const SentRequest keep_alive = TakeOne();
  Reply(keep_alive, Result::kUnknownSession);
  answer_sessions_ = true;
  auto put = Put("key", "value");
  EXPECT_EQ(maps_.sessions_asked, 1);
  core_->OnSession(kSession + 1, 60 * kSecond);
  Run();
  EXPECT_EQ(TakeOne().header.session, kSession + 1);
}

// The window must never be wider than the outcomes a server keeps.
TEST_F(SessionTest, NewestNumberStaysNearTheOldestUnanswered) {
  fabric_.AddServer(1, 101, 1000, kUuid);
  CoreOptions options;
  options.max_in_flight = 10'000;
  StartCore(options);
  fabric_.AddServer(1, 101, 1000, kUuid);
  Ready();
  for (int i = 0; i < 600; ++i) Put("key" + std::to_string(i), "v");
  std::vector<SentRequest> sent = Take();
  ASSERT_EQ(sent.size(), wire::kSessionWindow);
  // All but the oldest are answered: still nothing more may be sent.
  for (size_t i = 1; i < sent.size(); ++i) Reply(sent[i], Result::kOk, 16);
  EXPECT_TRUE(Take().empty());
  Reply(sent[0], Result::kOk, 16);
  sent = Take();
  ASSERT_EQ(sent.size(), 600 - wire::kSessionWindow);
  EXPECT_EQ(sent.front().header.request, 2 + wire::kSessionWindow);
  EXPECT_EQ(sent.front().header.session, kSession);
}

TEST_F(SessionTest, ExpiredInDoubtBlocksNothingForLong) {
  fabric_.AddServer(1, 101, 1000, kUuid);
  Ready();
  auto lost = Put("lost", "v", 10 * kMs);
  const SentRequest hung = TakeOne();
  Advance(20 * kMs);
  ASSERT_TRUE(lost->has_value());
  // Its number stays used: the window closes behind it ...
  uint64_t newest = 0;
  for (uint64_t i = 1; i < wire::kSessionWindow; ++i) {
    Put("key", "v");
    const SentRequest request = TakeOne();
    EXPECT_EQ(request.header.session, kSession);
    newest = request.header.request;
    Reply(request, Result::kOk, 16);
  }
  EXPECT_EQ(newest, hung.header.request + wire::kSessionWindow - 1);
  // ... and then a new session is asked for.
  auto put = Put("key", "v");
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(maps_.sessions_asked, 1);
  core_->OnSession(kSession + 1, 60 * kSecond);
  Run();
  const SentRequest request = TakeOne();
  EXPECT_EQ(request.header.session, kSession + 1);
  EXPECT_EQ(request.header.request, 1u);
}

TEST_F(SessionTest, LateAnswerSettlesItsNumber) {
  fabric_.AddServer(1, 101, 1000, kUuid);
  Ready();
  auto lost = Put("lost", "v", 10 * kMs);
  const SentRequest late = TakeOne();
  Advance(20 * kMs);
  Reply(late, Result::kOk, 16);
  EXPECT_EQ((*lost)->status.code(), absl::StatusCode::kDeadlineExceeded);
  for (uint64_t i = 0; i < 2 * wire::kSessionWindow; ++i) {
    Put("key", "v");
    const SentRequest request = TakeOne();
    ASSERT_EQ(request.header.session, kSession);
    Reply(request, Result::kOk, 16);
  }
}

TEST_F(SessionTest, AtMostMaxInFlightWritesPerShard) {
  CoreOptions options;
  options.max_in_flight = 2;
  StartCore(options);
  Ready();
  auto a = Put("a", "1");
  auto b = Put("b", "2");
  auto c = Put("c", "3");
  const std::vector<SentRequest> sent = Take();
  ASSERT_EQ(sent.size(), 2u);
  Reply(sent[0], Result::kOk, 16);
  EXPECT_EQ(TakeOne().key, "c");
}

TEST(RequestWindowTest, FullAtItsBound) {
  RequestWindow window;
  for (uint64_t i = 1; i <= wire::kSessionWindow; ++i) {
    ASSERT_FALSE(window.full());
    EXPECT_EQ(window.Take(), i);
  }
  EXPECT_TRUE(window.full());
  window.Settle(2);
  EXPECT_TRUE(window.full());
  window.Settle(1);  // moves past 2 as well
  EXPECT_EQ(window.Take(), wire::kSessionWindow + 1);
  EXPECT_EQ(window.Take(), wire::kSessionWindow + 2);
  EXPECT_TRUE(window.full());
}

TEST(RequestWindowTest, AbandonedStaysUntilSettled) {
  RequestWindow window;
  const uint64_t number = window.Take();
  window.Abandon(number);
  EXPECT_TRUE(window.oldest_abandoned());
  window.Settle(number);
  EXPECT_FALSE(window.oldest_abandoned());
  window.Settle(number);  // once more changes nothing
  EXPECT_EQ(window.Take(), 2u);
}

}  // namespace
}  // namespace whale::client

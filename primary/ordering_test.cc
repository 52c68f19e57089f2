// The primary gives writes their places: what is decided, what waits, what is
// refused (protocol, sections 4, 5 and 9).
#include "primary/ordering.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "common/hash.h"
#include "logstore/missing.h"
#include "metadata_mcast/test_replica.h"

namespace whale::primary {
namespace {

using logstore::RecordType;
using metadata_mcast::TestReplica;
using wire::Reason;
using wire::RequestType;
using wire::Result;

constexpr Epoch kEpoch{1};
constexpr SessionId kSession{5};
constexpr uint64_t kSegmentBytes = 4096;
constexpr uint64_t kWindowBytes = 1024;
constexpr size_t kMaxDeferred = 3;

struct Refusal {
  uint64_t tag;
  Result result;
  Reason reason;
  bool operator==(const Refusal&) const = default;
};

class OrderingTest : public testing::Test, public OrderingEffects {
 protected:
  OrderingTest()
      : memory_(kSegmentBytes), state_(&memory_.pool(), TestReplica::kShard) {
    state_.log.set_end(state_.log.begin());
    state_.history.Add(kEpoch, state_.log.begin());
    Restart(state_.log.begin());
    EXPECT_TRUE(ordering_->BeginEpoch(state_.log.begin()));
    ordering_->OpenSession(Write{.tag = 1, .session = kSession});
    answers_.clear();
    Replicate();
  }

  // The next epoch's primary, on the same state; `start`: its cut.
  void Restart(Lsn start) {
    ordering_.emplace(&state_,
                      OrderingOptions{.epoch = kEpoch,
                                      .start = start,
                                      .window_bytes = kWindowBytes,
                                      .max_deferred = kMaxDeferred},
                      this);
    ordering_->set_writable_segment(1);
    ordering_->set_replicated(start);
  }
  Write Request(RequestType type, std::string_view key,
                std::string_view value = {}, uint64_t expected_version = 0) {
    ++requests_;
    return {.tag = requests_,
            .type = type,
            .session = kSession,
            .request = RequestNumber(requests_),
            .expected_version = expected_version,
            .hash = HashKey(key),
            .key = key,
            .value = value,
            .value_bytes = static_cast<uint32_t>(value.size())};
  }
  // The tag of the request.
  uint64_t Put(std::string_view key, std::string_view value) {
    const Write write = Request(RequestType::kPut, key, value);
    ordering_->Submit(write);
    return write.tag;
  }
  Write LargePut(std::string_view key, uint32_t value_bytes) {
    Write write = Request(RequestType::kPut, key);
    write.value_in_buffer = true;
    write.value_bytes = value_bytes;
    return write;
  }
  void CommitAll() {
    state_.committed = state_.log.end();
    state_.Apply();
    Replicate();
  }
  // A committed put whose value no member has, at `missing_`; the record itself
  // is in `original_`.
  Write MissingPut(std::string_view key) {
    const Write write = Request(RequestType::kPut, key, "value");
    missing_ = state_.log.end();
    ordering_->Submit(write);
    std::byte* record = state_.log.At(missing_);
    const auto& header = *reinterpret_cast<logstore::RecordHeader*>(record);
    std::memcpy(original_.data(), record, logstore::RecordBytes(header));
    const logstore::MissingRecord missing =
        logstore::MakeMissing(header, HashKey(key));
    std::memcpy(record, &missing, sizeof(missing));
    CommitAll();
    return write;
  }
  void Replicate() { ordering_->set_replicated(state_.log.end()); }
  const WaitingReply& LastAnswer() const { return answers_.back(); }

  void AnswerWhenCommitted(const Write& write, Result result, uint64_t version,
                           Lsn after, ReplyKind kind) override {
    answers_.push_back(MakeReply(write, result, version, after, kind));
  }
  void Refuse(const Write& write, Result result, Reason reason) override {
    refusals_.push_back({write.tag, result, reason});
  }
  bool OthersMayLack(Lsn lsn) const override { return lsn == lacked_; }
  void StartPull(const Write& write, Lsn lsn, std::byte* to) override {
    pulls_.push_back(lsn);
    EXPECT_EQ(to, state_.log.ValueAddress(lsn));
  }

  TestReplica memory_;
  chain::ReplicaState state_;
  std::optional<Ordering> ordering_;
  std::vector<WaitingReply> answers_;
  std::vector<Refusal> refusals_;
  std::vector<Lsn> pulls_;
  uint64_t requests_ = 0;
  Lsn missing_;
  std::optional<Lsn> lacked_;  // by others
  alignas(16) std::array<std::byte, 128> original_{};
};

// ----------------------------------------------------------------- decisions

TEST_F(OrderingTest, AnAnswerWaitsForItsRecordsCommit) {
  const Lsn lsn = state_.log.end();
  const uint64_t tag = Put("k", "v");
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(LastAnswer().tag, tag);
  EXPECT_EQ(LastAnswer().after, lsn);
  EXPECT_EQ(LastAnswer().version, lsn.value());
  EXPECT_EQ(state_.log.ValueAt(lsn), "v");
}

TEST_F(OrderingTest, ComparesAreDecidedAgainstWhatIsOrderedAndNotCommitted) {
  Put("k", "v");
  const uint64_t version = LastAnswer().version;
  ordering_->Submit(Request(RequestType::kCompareAndPut, "k", "w", version));
  EXPECT_EQ(LastAnswer().result, Result::kOk);
  const uint64_t second = LastAnswer().version;
  EXPECT_GT(second, version);
  const Lsn end = state_.log.end();
  ordering_->Submit(Request(RequestType::kCompareAndPut, "k", "x", version));
  EXPECT_EQ(LastAnswer().result, Result::kCompareFailed);
  EXPECT_EQ(LastAnswer().version, second);
  EXPECT_EQ(LastAnswer().after, Lsn(second));  // what it observed
  EXPECT_TRUE(LastAnswer().is_read);
  EXPECT_EQ(state_.log.end(), end);  // no record
}

TEST_F(OrderingTest, DeletesOfNothingLeaveNoRecord) {
  const Lsn end = state_.log.end();
  ordering_->Submit(Request(RequestType::kDelete, "k"));
  EXPECT_EQ(LastAnswer().result, Result::kNotFound);
  ordering_->Submit(Request(RequestType::kDeleteIf, "k", {}, 0));
  EXPECT_EQ(LastAnswer().result, Result::kNotFound);
  ordering_->Submit(Request(RequestType::kDeleteIf, "k", {}, 9));
  EXPECT_EQ(LastAnswer().result, Result::kCompareFailed);
  EXPECT_EQ(state_.log.end(), end);

  Put("k", "v");
  const uint64_t version = LastAnswer().version;
  ordering_->Submit(Request(RequestType::kDeleteIf, "k", {}, version));
  EXPECT_EQ(LastAnswer().result, Result::kOk);
  // The tombstone is what a later "not found" observed.
  const Lsn tombstone = LastAnswer().after;
  ordering_->Submit(Request(RequestType::kDelete, "k"));
  EXPECT_EQ(LastAnswer().result, Result::kNotFound);
  EXPECT_EQ(LastAnswer().after, tombstone);
  ordering_->Submit(Request(RequestType::kCompareAndPut, "k", "again", 0));
  EXPECT_EQ(LastAnswer().result, Result::kOk);
}

TEST_F(OrderingTest, OtherTypesAreInvalid) {
  ordering_->Submit(Request(RequestType::kGet, "k"));
  EXPECT_EQ(LastAnswer().result, Result::kInvalid);
}

// -------------------------------------------------------------- exactly once

TEST_F(OrderingTest, ARetryAttachesToItsRecord) {
  Write write = Request(RequestType::kPut, "k", "v");
  ordering_->Submit(write);
  const WaitingReply first = LastAnswer();
  const Lsn end = state_.log.end();
  write.tag = 99;
  ordering_->Submit(write);
  EXPECT_EQ(LastAnswer().tag, 99u);
  EXPECT_EQ(LastAnswer().after, first.after);
  EXPECT_EQ(LastAnswer().version, first.version);
  EXPECT_FALSE(LastAnswer().needs_copies);
  EXPECT_EQ(state_.log.end(), end);
}

TEST_F(OrderingTest, ARetryOfAnEarlierEpochsRecordNeedsCopies) {
  const Write write = Request(RequestType::kPut, "k", "v");
  ordering_->Submit(write);
  Restart(state_.log.end());
  ordering_->Submit(write);
  EXPECT_TRUE(LastAnswer().needs_copies);
}

TEST_F(OrderingTest, ARetryWaitsForTheOthersToHaveItsValue) {
  const Write write = Request(RequestType::kPut, "k", "v");
  ordering_->Submit(write);
  Restart(state_.log.end());
  lacked_ = Lsn(LastAnswer().version);
  const size_t answered = answers_.size();
  ordering_->Submit(write);
  EXPECT_EQ(
      refusals_,
      (std::vector<Refusal>{{write.tag, Result::kEpochEnded, Reason::kHole}}));
  lacked_.reset();
  ordering_->Submit(write);
  EXPECT_EQ(answers_.size(), answered + 1);
}

TEST_F(OrderingTest, UnknownSessionsAreRefusedNotExecuted) {
  const Lsn end = state_.log.end();
  Write write = Request(RequestType::kPut, "k", "v");
  write.session = SessionId(6);
  ordering_->Submit(write);
  EXPECT_EQ(refusals_,
            (std::vector<Refusal>{
                {write.tag, Result::kUnknownSession, Reason::kNone}}));
  EXPECT_EQ(state_.log.end(), end);
}

TEST_F(OrderingTest, ASessionIsOpenedOnceAndEndsByARecord) {
  const Lsn end = state_.log.end();
  ordering_->OpenSession(Write{.tag = 7, .session = kSession});
  EXPECT_EQ(LastAnswer().tag, 7u);
  EXPECT_EQ(state_.log.end(), end);
  ordering_->EndSession(kSession);
  EXPECT_EQ(state_.log.HeaderAt(end).type, RecordType::kSessionEnd);
  Put("k", "v");
  ASSERT_EQ(refusals_.size(), 1u);
  EXPECT_EQ(refusals_[0].result, Result::kUnknownSession);
}

// ------------------------------------------------------------------- waiting

TEST_F(OrderingTest, AtTheWindowsBoundWritesWaitInOrderThenAreRefused) {
  const std::string value(200, 'v');
  while (!ordering_->has_deferred()) Put("k", value);
  EXPECT_GE(ordering_->WindowBytes(), kWindowBytes);
  EXPECT_LT(ordering_->WindowBytes(),
            kWindowBytes + logstore::RecordBytes(1, value.size()));
  const Lsn end = state_.log.end();
  const size_t answered = answers_.size();
  // Not even a small one passes those that wait.
  const uint64_t small = Put("s", "");
  const uint64_t last = Put("k", value);
  EXPECT_TRUE(refusals_.empty());
  const uint64_t refused = Put("k", value);
  EXPECT_EQ(refusals_,
            (std::vector<Refusal>{
                {refused, Result::kResourceExhausted, Reason::kQueueFull}}));
  EXPECT_EQ(answers_.size(), answered);

  ordering_->RetryDeferred();
  EXPECT_EQ(state_.log.end(), end) << "nothing has become free";
  Replicate();
  ordering_->RetryDeferred();
  EXPECT_FALSE(ordering_->has_deferred());
  ASSERT_EQ(answers_.size(), answered + kMaxDeferred);
  EXPECT_EQ(answers_[answered + 1].tag, small);
  EXPECT_EQ(answers_[answered + 2].tag, last);
  EXPECT_LT(ordering_->WindowBytes(), kWindowBytes);
}

TEST_F(OrderingTest, WritesWaitForTheNextSegment) {
  const std::string value(900, 'v');
  while (!ordering_->has_deferred()) {
    Put("k", value);
    Replicate();
  }
  EXPECT_EQ(state_.log.SegmentOf(state_.log.end()), 1u);
  ASSERT_TRUE(state_.log.AddSegment(2).ok());
  ordering_->RetryDeferred();
  EXPECT_TRUE(ordering_->has_deferred()) << "not all replicas have it yet";
  ordering_->set_writable_segment(2);
  ordering_->RetryDeferred();
  EXPECT_FALSE(ordering_->has_deferred());
  EXPECT_EQ(LastAnswer().after, state_.log.SegmentStart(2));
  EXPECT_TRUE(refusals_.empty());
}

TEST_F(OrderingTest, AFullPoolRefusesAtOnceAndWhatWaits) {
  const std::string value(900, 'v');
  while (!ordering_->has_deferred()) {
    Put("k", value);
    Replicate();
  }
  const uint64_t waiting = requests_;
  ordering_->set_pool_full(true);
  ordering_->RetryDeferred();
  EXPECT_FALSE(ordering_->has_deferred());
  const uint64_t late = Put("k", value);
  EXPECT_EQ(refusals_,
            (std::vector<Refusal>{
                {waiting, Result::kResourceExhausted, Reason::kPoolFull},
                {late, Result::kResourceExhausted, Reason::kPoolFull}}));
  // What needs no room is still answered.
  ordering_->Submit(Request(RequestType::kDelete, "absent"));
  EXPECT_EQ(LastAnswer().result, Result::kNotFound);
}

TEST_F(OrderingTest, WithoutRoomNoSessionBeginsOrEnds) {
  const std::string value(500, 'v');
  while (!ordering_->has_deferred()) Put("k", value);
  const Lsn end = state_.log.end();
  ordering_->EndSession(kSession);
  ordering_->OpenSession(Write{.tag = 70, .session = SessionId(8)});
  EXPECT_EQ(refusals_, (std::vector<Refusal>{{70, Result::kResourceExhausted,
                                              Reason::kWindowFull}}));
  EXPECT_FALSE(ordering_->BeginEpoch(end));
  EXPECT_EQ(state_.log.end(), end);
}

TEST_F(OrderingTest, WhatWaitsWhenTheEpochEndsIsAnswered) {
  while (!ordering_->has_deferred()) Put("k", std::string(500, 'v'));
  ordering_->RefuseDeferred(Result::kWrongEpoch, Reason::kNone);
  EXPECT_FALSE(ordering_->has_deferred());
  EXPECT_EQ(
      refusals_,
      (std::vector<Refusal>{{requests_, Result::kWrongEpoch, Reason::kNone}}));
}

// ------------------------------------------------- values in clients' buffers

TEST_F(OrderingTest, NothingIsDeliveredFromAnUnfinishedPullOn) {
  ordering_->Submit(LargePut("a", 100));
  ordering_->Submit(LargePut("b", 100));
  ASSERT_EQ(pulls_.size(), 2u);
  Put("c", "small");
  EXPECT_EQ(ordering_->ReadyEnd(), pulls_[0]);
  ordering_->FinishPull(pulls_[1]);
  EXPECT_EQ(ordering_->ReadyEnd(), pulls_[0]);
  ordering_->FinishPull(pulls_[0]);
  EXPECT_EQ(ordering_->ReadyEnd(), state_.log.end());
}

TEST_F(OrderingTest, AConditionWaitsForAValueThatMayNeverCome) {
  ordering_->Submit(LargePut("k", 100));
  const uint64_t version = LastAnswer().version;
  const size_t answered = answers_.size();
  ordering_->Submit(Request(RequestType::kCompareAndPut, "k", "w", version));
  EXPECT_EQ(answers_.size(), answered);
  EXPECT_TRUE(ordering_->has_deferred());
  ordering_->FinishPull(pulls_[0]);
  ordering_->RetryDeferred();
  ASSERT_EQ(answers_.size(), answered + 1);
  EXPECT_EQ(LastAnswer().result, Result::kOk);
}

TEST_F(OrderingTest, AValueThatCannotBeHadLeavesAPadAndItsRequestIsNewAgain) {
  Write write = LargePut("k", 100);
  ordering_->Submit(write);
  ordering_->AbandonPull(pulls_[0]);
  EXPECT_EQ(state_.log.HeaderAt(pulls_[0]).type, RecordType::kPad);
  EXPECT_EQ(ordering_->ReadyEnd(), state_.log.end());
  ordering_->Submit(write);
  ASSERT_EQ(pulls_.size(), 2u);
  EXPECT_GT(pulls_[1], pulls_[0]);
}

// The retry must not be acknowledged with a record that becomes a pad.
TEST_F(OrderingTest, ARetryDoesNotWaitForAValueThatMayNeverCome) {
  const Write write = LargePut("k", 100);
  ordering_->Submit(write);
  const size_t answered = answers_.size();
  ordering_->Submit(write);
  EXPECT_EQ(
      refusals_,
      (std::vector<Refusal>{{requests_, Result::kEpochEnded, Reason::kNone}}));
  EXPECT_EQ(answers_.size(), answered);
  ordering_->FinishPull(pulls_[0]);
  ordering_->Submit(write);
  ASSERT_EQ(answers_.size(), answered + 1);
  EXPECT_EQ(LastAnswer().version, pulls_[0].value());
}

// ------------------------------------------------------------ missing values

TEST_F(OrderingTest, WithoutAValueConditionsAreRefusedAndPutsGoOn) {
  MissingPut("key");
  refusals_.clear();
  const Lsn end = state_.log.end();
  for (const RequestType type :
       {RequestType::kCompareAndPut, RequestType::kDelete,
        RequestType::kDeleteIf}) {
    ordering_->Submit(Request(type, "key", "", 1));
    EXPECT_EQ(refusals_.back(),
              (Refusal{requests_, Result::kUnavailable, Reason::kHole}));
  }
  EXPECT_EQ(state_.log.end(), end);
  Put("key", "newer");
  EXPECT_EQ(refusals_.size(), 3u);
  // What is newer is known.
  const uint64_t version = LastAnswer().version;
  ordering_->Submit(Request(RequestType::kCompareAndPut, "key", "x", version));
  EXPECT_EQ(refusals_.size(), 3u);
  EXPECT_EQ(LastAnswer().result, Result::kOk);
}

TEST_F(OrderingTest, ARetryOfAMissingWriteIsNotAcknowledged) {
  const Write write = MissingPut("key");
  ordering_->Submit(write);
  // Its outcome is unknown: it was ordered.
  EXPECT_EQ(refusals_.back(),
            (Refusal{write.tag, Result::kEpochEnded, Reason::kHole}));
}

TEST_F(OrderingTest, AValueThatIsBackIsARelocatedRecordOfItsVersion) {
  const Write write = MissingPut("key");
  const Lsn version = missing_;
  ASSERT_TRUE(ordering_->Relocate(
      *reinterpret_cast<const logstore::RecordHeader*>(original_.data())));
  CommitAll();
  const logstore::RecordHeader* found =
      state_.index.Find(HashKey("key"), "key");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->type, RecordType::kRelocated);
  EXPECT_EQ(logstore::VersionOf(*found), version.value());
  EXPECT_EQ(logstore::ValueOf(*found), "value");
  EXPECT_TRUE(state_.missing.empty());
  ordering_->Submit(write);
  EXPECT_EQ(LastAnswer().version, version.value());
}

TEST_F(OrderingTest, WhatIsGivenUpIsLostUntilItIsWrittenOrDeleted) {
  const Write write = MissingPut("key");
  ASSERT_TRUE(ordering_->DeclareLost(*state_.missing.At(missing_.value())));
  CommitAll();
  EXPECT_EQ(state_.missing.lost_count(), 1u);
  refusals_.clear();
  ordering_->Submit(Request(RequestType::kCompareAndPut, "key", "x", 1));
  EXPECT_EQ(refusals_.back(),
            (Refusal{requests_, Result::kDataLoss, Reason::kHole}));
  ordering_->Submit(write);
  EXPECT_EQ(refusals_.back(),
            (Refusal{write.tag, Result::kDataLoss, Reason::kHole}));
  ordering_->Submit(Request(RequestType::kDelete, "key"));
  EXPECT_EQ(LastAnswer().result, Result::kOk);
  CommitAll();
  EXPECT_EQ(state_.missing.lost_count(), 0u);
  ordering_->Submit(Request(RequestType::kDelete, "key"));
  EXPECT_EQ(LastAnswer().result, Result::kNotFound);
}

TEST_F(OrderingTest, WithoutRoomNothingComesBackOrIsGivenUp) {
  MissingPut("key");
  const chain::MissingValue value = *state_.missing.At(missing_.value());
  Replicate();
  while (refusals_.empty()) Put("other", std::string(300, 'x'));
  EXPECT_FALSE(ordering_->DeclareLost(value));
  EXPECT_FALSE(ordering_->Relocate(
      *reinterpret_cast<const logstore::RecordHeader*>(original_.data())));
}

}  // namespace
}  // namespace whale::primary

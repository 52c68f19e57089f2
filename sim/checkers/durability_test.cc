#include "sim/checkers/durability.h"

#include "gtest/gtest.h"
#include "sim/checkers/exactly_once.h"

namespace whale::checkers {
namespace {

Operation Make(OperationType type, Answer answer, const char* value,
               uint64_t version) {
  Operation o;
  o.type = type;
  o.answer = answer;
  o.key = "k";
  o.value = value;
  o.version = version;
  return o;
}

Operation Final(Answer answer, const char* value, uint64_t version) {
  Operation o = Make(OperationType::kGet, answer, value, version);
  o.final_read = true;
  return o;
}

TEST(DurabilityTest, FinalReadsMustNotBeOlderThanWhatWasAcknowledged) {
  History history;
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "a", 16));
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "b", 32));
  history.Invoke(Final(Answer::kOk, "b", 32));
  EXPECT_TRUE(CheckDurability(history).ok());
  history.Invoke(Final(Answer::kOk, "a", 16));
  EXPECT_FALSE(CheckDurability(history).ok());
}

TEST(DurabilityTest, AcknowledgedWritesHaveEnoughCopies) {
  History history;
  Operation write = Make(OperationType::kPut, Answer::kOk, "a", 16);
  write.copies = 2;
  history.Invoke(write);
  history.Invoke(Make(OperationType::kPut, Answer::kUnknown, "b", 0));
  history.Invoke(Make(OperationType::kGet, Answer::kOk, "a", 16));
  EXPECT_TRUE(CheckCopies(history, 2).ok());
  EXPECT_FALSE(CheckCopies(history, 3).ok());
}

TEST(DurabilityTest, AbsentNeedsADelete) {
  History history;
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "a", 16));
  history.Invoke(Final(Answer::kNotFound, "", 0));
  EXPECT_FALSE(CheckDurability(history).ok());
  History unknown = history;
  unknown.Invoke(Make(OperationType::kDelete, Answer::kUnknown, "", 0));
  EXPECT_TRUE(CheckDurability(unknown).ok());
  history.Invoke(Make(OperationType::kDelete, Answer::kOk, "", 32));
  EXPECT_TRUE(CheckDurability(history).ok());
}

TEST(DurabilityTest, WhatWasGivenUpIsLostUntilItIsWritten) {
  History history;
  history.GiveUp("k", 16);
  Operation write = Make(OperationType::kPut, Answer::kOk, "b", 32);
  write.answered = 10;
  history.Invoke(write);
  Operation read = Make(OperationType::kGet, Answer::kLost, "", 0);
  read.invoked = 20;
  read.weak = true;
  history.Invoke(read);
  EXPECT_TRUE(CheckDurability(history).ok());
  read.weak = false;
  history.Invoke(read);
  EXPECT_FALSE(CheckDurability(history).ok());
}

TEST(ExactlyOnceTest, OneValueOneVersion) {
  History history;
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "a", 16));
  history.Invoke(Make(OperationType::kGet, Answer::kOk, "a", 16));
  EXPECT_TRUE(CheckExactlyOnce(history).ok());
  history.Invoke(Make(OperationType::kGet, Answer::kOk, "a", 48));
  EXPECT_FALSE(CheckExactlyOnce(history).ok());
}

TEST(ExactlyOnceTest, OneVersionOneValue) {
  History history;
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "a", 16));
  history.Invoke(Make(OperationType::kPut, Answer::kOk, "b", 16));
  EXPECT_FALSE(CheckExactlyOnce(history).ok());
}

TEST(ExactlyOnceTest, RefusedWritesMustNotBeRead) {
  History history;
  history.Invoke(Make(OperationType::kPut, Answer::kRefused, "a", 0));
  EXPECT_TRUE(CheckExactlyOnce(history).ok());
  history.Invoke(Make(OperationType::kGet, Answer::kOk, "a", 16));
  EXPECT_FALSE(CheckExactlyOnce(history).ok());
}

}  // namespace
}  // namespace whale::checkers

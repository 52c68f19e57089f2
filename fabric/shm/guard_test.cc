// Owner and writers of one descriptor, step by step.
#include "fabric/shm/guard.h"

#include <unistd.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fabric/shm/test_support.h"
#include "gtest/gtest.h"

namespace whale::fabric::shm {
namespace {

constexpr int64_t kWaitUs = 100;
constexpr ConnectionId kFirst{1}, kSecond{2};
constexpr RegionId kRegion{1}, kOtherRegion{2};

class GuardTest : public testing::Test {
 protected:
  GuardTest()
      : fd_(*CreateSealedMemory("test", kGuardBytes + 4096)),
        memory_(*Mapping::Map(fd_.get(), kGuardBytes + 4096, true)),
        guard_(Open()) {}

  std::unique_ptr<Guard> Open() {
    auto guard = Guard::Open(fd_.get(), kWaitUs);
    EXPECT_TRUE(guard.ok()) << guard.status();
    return guard.ok() ? *std::move(guard) : nullptr;
  }
  uint32_t Assign(ConnectionId connection, RegionId region = kRegion,
                  bool writes = true) {
    auto slot = guard_->Assign(connection, region, ThisProcess(), writes);
    EXPECT_TRUE(slot.ok()) << slot.status();
    return slot.value_or(0);
  }
  WriterSlot Writer(uint32_t slot) {
    return WriterSlot(memory_.base(), slot, guard_->incarnation());
  }

  FileDescriptor fd_;
  Mapping memory_;
  std::unique_ptr<Guard> guard_;
};

TEST_F(GuardTest, AWriterWritesUntilItIsRevoked) {
  WriterSlot writer = Writer(Assign(kFirst));
  WriterSlot other = Writer(Assign(kSecond));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(writer.Enter());
    ASSERT_TRUE(writer.Leave());
  }
  EXPECT_EQ(guard_->Revoke(kFirst, kWaitUs), Revocation::kFenced);
  EXPECT_FALSE(writer.Enter());
  EXPECT_FALSE(writer.Valid());
  // Having been refused, it is not taken for busy.
  EXPECT_EQ(guard_->Revoke(kFirst, kWaitUs), Revocation::kFenced);
  EXPECT_TRUE(other.Enter());
  EXPECT_TRUE(other.Leave());
}

TEST_F(GuardTest, ACopyThatOutlivesRevokeIsNotASuccess) {
  WriterSlot writer = Writer(Assign(kFirst));
  ASSERT_TRUE(writer.Enter());
  EXPECT_EQ(guard_->Revoke(kFirst, kWaitUs), Revocation::kMoveMemory);
  EXPECT_FALSE(writer.Leave());
  EXPECT_EQ(guard_->Revoke(kFirst, kWaitUs), Revocation::kFenced);
}

TEST_F(GuardTest, ARegionMayBeRevokedAlone) {
  WriterSlot writer = Writer(Assign(kFirst, kRegion));
  WriterSlot other = Writer(Assign(kFirst, kOtherRegion));
  EXPECT_EQ(guard_->Revoke(kRegion, kWaitUs), Revocation::kFenced);
  EXPECT_FALSE(writer.Enter());
  EXPECT_TRUE(other.Enter());
}

TEST_F(GuardTest, AskingAgainGivesTheSameSlot) {
  const uint32_t slot = Assign(kFirst);
  EXPECT_EQ(Assign(kFirst), slot);
  EXPECT_NE(Assign(kSecond), slot);
  EXPECT_NE(Assign(kFirst, kOtherRegion), slot);
}

TEST_F(GuardTest, ASlotIsNotGivenToOthersUntilItsWriterLeft) {
  std::vector<uint32_t> slots;
  for (uint64_t i = 0; i < kGuardSlots; ++i) {
    slots.push_back(Assign(ConnectionId{100 + i}));
  }
  EXPECT_EQ(std::set<uint32_t>(slots.begin(), slots.end()).size(),
            size_t{kGuardSlots});
  // Even revoked ones stay theirs: a late writer may still touch `busy`.
  guard_->Revoke(ConnectionId{107}, kWaitUs);
  EXPECT_EQ(
      guard_->Assign(kFirst, kRegion, ThisProcess(), true).status().code(),
      absl::StatusCode::kResourceExhausted);
  Writer(slots[7]).Quit();
  EXPECT_EQ(Assign(kFirst), slots[7]);
  EXPECT_TRUE(Writer(slots[7]).Enter()) << "the former mark is gone";
}

TEST_F(GuardTest, ASlotOfADeadProcessIsFree) {
  Process dead;
  {
    Child child([](Child& parent) {
      parent.Tell();
      for (;;) pause();
      return 0;
    });
    child.Await();
    dead = ProcessByPid(static_cast<uint64_t>(child.pid()));
    EXPECT_EQ(LifeOf(dead), Life::kRunning);
    child.Signal(SIGSTOP);
    child.AwaitStopped();
    EXPECT_EQ(LifeOf(dead), Life::kStopped);
  }
  EXPECT_EQ(LifeOf(dead), Life::kGone);
  auto slot = guard_->Assign(kFirst, kRegion, dead, true);
  ASSERT_TRUE(slot.ok());
  // It died in mid-copy: nothing of it can come any more.
  ASSERT_TRUE(Writer(*slot).Enter());
  EXPECT_EQ(guard_->Revoke(kFirst, kWaitUs), Revocation::kFenced);
  for (uint64_t i = 1; i < kGuardSlots; ++i) Assign(ConnectionId{100 + i});
  EXPECT_EQ(Assign(kSecond), *slot);
}

TEST_F(GuardTest, AProcessNumberUsedAgainIsAnotherProcess) {
  Process former = ThisProcess();
  former.start -= 1;
  EXPECT_EQ(LifeOf(former), Life::kGone);
  EXPECT_EQ(LifeOf(ThisProcess()), Life::kRunning);
}

TEST_F(GuardTest, ReadersHoldNothingUp) {
  const uint32_t slot = Assign(kFirst, kRegion, /*writes=*/false);
  const WriterSlot reader = Writer(slot);
  EXPECT_TRUE(reader.Valid());
  guard_->EndReaders(kFirst);
  EXPECT_FALSE(reader.Valid());
  EXPECT_EQ(Assign(kSecond), slot);
}

TEST_F(GuardTest, ANewLifeRefusesWritersOfTheFormer) {
  WriterSlot writer = Writer(Assign(kFirst));
  const uint64_t before = guard_->incarnation();
  guard_.reset();
  EXPECT_FALSE(writer.Enter()) << "nobody owns the memory now";
  guard_ = Open();
  EXPECT_GT(guard_->incarnation(), before);
  EXPECT_FALSE(writer.Enter());
  // The slot stays the late writer's until it left.
  const uint32_t slot = Assign(kSecond);
  WriterSlot fresh = Writer(slot);
  ASSERT_TRUE(fresh.Enter());
  EXPECT_FALSE(writer.Enter());
  EXPECT_EQ(guard_->Revoke(kSecond, kWaitUs), Revocation::kMoveMemory)
      << "a late writer of the former life cleared the mark of a new one";
}

TEST_F(GuardTest, ANewLifeWaitsForACopyOfTheFormer) {
  WriterSlot writer = Writer(Assign(kFirst));
  ASSERT_TRUE(writer.Enter());
  guard_.reset();
  const absl::Status status = Guard::Open(fd_.get(), kWaitUs).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(status.message()).find(std::to_string(getpid())),
            std::string::npos)
      << status;
  EXPECT_FALSE(writer.Leave());
  EXPECT_NE(Open(), nullptr);
}

TEST_F(GuardTest, SomethingElseIsNotTakenForAGuard) {
  guard_.reset();
  std::memset(memory_.base(), 0x41, 64);
  EXPECT_EQ(Guard::Open(fd_.get(), kWaitUs).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace whale::fabric::shm

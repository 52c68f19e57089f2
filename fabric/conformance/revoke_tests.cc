// Revocation and the end of connections with work in flight; sleeping.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "common/remote_memory.h"
#include "fabric/conformance/suite.h"

namespace whale::fabric {
namespace {

// Everything the writer still tries after Revoke returned must change nothing.
TEST_P(FabricConformance, NothingLandsAfterRevoke) {
  const Link link = ConnectEnds();
  ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 4096, 1)),
            Outcome::kOk);
  // Some are still on their way when the owner revokes.
  std::memset(ends_[0].at(0), 0x22, 4096);
  std::vector<WorkRequest> requests;
  for (uint64_t i = 0; i < 8; ++i) {
    requests.push_back(Write(ends_[0], 0, ends_[1], i * 4096, 4096, 10 + i));
  }
  ASSERT_TRUE(PostPatiently(0, link.near, requests));
  ASSERT_EQ(ends_[1].fabric->Revoke(link.far), Revocation::kFenced);
  const std::vector<std::byte> before(ends_[1].at(0), ends_[1].at(65536));
  std::memset(ends_[0].at(0), 0x44, 4096);
  for (uint64_t i = 0; i < 8; ++i) {
    const WorkRequest late = Write(ends_[0], 0, ends_[1], 8192, 4096, 20 + i);
    // kClosed or a failure later: both are right.
    ends_[0].fabric->Post(link.near, std::span(&late, 1));
    fixture_->Pump();
    PollOnce(0);
  }
  ASSERT_TRUE(PollUntil([&] {
    return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
  }));
  for (const Seen& seen : ends_[0].Of(EventKind::kCompleted, link.near)) {
    if (seen.event.cookie >= 20) {
      EXPECT_NE(seen.event.outcome, Outcome::kOk) << "success after Revoke";
    }
  }
  EXPECT_EQ(std::memcmp(ends_[1].at(0), before.data(), before.size()), 0);
  PollMore();
  EXPECT_EQ(ends_[1].Count(EventKind::kDisconnected, link.far), 0u)
      << "Revoke ends a connection without further events";
}

TEST_P(FabricConformance, RevokeEndsOneConnectionOnly) {
  const Link ab = ConnectEnds(0, 1);
  const Link cb = ConnectEnds(2, 1);
  const Link ab2 = ConnectEnds(0, 1);
  for (const Link& link : {ab, cb, ab2}) {
    ASSERT_EQ(
        Do(link.from, link.near, Write(ends_[link.from], 0, ends_[1], 0, 8, 1)),
        Outcome::kOk);
  }
  EXPECT_EQ(ends_[1].fabric->Revoke(ab.far), Revocation::kFenced);
  EXPECT_EQ(Do(2, cb.near, Write(ends_[2], 0, ends_[1], 0, 8, 2)),
            Outcome::kOk);
  EXPECT_EQ(Do(0, ab2.near, Write(ends_[0], 0, ends_[1], 0, 8, 2)),
            Outcome::kOk);
  // A new connection gets its rights again.
  const Link again = ConnectEnds(0, 1);
  EXPECT_EQ(Do(0, again.near, Write(ends_[0], 0, ends_[1], 0, 8, 3)),
            Outcome::kOk);
}

TEST_P(FabricConformance, RevokeAfterTheEndIsAllowed) {
  const Link link = ConnectEnds();
  ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 1)),
            Outcome::kOk);
  ends_[0].fabric->Close(link.near);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kDisconnected, link.far) == 1; }));
  EXPECT_EQ(ends_[1].fabric->Revoke(link.far), Revocation::kFenced);
}

TEST_P(FabricConformance, MessagesOfARevokedPeerAreNotSeen) {
  const Link link = ConnectEnds();
  ASSERT_TRUE(Send(0, link.near, "before"));
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) == 1; }));
  ASSERT_TRUE(Send(0, link.near, "too late"));
  ends_[1].fabric->Revoke(link.far);
  PollMore();
  EXPECT_EQ(ends_[1].Count(EventKind::kReceived, link.far), 1u);
  EXPECT_EQ(ends_[1].fabric->BeginMessage(link.far, 1), nullptr);
}

// A writer that writes as fast as it can, on its own thread; its owner revokes
// and from then on the memory must not change. Nothing that the writer was
// told to have succeeded may be missing.
TEST_P(FabricConformance, RevokeUnderAFastWriter) {
  if (!fixture_->threads()) GTEST_SKIP() << "one thread only";
  for (int round = 0; round < 20; ++round) {
    const Link link = ConnectEnds();
    ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 1)),
              Outcome::kOk);
    std::atomic<bool> started{false};
    uint64_t succeeded = 0;
    std::thread writer([&] {
      Fabric& fabric = *ends_[0].fabric;
      bool dead = false;
      for (uint64_t value = 1; !dead; ++value) {
        // All words of 256 bytes and one cell behind them, as one batch.
        for (int i = 0; i < 32; ++i) std::memcpy(ends_[0].at(i * 8), &value, 8);
        WorkRequest requests[2] = {
            Write(ends_[0], 0, ends_[1], 4096, 256, value),
            Write(ends_[0], 0, ends_[1], 8192, 8, value)};
        requests[0].signaled = false;
        PostResult posted = fabric.Post(link.near, requests);
        if (posted == PostResult::kClosed) dead = true;
        bool done = posted != PostResult::kOk;
        while (!done) {
          Event events[8];
          const size_t count = fabric.Poll(events);
          for (size_t i = 0; i < count; ++i) {
            if (events[i].connection != link.near) continue;
            if (events[i].kind == EventKind::kDisconnected) dead = done = true;
            if (events[i].kind != EventKind::kCompleted) continue;
            if (events[i].outcome == Outcome::kOk) {
              succeeded = events[i].cookie;
              done = true;
            }
          }
        }
        if (value == 50) started.store(true);
      }
      started.store(true);
    });
    while (!started.load()) {
      PollOnce(1);
    }
    EXPECT_EQ(ends_[1].fabric->Revoke(link.far), Revocation::kFenced);
    std::vector<uint64_t> after;
    for (int i = 0; i < 32; ++i) {
      after.push_back(LoadRemoteWord(ends_[1].at(4096 + i * 8)));
    }
    const uint64_t cell = LoadRemoteWord(ends_[1].at(8192));
    writer.join();
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(LoadRemoteWord(ends_[1].at(4096 + i * 8)), after[i]);
      EXPECT_GE(after[i], succeeded) << "lost after it was reported done";
    }
    EXPECT_EQ(LoadRemoteWord(ends_[1].at(8192)), cell);
    EXPECT_GE(cell, succeeded);
    EXPECT_GE(succeeded, 1u);
    PollMore();
  }
}

TEST_P(FabricConformance, CloseDropsOwnWorkSilently) {
  const Link link = ConnectEnds();
  const WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 4096, 1);
  ASSERT_TRUE(PostPatiently(0, link.near, std::span(&request, 1)));
  const size_t seen = ends_[0].seen.size();
  ends_[0].fabric->Close(link.near);
  PollMore();
  EXPECT_EQ(ends_[0].seen.size(), seen);
}

// Work that is on its way when the peer closes: each request gets exactly one
// completion, in order, before the one kDisconnected.
TEST_P(FabricConformance, EveryRequestCompletesWhenThePeerGoesAway) {
  const Link link = ConnectEnds();
  std::vector<WorkRequest> requests;
  for (uint64_t i = 0; i < 20; ++i) {
    requests.push_back(Write(ends_[0], 0, ends_[1], 0, 4096, 1 + i));
  }
  ASSERT_TRUE(PostPatiently(0, link.near, requests));
  ends_[1].fabric->Close(link.far);
  ASSERT_TRUE(PollUntil([&] {
    return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
  }));
  const auto completed = ends_[0].Of(EventKind::kCompleted, link.near);
  ASSERT_EQ(completed.size(), requests.size());
  bool failed = false;
  for (size_t i = 0; i < completed.size(); ++i) {
    EXPECT_EQ(completed[i].event.cookie, 1 + i);
    if (failed) {
      EXPECT_EQ(completed[i].event.outcome, Outcome::kCanceled);
    }
    failed |= completed[i].event.outcome != Outcome::kOk;
  }
  EXPECT_EQ(ends_[0].seen.back().event.kind, EventKind::kDisconnected);
}

TEST_P(FabricConformance, WaitEndsAtItsDeadline) {
  PollMore();
  const int64_t deadline = fixture_->NowNs() + 2'000'000;
  ends_[0].fabric->Wait(deadline);
  EXPECT_GE(fixture_->NowNs(), deadline);
  // And at once when it has passed.
  ends_[0].fabric->Wait(0);
}

TEST_P(FabricConformance, WakeEndsTheNextWait) {
  PollMore();
  ends_[0].fabric->Wake();
  ends_[0].fabric->Wait(fixture_->NowNs() + 3'600'000'000'000);
}

TEST_P(FabricConformance, AMessageThatIsThereEndsWait) {
  const Link link = ConnectEnds();
  PollMore();
  ASSERT_TRUE(Send(0, link.near, "get up"));
  ends_[0].fabric->FlushMessages();
  for (int i = 0; i < 100; ++i) fixture_->Pump();
  ends_[1].fabric->Wait(fixture_->NowNs() + 3'600'000'000'000);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, link.far) == 1; }));
}

TEST_P(FabricConformance, ACompletionThatIsThereEndsWait) {
  const Link link = ConnectEnds();
  ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 1)),
            Outcome::kOk);
  const WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, 2);
  ASSERT_TRUE(PostPatiently(0, link.near, std::span(&request, 1)));
  for (int i = 0; i < 100; ++i) fixture_->Pump();
  ends_[0].fabric->Wait(fixture_->NowNs() + 3'600'000'000'000);
  ASSERT_TRUE(WaitForCompletion(0, link.near, 2));
}

TEST_P(FabricConformance, WakeFromAnotherThread) {
  if (!fixture_->threads()) GTEST_SKIP() << "one thread only";
  PollMore();
  for (int i = 0; i < 50; ++i) {
    std::thread waker([&] { ends_[0].fabric->Wake(); });
    ends_[0].fabric->Wait(fixture_->NowNs() + 3'600'000'000'000);
    waker.join();
  }
}

// Two ends that sleep whenever they have nothing to do play ping-pong: a lost
// wake-up would hang it for an hour.
TEST_P(FabricConformance, SleepersAreWokenByMessages) {
  if (!fixture_->threads()) GTEST_SKIP() << "one thread only";
  const Link link = ConnectEnds();
  constexpr int kRounds = 2000;
  const auto play = [&](size_t end, ConnectionId connection, bool serves) {
    Fabric& fabric = *ends_[end].fabric;
    int received = 0;
    const auto send = [&] {
      std::byte* room = fabric.BeginMessage(connection, 8);
      ASSERT_NE(room, nullptr);
      fabric.EndMessage(connection, 8);
    };
    if (serves) send();
    while (received < kRounds) {
      Event events[4];
      const size_t count = fabric.Poll(events);
      for (size_t i = 0; i < count; ++i) {
        if (events[i].kind != EventKind::kReceived) continue;
        ++received;
        if (serves ? received < kRounds : true) send();
      }
      if (count == 0) fabric.Wait(fixture_->NowNs() + 3'600'000'000'000);
    }
    fabric.FlushMessages();
  };
  std::thread other([&] { play(1, link.far, false); });
  play(0, link.near, true);
  other.join();
}

}  // namespace
}  // namespace whale::fabric

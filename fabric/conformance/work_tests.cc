// One-sided work: WRITE, READ, compare-and-swap, immediates, flush; order,
// slots and completions.
#include <cstring>
#include <string>
#include <vector>

#include "common/remote_memory.h"
#include "fabric/conformance/suite.h"

namespace whale::fabric {
namespace {

// More immediates than any provider has room for.
constexpr uint32_t kMostOfAFlood = 20'000;

TEST_P(FabricConformance, WriteThenReadBack) {
  const Link link = ConnectEnds();
  std::memcpy(ends_[0].at(0), "from A to B", 11);
  EXPECT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 1000, 11, 1)),
            Outcome::kOk);
  // The READ behind it proves that the WRITE is visible.
  EXPECT_EQ(Do(0, link.near, Read(ends_[0], 500, ends_[1], 1000, 11, 2)),
            Outcome::kOk);
  EXPECT_EQ(std::memcmp(ends_[0].at(500), "from A to B", 11), 0);
  EXPECT_EQ(std::memcmp(ends_[1].at(1000), "from A to B", 11), 0);
}

TEST_P(FabricConformance, TheAcceptingSideMayWriteToo) {
  const Link link = ConnectEnds();
  std::memcpy(ends_[1].at(0), "from B to A", 11);
  EXPECT_EQ(Do(1, link.far, Write(ends_[1], 0, ends_[0], 64, 11, 1)),
            Outcome::kOk);
  EXPECT_EQ(Do(1, link.far, Read(ends_[1], 500, ends_[0], 64, 11, 2)),
            Outcome::kOk);
  EXPECT_EQ(std::memcmp(ends_[0].at(64), "from B to A", 11), 0);
}

TEST_P(FabricConformance, WritesOfAllSizesAndAlignments) {
  const Link link = ConnectEnds();
  uint64_t cookie = 1;
  for (const uint32_t length :
       {0u, 1u, 7u, 8u, 24u, 63u, 64u, 65u, 192u, 4096u, 100'000u}) {
    for (const uint64_t shift : {0, 3}) {
      std::memset(ends_[0].at(shift), static_cast<int>(length % 251 + 1),
                  length);
      std::memset(ends_[1].at(8192), 0, length + 16);
      EXPECT_EQ(
          Do(0, link.near,
             Write(ends_[0], shift, ends_[1], 8192 + shift, length, cookie++)),
          Outcome::kOk);
      EXPECT_EQ(
          Do(0, link.near,
             Read(ends_[0], 1 << 20, ends_[1], 8192, length + 16, cookie++)),
          Outcome::kOk);
      EXPECT_EQ(std::memcmp(ends_[0].at((1 << 20) + shift), ends_[0].at(shift),
                            length),
                0);
      // And not a byte beyond.
      EXPECT_EQ(ends_[1].at(8192)[shift + length], std::byte{0});
    }
  }
}

TEST_P(FabricConformance, WritesOfMegabytes) {
  const Link link = ConnectEnds();
  constexpr uint32_t kLength = 8 << 20;
  for (uint32_t i = 0; i < kLength; i += 8) {
    const uint64_t word = i * 0x9e3779b97f4a7c15;
    std::memcpy(ends_[0].at(i), &word, 8);
  }
  EXPECT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 4096, kLength, 1)),
            Outcome::kOk);
  EXPECT_EQ(
      Do(0, link.near, Read(ends_[0], kLength, ends_[1], 4096, kLength, 2)),
      Outcome::kOk);
  EXPECT_EQ(std::memcmp(ends_[0].at(0), ends_[0].at(kLength), kLength), 0);
}

TEST_P(FabricConformance, InlineDataIsCopiedAtPost) {
  const Link link = ConnectEnds();
  // Not registered: it may be anywhere.
  std::string text(kMaxInlineBytes, 'x');
  WorkRequest request =
      Write(ends_[0], 0, ends_[1], 0, kMaxInlineBytes, /*cookie=*/1);
  request.inline_data = true;
  request.local = text.data();
  ASSERT_TRUE(PostPatiently(0, link.near, std::span(&request, 1)));
  text.assign(kMaxInlineBytes, 'y');
  request = {};
  ASSERT_TRUE(WaitForCompletion(0, link.near, 1));
  EXPECT_EQ(
      Do(0, link.near, Read(ends_[0], 0, ends_[1], 0, kMaxInlineBytes, 2)),
      Outcome::kOk);
  EXPECT_EQ(
      std::memcmp(ends_[0].at(0), std::string(kMaxInlineBytes, 'x').data(),
                  kMaxInlineBytes),
      0);
}

TEST_P(FabricConformance, CompareSwap) {
  const Link link = ConnectEnds();
  const uint64_t initial = 5;
  std::memcpy(ends_[0].at(0), &initial, 8);
  ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 64, 8, 1)),
            Outcome::kOk);
  const auto swap = [&](uint64_t compare, uint64_t value, uint64_t cookie) {
    WorkRequest request = Write(ends_[0], 8, ends_[1], 64, 8, cookie);
    request.opcode = Opcode::kCompareSwap;
    request.compare = compare;
    request.swap = value;
    EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
    uint64_t old;
    std::memcpy(&old, ends_[0].at(8), 8);
    return old;
  };
  EXPECT_EQ(swap(5, 6, 2), 5u);
  EXPECT_EQ(swap(5, 7, 3), 6u) << "a failed swap gives the present value";
  EXPECT_EQ(swap(6, 8, 4), 6u);
  EXPECT_EQ(LoadRemoteWord(ends_[1].at(64)), 8u);
}

// Two connections count one word up; no step gets lost.
TEST_P(FabricConformance, CompareSwapIsAtomicBetweenConnections) {
  const Link links[] = {ConnectEnds(0, 1), ConnectEnds(2, 1)};
  uint64_t known[2] = {0, 0};
  uint64_t done[2] = {0, 0};
  uint64_t cookie = 1;
  constexpr uint64_t kSteps = 200;
  while (done[0] < kSteps || done[1] < kSteps) {
    for (int i = 0; i < 2; ++i) {
      if (done[i] == kSteps) continue;
      const size_t end = links[i].from;
      WorkRequest request = Write(ends_[end], 0, ends_[1], 0, 8, cookie++);
      request.opcode = Opcode::kCompareSwap;
      request.compare = known[i];
      request.swap = known[i] + 1;
      ASSERT_EQ(Do(end, links[i].near, request), Outcome::kOk);
      uint64_t old;
      std::memcpy(&old, ends_[end].at(0), 8);
      if (old == known[i]) ++done[i];
      known[i] = old == known[i] ? old + 1 : old;
    }
  }
  EXPECT_EQ(LoadRemoteWord(ends_[1].at(0)), 2 * kSteps);
}

TEST_P(FabricConformance, WriteWithImmediateTellsThePeer) {
  const Link link = ConnectEnds();
  std::memcpy(ends_[0].at(0), "payload", 7);
  WorkRequest request = Write(ends_[0], 0, ends_[1], 128, 7, 1);
  request.opcode = Opcode::kWriteWithImm;
  request.immediate = 0xfeedbeef;
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceivedImm, link.far) == 1; }));
  const Seen seen = ends_[1].Of(EventKind::kReceivedImm, link.far)[0];
  EXPECT_EQ(seen.event.immediate, 0xfeedbeefu);
  EXPECT_EQ(seen.event.length_bytes, 7u);
  EXPECT_EQ(std::memcmp(ends_[1].at(128), "payload", 7), 0);
}

TEST_P(FabricConformance, AnImmediateNeedsNoBytes) {
  const Link link = ConnectEnds();
  const WorkRequest request{.opcode = Opcode::kWriteWithImm,
                            .signaled = true,
                            .immediate = 7,
                            .cookie = 1};
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceivedImm, link.far) == 1; }));
  const Seen seen = ends_[1].Of(EventKind::kReceivedImm, link.far)[0];
  EXPECT_EQ(seen.event.immediate, 7u);
  EXPECT_EQ(seen.event.length_bytes, 0u);
}

// WRITEs, messages and immediates take effect in the order of the calls: when
// the later one is seen, the earlier one is there.
TEST_P(FabricConformance, OrderWithinAConnection) {
  const Link link = ConnectEnds();
  constexpr uint64_t kRounds = 300;
  uint64_t sent = 0;
  size_t looked_at = 0;
  uint64_t messages = 0, immediates = 0;
  const auto check = [&](const Seen& seen) {
    const uint64_t word = LoadRemoteWord(ends_[1].at(0));
    if (seen.event.kind == EventKind::kReceived) {
      ++messages;
      EXPECT_GE(word, 2 * messages - 1) << "message before its WRITE";
      EXPECT_EQ(immediates, messages - 1) << "message before an immediate";
    } else if (seen.event.kind == EventKind::kReceivedImm) {
      ++immediates;
      EXPECT_EQ(seen.event.immediate, immediates);
      EXPECT_EQ(immediates, messages) << "immediate before a message";
      EXPECT_GE(word, 2 * immediates) << "immediate before its WRITE";
    }
  };
  ASSERT_TRUE(PollUntil([&] {
    if (sent < kRounds) {
      ++sent;
      uint64_t word = 2 * sent - 1;
      WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, sent);
      request.inline_data = true;
      request.local = &word;
      request.signaled = sent % 8 == 0;
      EXPECT_TRUE(PostPatiently(0, link.near, std::span(&request, 1)));
      EXPECT_TRUE(Send(0, link.near, "m"));
      ++word;
      request.opcode = Opcode::kWriteWithImm;
      request.immediate = static_cast<uint32_t>(sent);
      EXPECT_TRUE(PostPatiently(0, link.near, std::span(&request, 1)));
    }
    for (; looked_at < ends_[1].seen.size(); ++looked_at) {
      check(ends_[1].seen[looked_at]);
    }
    return immediates == kRounds;
  }));
}

// The words of a batch of WRITEs become visible in the order of the requests.
TEST_P(FabricConformance, LaterWritesAreNotSeenBeforeEarlierOnes) {
  const Link link = ConnectEnds();
  for (uint64_t round = 1; round <= 200; ++round) {
    std::vector<WorkRequest> requests;
    for (uint64_t i = 0; i < 4; ++i) {
      WorkRequest request =
          Write(ends_[0], 0, ends_[1], i * 4096, 8, round * 10 + i);
      request.inline_data = true;
      request.local = &round;
      request.signaled = i == 3;
      requests.push_back(request);
    }
    ASSERT_TRUE(PostPatiently(0, link.near, requests));
    ASSERT_TRUE(PollUntil([&] {
      uint64_t words[4];
      for (int i = 3; i >= 0; --i)
        words[i] = LoadRemoteWord(ends_[1].at(i * 4096));
      for (int i = 0; i < 3; ++i) EXPECT_GE(words[i], words[i + 1]);
      return words[3] == round;
    }));
    ASSERT_TRUE(WaitForCompletion(0, link.near, round * 10 + 3));
  }
}

TEST_P(FabricConformance, CompletionsComeInTheOrderPosted) {
  const Link link = ConnectEnds();
  uint64_t next = 1;
  for (int batch = 0; batch < 40; ++batch) {
    std::vector<WorkRequest> requests;
    for (int i = 0; i < 5; ++i, ++next) {
      WorkRequest request = i % 2 == 0
                                ? Write(ends_[0], 0, ends_[1], 0, 64, next)
                                : Read(ends_[0], 4096, ends_[1], 0, 64, next);
      request.signaled = i != 2;
      requests.push_back(request);
    }
    ASSERT_TRUE(PostPatiently(0, link.near, requests));
  }
  ASSERT_TRUE(WaitForCompletion(0, link.near, next - 1));
  uint64_t last = 0;
  size_t completions = 0;
  for (const Seen& seen : ends_[0].Of(EventKind::kCompleted, link.near)) {
    EXPECT_EQ(seen.event.outcome, Outcome::kOk);
    EXPECT_GT(seen.event.cookie, last);
    EXPECT_NE(seen.event.cookie % 5, 3u) << "an unsignaled one completed";
    last = seen.event.cookie;
    ++completions;
  }
  EXPECT_EQ(completions, 40u * 4);
}

TEST_P(FabricConformance, RemoteFlushCompletesBehindItsWrites) {
  const Link link = ConnectEnds();
  (void)FlushMethodName(ends_[0].fabric->flush_method(link.near));
  std::memset(ends_[0].at(0), 0x5a, 4096);
  std::vector<WorkRequest> requests = {
      Write(ends_[0], 0, ends_[1], 0, 4096, 1),
      Write(ends_[0], 0, ends_[1], 0, 4096, 2)};
  requests[0].signaled = false;
  requests[1].opcode = Opcode::kRemoteFlush;
  requests[1].local = nullptr;
  ASSERT_TRUE(PostPatiently(0, link.near, requests));
  Seen seen;
  ASSERT_TRUE(WaitForCompletion(0, link.near, 2, &seen));
  EXPECT_EQ(seen.event.outcome, Outcome::kOk);
  EXPECT_EQ(seen.event.opcode, Opcode::kRemoteFlush);
  // Visible now, by the CPU of the owner.
  EXPECT_EQ(std::memcmp(ends_[1].at(0), ends_[0].at(0), 4096), 0);
}

TEST_P(FabricConformance, SlotsComeBackWithSignaledCompletions) {
  const Link link = ConnectEnds();
  Fabric& fabric = *ends_[0].fabric;
  const size_t all = fabric.FreeSlots(link.near);
  ASSERT_GT(all, 1u);
  WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, 1);
  request.signaled = false;
  const std::vector<WorkRequest> unsignaled(all - 1, request);
  ASSERT_EQ(fabric.Post(link.near, unsignaled), PostResult::kOk);
  EXPECT_EQ(fabric.FreeSlots(link.near), 1u);
  // All or nothing: two do not fit.
  WorkRequest two[2] = {Write(ends_[0], 8, ends_[1], 4096, 8, 2),
                        Write(ends_[0], 8, ends_[1], 4096, 8, 3)};
  std::memset(ends_[0].at(8), 0xff, 8);
  EXPECT_EQ(fabric.Post(link.near, two), PostResult::kQueueFull);
  PollMore();
  EXPECT_EQ(ends_[0].Count(EventKind::kCompleted, link.near), 0u);
  EXPECT_EQ(fabric.FreeSlots(link.near), 1u)
      << "unsignaled work alone frees nothing";
  EXPECT_EQ(LoadRemoteWord(ends_[1].at(4096)), 0u) << "half a batch was posted";
  EXPECT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 4)),
            Outcome::kOk);
  EXPECT_EQ(fabric.FreeSlots(link.near), all);
  EXPECT_EQ(fabric.Post(link.near, two), PostResult::kOk);
}

TEST_P(FabricConformance, AnEmptyPostIsFine) {
  const Link link = ConnectEnds();
  EXPECT_EQ(ends_[0].fabric->Post(link.near, {}), PostResult::kOk);
}

// Immediates without anybody who takes them: refused in time, none lost.
TEST_P(FabricConformance, ImmediatesAgainstAPeerThatDoesNotPoll) {
  const Link link = ConnectEnds();
  Fabric& fabric = *ends_[0].fabric;
  // Lets the provider map what it must while the peer still polls.
  ASSERT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 1)),
            Outcome::kOk);
  uint32_t posted = 0;
  for (int idle = 0; idle < 1000 && posted < 200'000;) {
    WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, 100 + posted);
    request.opcode = Opcode::kWriteWithImm;
    request.immediate = posted;
    if (fabric.FreeSlots(link.near) > 0 &&
        fabric.Post(link.near, std::span(&request, 1)) == PostResult::kOk) {
      ++posted;
      idle = 0;
    } else {
      ++idle;
      PollOnce(0);
      fixture_->Pump();
    }
  }
  ASSERT_GT(posted, 0u);
  ASSERT_LT(posted, 200'000u) << "no bound";
  ASSERT_TRUE(PollUntil([&] {
    return ends_[1].Count(EventKind::kReceivedImm, link.far) == posted ||
           ends_[1].Count(EventKind::kDisconnected, link.far) > 0;
  }));
  uint32_t next = 0;
  for (const Seen& seen : ends_[1].Of(EventKind::kReceivedImm, link.far)) {
    EXPECT_EQ(seen.event.immediate, next++);
  }
}

// One peer sends immediates, without regard to the room that it was given
// where that is possible, while the receiver does not poll. It loses its
// connection if it broke the rules; nobody else loses anything.
TEST_P(FabricConformance, AFloodHarmsNobodyElse) {
  const bool forged = fixture_->ForgeRoom(2);
  const Link good = ConnectEnds(0, 1);
  const Link bad = ConnectEnds(2, 1);
  // Lets the provider map what it must while the peer still polls.
  ASSERT_EQ(Do(0, good.near, Write(ends_[0], 0, ends_[1], 0, 8, 1)),
            Outcome::kOk);
  ASSERT_EQ(Do(2, bad.near, Write(ends_[2], 0, ends_[1], 0, 8, 1)),
            Outcome::kOk);
  PollMore();  // all that was sent so far has been taken
  uint32_t posted = 0;
  const auto flood = [&] {
    const uint32_t most = posted + kMostOfAFlood;
    PostResult result = PostResult::kOk;
    for (int idle = 0;
         result != PostResult::kClosed && idle < 1000 && posted < most;) {
      WorkRequest request = Write(ends_[2], 0, ends_[1], 64, 8, 100 + posted);
      request.opcode = Opcode::kWriteWithImm;
      request.immediate = posted;
      result = ends_[2].fabric->Post(bad.near, std::span(&request, 1));
      if (result == PostResult::kOk) {
        ++posted;
        idle = 0;
      } else {
        if (++idle % 16 == 0) fixture_->ForgeRoom(2);
        PollOnce(2);
        fixture_->Pump();
      }
    }
  };
  flood();
  // One-sided work needs nobody's room.
  std::memset(ends_[0].at(4096), 0x5a, 4096);
  const WorkRequest requests[] = {
      Write(ends_[0], 4096, ends_[1], 4096, 4096, 2),
      Read(ends_[0], 8192, ends_[1], 4096, 4096, 3)};
  ASSERT_EQ(ends_[0].fabric->Post(good.near, requests), PostResult::kOk);
  ASSERT_TRUE(PumpUntil([&] {
    PollOnce(0);
    return ends_[0].Count(EventKind::kCompleted, good.near) == 3;
  }));
  EXPECT_EQ(std::memcmp(ends_[0].at(8192), ends_[0].at(4096), 4096), 0);
  // Now the receiver polls.
  constexpr int kMessages = 200;
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(Send(0, good.near, std::to_string(i)));
  }
  ASSERT_TRUE(PollUntil([&] {
    return ends_[1].Count(EventKind::kReceived, good.far) == kMessages;
  }));
  const auto received = ends_[1].Of(EventKind::kReceived, good.far);
  for (int i = 0; i < kMessages; ++i) {
    EXPECT_EQ(received[i].data, std::to_string(i));
  }
  if (forged) {
    const auto closed = [&] {
      return ends_[1].Count(EventKind::kDisconnected, bad.far) == 1 &&
             ends_[2].Count(EventKind::kDisconnected, bad.near) == 1;
    };
    // What comes slowly is within the room that the receiver has told of
    // meanwhile, and breaks no rule.
    for (int floods = 1; !closed(); ++floods) {
      ASSERT_LT(floods, 100) << "nobody was disconnected";
      bool all_taken = false;
      ASSERT_TRUE(PollUntil([&] {
        all_taken = ends_[1].Count(EventKind::kReceivedImm, bad.far) == posted;
        return all_taken || closed();
      }));
      if (!closed()) flood();
    }
    EXPECT_LT(ends_[1].Count(EventKind::kReceivedImm, bad.far), posted);
  } else {
    ASSERT_TRUE(PollUntil([&] {
      return ends_[1].Count(EventKind::kReceivedImm, bad.far) == posted;
    }));
  }
  uint32_t next = 0;
  for (const Seen& seen : ends_[1].Of(EventKind::kReceivedImm, bad.far)) {
    EXPECT_EQ(seen.event.immediate, next++);
  }
  // And what the flood took has come back.
  const Link again = ConnectEnds(2, 1);
  ASSERT_TRUE(Send(2, again.near, "once more"));
  EXPECT_EQ(Do(0, good.near, Write(ends_[0], 0, ends_[1], 0, 8, 4)),
            Outcome::kOk);
  ASSERT_TRUE(PollUntil(
      [&] { return ends_[1].Count(EventKind::kReceived, again.far) == 1; }));
}

}  // namespace
}  // namespace whale::fabric

#include "sim/sim_fabric.h"

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace whale::sim {
namespace {

using fabric::ConnectionId;
using fabric::Event;
using fabric::EventKind;
using fabric::FlushMethod;
using fabric::Grant;
using fabric::Opcode;
using fabric::Outcome;
using fabric::PostResult;
using fabric::WorkRequest;

// Node 1 is connected to node 2, which owns power-safe memory.
struct Pair {
  explicit Pair(uint64_t seed, FlushMethod method = FlushMethod::kNativeFlush)
      : world(seed),
        memory(1 << 16, pmem::Survives::kPower),
        source(1 << 16, pmem::Survives::kPower) {
    NetworkOptions options;
    options.flush_method = method;
    options.slow_land_chance = 0.3;
    network = std::make_unique<SimNetwork>(&world, options);
    a = std::make_unique<SimFabric>(network.get(), 1, &source);
    b = std::make_unique<SimFabric>(network.get(), 2, &memory);
    a->Register({source.base(), source.length_bytes()}, {}).value();
    region =
        b->Register({memory.base(), memory.length_bytes()}, {true, true, true})
            .value();
    grant = b->MakeGrant(region, 0, memory.length_bytes());
    ab = a->Connect(b->address(), {});
    ba = WaitFor(*b, EventKind::kConnectRequest).connection;
    b->Accept(ba, {});
    WaitFor(*a, EventKind::kConnected);
    WaitFor(*b, EventKind::kConnected);
  }
  Event WaitFor(SimFabric& fabric, EventKind kind) {
    for (int i = 0; i < 1000; ++i) {
      Event event;
      if (fabric.Poll({&event, 1}) == 1) {
        if (event.kind == kind) return event;
        continue;
      }
      fabric.Wait(world.now_ns() + kSecond);
    }
    ADD_FAILURE() << "no event of kind " << static_cast<int>(kind);
    return {};
  }
  WorkRequest Write(size_t offset, uint32_t length, bool signaled = true) {
    WorkRequest request;
    request.signaled = signaled;
    request.local = source.base() + offset;
    request.length_bytes = length;
    request.remote_key = grant.key;
    request.remote_address = grant.address + offset;
    return request;
  }
  WorkRequest Flush(size_t offset, uint32_t length) {
    WorkRequest request = Write(offset, length);
    request.opcode = Opcode::kRemoteFlush;
    request.local = nullptr;
    return request;
  }
  void Fill(size_t offset, size_t length, int byte) {
    std::memset(source.base() + offset, byte, length);
  }
  bool Holds(size_t offset, size_t length, int byte) {
    for (size_t i = 0; i < length; ++i) {
      if (memory.base()[offset + i] != static_cast<std::byte>(byte)) {
        return false;
      }
    }
    return true;
  }

  World world;
  SimMemory memory, source;
  std::unique_ptr<SimNetwork> network;
  std::unique_ptr<SimFabric> a, b;
  fabric::RegionId region;
  Grant grant;
  ConnectionId ab, ba;
};

TEST(SimFabricTest, CompletionOfAWriteProvesNothingWithoutFlush) {
  int invisible = 0, lost = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 512, 7);
    WorkRequest write = pair.Write(0, 512);
    ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
    ASSERT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome,
              Outcome::kOk);
    invisible += !pair.Holds(0, 512, 7);
    pair.b->Crash();
    pair.memory.Crash(true, pair.world.random());
    pair.memory.Restart();
    lost += !pair.Holds(0, 512, 7);
  }
  EXPECT_GT(invisible, 0);
  EXPECT_GT(lost, invisible);
}

TEST(SimFabricTest, FlushMakesVisibleAndDurable) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 512, 7);
    const WorkRequest work[] = {pair.Write(0, 512, false), pair.Flush(0, 512)};
    ASSERT_EQ(pair.a->Post(pair.ab, work), PostResult::kOk);
    ASSERT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome,
              Outcome::kOk);
    EXPECT_TRUE(pair.Holds(0, 512, 7));
    pair.b->Crash();
    pair.memory.Crash(true, pair.world.random());
    pair.memory.Restart();
    EXPECT_TRUE(pair.Holds(0, 512, 7)) << seed;
  }
}

TEST(SimFabricTest, MethodNoneCompletesWhenVisible) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Pair pair(seed, FlushMethod::kNone);
    pair.Fill(0, 512, 7);
    WorkRequest write = pair.Write(0, 512);
    ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
    pair.WaitFor(*pair.a, EventKind::kCompleted);
    EXPECT_TRUE(pair.Holds(0, 512, 7));
  }
}

TEST(SimFabricTest, WritesLandTornButInOrder) {
  int torn = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 512, 1);
    pair.Fill(512, 8, 2);
    const WorkRequest work[] = {pair.Write(0, 512, false), pair.Write(512, 8)};
    ASSERT_EQ(pair.a->Post(pair.ab, work), PostResult::kOk);
    for (bool more = true; more;) {
      more = pair.world.RunOne(pair.world.now_ns() + kSecond);
      const bool all = pair.Holds(0, 512, 1);
      torn += !all && !pair.Holds(0, 512, 0);
      EXPECT_TRUE(all || !pair.Holds(512, 8, 2));
    }
  }
  EXPECT_GT(torn, 0);
}

TEST(SimFabricTest, LaterWritePassesAFlush) {
  int passed = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 16, 3);
    const WorkRequest work[] = {pair.Write(0, 8, false), pair.Flush(0, 8),
                                pair.Write(8, 8, false)};
    ASSERT_EQ(pair.a->Post(pair.ab, work), PostResult::kOk);
    pair.WaitFor(*pair.a, EventKind::kCompleted);
    passed += pair.Holds(8, 8, 3);
  }
  EXPECT_GT(passed, 0);
}

TEST(SimFabricTest, NothingLandsAfterRevoke) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 4096, 9);
    WorkRequest write = pair.Write(0, 4096);
    ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
    for (uint64_t i = 0; i < seed % 12; ++i) {
      pair.world.RunOne(pair.world.now_ns() + kMillisecond);
    }
    EXPECT_EQ(pair.b->Revoke(pair.ba), fabric::Revocation::kFenced);
    std::vector<std::byte> before(pair.memory.base(),
                                  pair.memory.base() + 4096);
    pair.world.RunUntil(pair.world.now_ns() + kSecond);
    EXPECT_EQ(std::memcmp(before.data(), pair.memory.base(), 4096), 0);
    Event event;
    while (pair.a->Poll({&event, 1}) == 1 &&
           event.kind != EventKind::kDisconnected) {
    }
    EXPECT_EQ(event.kind, EventKind::kDisconnected);
  }
}

TEST(SimFabricTest, OutsideTheGrantKillsTheConnection) {
  Pair pair(1);
  pair.grant = pair.b->MakeGrant(pair.region, 0, 64);
  const WorkRequest work[] = {pair.Write(0, 64), pair.Write(60, 8, false),
                              pair.Write(0, 8, false)};
  ASSERT_EQ(pair.a->Post(pair.ab, work), PostResult::kOk);
  EXPECT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome, Outcome::kOk);
  EXPECT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome,
            Outcome::kRemoteAccess);
  EXPECT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome,
            Outcome::kCanceled);
  EXPECT_EQ(pair.WaitFor(*pair.a, EventKind::kDisconnected).connection,
            pair.ab);
  EXPECT_EQ(pair.a->Post(pair.ab, work), PostResult::kClosed);
}

TEST(SimFabricTest, CutLinkEndsTheConnection) {
  for (bool forth : {true, false}) {
    Pair pair(3);
    pair.network->CutLink(forth ? 1 : 2, forth ? 2 : 1);
    WorkRequest write = pair.Write(0, 64);
    ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
    EXPECT_NE(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome,
              Outcome::kOk);
    pair.WaitFor(*pair.a, EventKind::kDisconnected);
  }
}

TEST(SimFabricTest, ShortCutIsRiddenOut) {
  Pair pair(4);
  pair.network->CutLink(1, 2);
  WorkRequest write = pair.Write(0, 64);
  ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
  pair.world.RunUntil(pair.world.now_ns() + 20 * kMillisecond);
  pair.network->HealLink(1, 2);
  EXPECT_EQ(pair.WaitFor(*pair.a, EventKind::kCompleted).outcome, Outcome::kOk);
}

TEST(SimFabricTest, MessagesWaitForReceiveBuffers) {
  World world(5);
  NetworkOptions options;
  options.receive_buffers = 2;
  SimNetwork network(&world, options);
  SimFabric a(&network, 1, nullptr), b(&network, 2, nullptr);
  const ConnectionId ab = a.Connect(b.address(), {});
  Event event;
  world.RunUntil(kMillisecond);
  ASSERT_EQ(b.Poll({&event, 1}), 1u);
  b.Accept(event.connection, {});
  world.RunUntil(2 * kMillisecond);
  ASSERT_EQ(a.Poll({&event, 1}), 1u);
  ASSERT_EQ(b.Poll({&event, 1}), 1u);
  for (uint64_t i = 0; i < 8; ++i) {
    std::byte* at = a.BeginMessage(ab, 8);
    ASSERT_NE(at, nullptr);
    std::memcpy(at, &i, 8);
    a.EndMessage(ab, 8);
  }
  uint64_t expected = 0;
  for (int turn = 0; turn < 20; ++turn) {
    world.RunUntil(world.now_ns() + kMillisecond);
    Event events[8];
    const size_t count = b.Poll(events);
    EXPECT_LE(count, 2u);
    for (size_t i = 0; i < count; ++i, ++expected) {
      uint64_t value;
      ASSERT_EQ(events[i].length_bytes, 8u);
      std::memcpy(&value, events[i].data, 8);
      EXPECT_EQ(value, expected);
    }
  }
  EXPECT_EQ(expected, 8u);
}

TEST(SimFabricTest, CrashTearsWhatWasLanding) {
  int torn = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Pair pair(seed);
    pair.Fill(0, 4096, 9);
    WorkRequest write = pair.Write(0, 4096);
    ASSERT_EQ(pair.a->Post(pair.ab, {&write, 1}), PostResult::kOk);
    for (uint64_t i = 0; i < 2 + seed % 4; ++i) {
      pair.world.RunOne(pair.world.now_ns() + kMillisecond);
    }
    pair.b->Crash();
    torn += !pair.Holds(0, 4096, 9) && !pair.Holds(0, 4096, 0);
    pair.WaitFor(*pair.a, EventKind::kDisconnected);
  }
  EXPECT_GT(torn, 0);
}

TEST(SimFabricTest, SameSeedSameRun) {
  auto run = [](uint64_t seed) {
    Pair pair(seed);
    for (int i = 0; i < 20; ++i) {
      WorkRequest write = pair.Write(i * 64, 64);
      pair.a->Post(pair.ab, {&write, 1});
    }
    pair.world.RunUntil(kSecond);
    return pair.world.trace_hash();
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace whale::sim

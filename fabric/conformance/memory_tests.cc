// Registration, grants and their bounds, and what an error does to a
// connection.
#include <cstring>
#include <string>
#include <vector>

#include "common/remote_memory.h"
#include "fabric/conformance/suite.h"

namespace whale::fabric {
namespace {

class FabricConformanceErrors {
 public:
  // After an error: the failed one, then canceled ones, then one kDisconnected.
  static void ExpectDeath(const End& end, ConnectionId connection,
                          Outcome first, std::vector<uint64_t> cookies) {
    std::vector<Seen> failed;
    size_t disconnects = 0;
    for (const Seen& seen : end.seen) {
      if (seen.event.connection != connection) continue;
      if (seen.event.kind == EventKind::kDisconnected) ++disconnects;
      if (seen.event.kind != EventKind::kCompleted) continue;
      EXPECT_EQ(disconnects, 0u) << "a completion after kDisconnected";
      if (seen.event.outcome != Outcome::kOk) failed.push_back(seen);
    }
    EXPECT_EQ(disconnects, 1u);
    ASSERT_EQ(failed.size(), cookies.size());
    for (size_t i = 0; i < failed.size(); ++i) {
      EXPECT_EQ(failed[i].event.cookie, cookies[i]);
      EXPECT_EQ(failed[i].event.outcome, i == 0 ? first : Outcome::kCanceled);
    }
  }
};

TEST_P(FabricConformance, RegisterRefusesNothing) {
  EXPECT_EQ(
      ends_[0].fabric->Register({}, {.remote_read = true}).status().code(),
      absl::StatusCode::kInvalidArgument);
  Memory memory = ends_[0].memory;
  memory.length_bytes = 0;
  EXPECT_EQ(
      ends_[0].fabric->Register(memory, {.remote_read = true}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_P(FabricConformance, MemoryForLocalUseNeedsNoDescriptor) {
  const Link link = ConnectEnds();
  std::vector<std::byte> local(4096, std::byte{0x77});
  auto region = ends_[0].fabric->Register(
      {.base = local.data(), .length_bytes = local.size()}, {});
  ASSERT_TRUE(region.ok()) << region.status();
  WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 4096, 1);
  request.local = local.data();
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  request.opcode = Opcode::kRead;
  request.cookie = 2;
  std::memset(local.data(), 0, local.size());
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  EXPECT_EQ(local[4095], std::byte{0x77});
  ends_[0].fabric->Deregister(*region);
}

TEST_P(FabricConformance, AccessBeyondTheRegionIsRefused) {
  struct Case {
    const char* what;
    Opcode opcode;
    uint64_t offset;
    uint32_t length;
  };
  const Case cases[] = {
      {"write over the end", Opcode::kWrite, kMemoryBytes - 8, 16},
      {"write past the end", Opcode::kWrite, kMemoryBytes, 8},
      {"read over the end", Opcode::kRead, kMemoryBytes - 4096, 4097},
      {"far away", Opcode::kRead, uint64_t{1} << 40, 8},
      {"before the start", Opcode::kWrite, ~uint64_t{7}, 8},
      {"around", Opcode::kWrite, ~uint64_t{7}, 4096},
      {"swap past the end", Opcode::kCompareSwap, kMemoryBytes, 8},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.what);
    const Link link = ConnectEnds();
    WorkRequest bad =
        Write(ends_[0], 0, ends_[1], test.offset, test.length, 10);
    bad.opcode = test.opcode;
    std::vector<WorkRequest> requests = {
        Write(ends_[0], 0, ends_[1], 0, 8, 9), bad,
        Write(ends_[0], 0, ends_[1], 0, 8, 11),
        Write(ends_[0], 0, ends_[1], 0, 8, 12)};
    requests[2].signaled = false;
    ASSERT_TRUE(PostPatiently(0, link.near, requests));
    ASSERT_TRUE(PollUntil([&] {
      return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
    }));
    FabricConformanceErrors::ExpectDeath(ends_[0], link.near,
                                         Outcome::kRemoteAccess, {10, 11, 12});
    EXPECT_EQ(ends_[0].fabric->Post(link.near, requests), PostResult::kClosed);
    EXPECT_TRUE(PollUntil([&] {
      return ends_[1].Count(EventKind::kDisconnected, link.far) == 1;
    })) << "the peer must learn that the connection is dead";
  }
}

TEST_P(FabricConformance, AnInventedKeyIsRefused) {
  const Link link = ConnectEnds();
  for (int i = 0; i < 2; ++i) {
    const Link bad_link = ConnectEnds();
    WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, 1);
    request.remote_key = i == 0 ? 0 : request.remote_key ^ (uint64_t{1} << 30);
    EXPECT_EQ(Do(0, bad_link.near, request), Outcome::kRemoteAccess);
    ASSERT_TRUE(PollUntil([&] {
      return ends_[0].Count(EventKind::kDisconnected, bad_link.near) == 1;
    }));
  }
  EXPECT_EQ(Do(0, link.near, Write(ends_[0], 0, ends_[1], 0, 8, 2)),
            Outcome::kOk)
      << "another connection is not touched by it";
}

TEST_P(FabricConformance, AccessRightsAreKept) {
  const struct {
    Access access;
    Opcode forbidden;
    Opcode allowed;
  } cases[] = {
      {{.remote_read = true}, Opcode::kWrite, Opcode::kRead},
      {{.remote_read = true}, Opcode::kCompareSwap, Opcode::kRead},
      {{.remote_write = true}, Opcode::kRead, Opcode::kWrite},
      {{.remote_write = true}, Opcode::kCompareSwap, Opcode::kWrite},
  };
  for (const auto& test : cases) {
    const Memory memory = fixture_->MakeMemory(1, 8192);
    auto region = ends_[1].fabric->Register(memory, test.access);
    ASSERT_TRUE(region.ok()) << region.status();
    const Grant grant = ends_[1].fabric->MakeGrant(*region, 0, 8192);
    const Link link = ConnectEnds();
    WorkRequest request = Write(ends_[0], 64, ends_[1], 0, 8, 1);
    request.remote_key = grant.key;
    request.remote_address = grant.address + 128;
    std::memset(ends_[0].at(64), 0xff, 8);
    request.opcode = test.allowed;
    EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
    // The completion of a WRITE need not mean that it is visible.
    const uint64_t before = test.allowed == Opcode::kWrite ? ~uint64_t{0} : 0;
    EXPECT_TRUE(
        PumpUntil([&] { return LoadRemoteWord(memory.base + 128) == before; }));
    std::memset(ends_[0].at(64), 0x11, 8);
    request.opcode = test.forbidden;
    request.compare = before;
    request.swap = 99;
    request.cookie = 2;
    EXPECT_EQ(Do(0, link.near, request), Outcome::kRemoteAccess);
    EXPECT_EQ(LoadRemoteWord(memory.base + 128), before);
  }
}

TEST_P(FabricConformance, GrantsOfPartsLeadToTheirBytes) {
  const Link link = ConnectEnds();
  const Grant part = ends_[1].fabric->MakeGrant(ends_[1].region, 65536, 4096);
  EXPECT_EQ(part.length_bytes, 4096u);
  std::memcpy(ends_[0].at(0), "part", 4);
  WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 4, 1);
  request.remote_key = part.key;
  request.remote_address = part.address + 100;
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  EXPECT_EQ(Do(0, link.near, Read(ends_[0], 512, ends_[1], 65636, 4, 2)),
            Outcome::kOk);
  EXPECT_EQ(std::memcmp(ends_[0].at(512), "part", 4), 0);
}

TEST_P(FabricConformance, DeregisteredMemoryIsOutOfReach) {
  const Memory memory = fixture_->MakeMemory(1, 8192);
  auto region = ends_[1].fabric->Register(
      memory, {.remote_read = true, .remote_write = true});
  ASSERT_TRUE(region.ok()) << region.status();
  const Grant grant = ends_[1].fabric->MakeGrant(*region, 0, 8192);
  const Link link = ConnectEnds();
  WorkRequest request = Write(ends_[0], 0, ends_[1], 0, 8, 1);
  request.remote_key = grant.key;
  request.remote_address = grant.address;
  EXPECT_EQ(Do(0, link.near, request), Outcome::kOk);
  ends_[1].fabric->Deregister(*region);
  const uint64_t before = LoadRemoteWord(memory.base);
  std::memset(ends_[0].at(0), 0x33, 8);
  request.cookie = 2;
  EXPECT_EQ(Do(0, link.near, request), Outcome::kRemoteAccess);
  EXPECT_EQ(LoadRemoteWord(memory.base), before);
}

TEST_P(FabricConformance, LocalMemoryMustBeRegistered) {
  std::vector<std::byte> foreign(4096);
  const Opcode opcodes[] = {Opcode::kWrite, Opcode::kRead,
                            Opcode::kCompareSwap};
  for (const Opcode opcode : opcodes) {
    const Link link = ConnectEnds();
    std::vector<WorkRequest> requests = {Write(ends_[0], 0, ends_[1], 0, 8, 1),
                                         Write(ends_[0], 0, ends_[1], 0, 8, 2)};
    requests[0].opcode = opcode;
    requests[0].local = foreign.data();
    ASSERT_TRUE(PostPatiently(0, link.near, requests));
    ASSERT_TRUE(PollUntil([&] {
      return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
    }));
    FabricConformanceErrors::ExpectDeath(ends_[0], link.near,
                                         Outcome::kLocalError, {1, 2});
  }
}

// What was posted before a request that breaks the rules is not dragged along,
// though it is still on its way when the rule is broken.
TEST_P(FabricConformance, AnErrorWaitsForItsTurn) {
  std::vector<std::byte> foreign(4096);
  for (const Opcode opcode : {Opcode::kWrite, Opcode::kRead}) {
    const Link link = ConnectEnds();
    std::vector<WorkRequest> requests = {
        Write(ends_[0], 0, ends_[1], 0, 4 << 20, 1),
        Read(ends_[0], 8 << 20, ends_[1], 0, 1 << 20, 2),
        Write(ends_[0], 0, ends_[1], 0, 8, 3),
        Write(ends_[0], 0, ends_[1], 0, 8, 4),
        Write(ends_[0], 0, ends_[1], 0, 8, 5)};
    requests[3].opcode = opcode;
    requests[3].local = foreign.data();
    ASSERT_TRUE(PostPatiently(0, link.near, requests));
    Send(0, link.near, "behind it");
    ASSERT_TRUE(PollUntil([&] {
      return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
    }));
    FabricConformanceErrors::ExpectDeath(ends_[0], link.near,
                                         Outcome::kLocalError, {4, 5});
    EXPECT_EQ(ends_[0].Count(EventKind::kCompleted, link.near), 5u);
    ASSERT_TRUE(PollUntil([&] {
      return ends_[1].Count(EventKind::kDisconnected, link.far) == 1;
    }));
    EXPECT_EQ(ends_[1].Count(EventKind::kReceived, link.far), 0u);
  }
}

TEST_P(FabricConformance, LocalMemoryMustNotReachBeyondItsRegion) {
  const Link link = ConnectEnds();
  EXPECT_EQ(
      Do(0, link.near, Write(ends_[0], kMemoryBytes - 8, ends_[1], 0, 16, 1)),
      Outcome::kLocalError);
}

TEST_P(FabricConformance, TooMuchInlineDataIsAnError) {
  const Link link = ConnectEnds();
  WorkRequest request = Write(ends_[0], 0, ends_[1], 0, kMaxInlineBytes + 1, 1);
  request.inline_data = true;
  EXPECT_EQ(Do(0, link.near, request), Outcome::kLocalError);
}

TEST_P(FabricConformance, AMisalignedSwapIsAnError) {
  const Link link = ConnectEnds();
  WorkRequest request = Write(ends_[0], 0, ends_[1], 4, 8, 1);
  request.opcode = Opcode::kCompareSwap;
  EXPECT_NE(Do(0, link.near, request), Outcome::kOk);
  ASSERT_TRUE(PollUntil([&] {
    return ends_[0].Count(EventKind::kDisconnected, link.near) == 1;
  }));
}

}  // namespace
}  // namespace whale::fabric

// Peers that are out to do harm: garbage on the socket, memory that is not
// what it should be, shared memory scribbled over. Nothing may crash, and
// others must go on being served.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/prng.h"
#include "common/remote_memory.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/mapping.h"
#include "fabric/shm/socket.h"
#include "fabric/shm/test_support.h"
#include "gtest/gtest.h"

namespace whale::fabric::shm {
namespace {

struct SharedRange {
  uint64_t* words;
  size_t count;
};

// Everything this process has mapped writable from memory of that name, but
// for what it had at `before` (a child has its parent's, a peer would not).
std::vector<SharedRange> WritableMappings(
    const std::string& name, const std::vector<SharedRange>& before = {}) {
  std::vector<SharedRange> ranges;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("rw-s") == std::string::npos ||
        line.find(name) == std::string::npos) {
      continue;
    }
    uintptr_t begin = 0, end = 0;
    char dash;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    auto* words = reinterpret_cast<uint64_t*>(begin);
    if (std::ranges::any_of(before,
                            [&](const auto& r) { return r.words == words; })) {
      continue;
    }
    ranges.push_back({words, (end - begin) / 8});
  }
  return ranges;
}

uint64_t EvilWord(Prng& prng, uint64_t old) {
  switch (prng.Below(6)) {
    case 0:
      return prng.Next();
    case 1:
      return prng.Below(100'000);
    case 2:
      return old + 16 * prng.Below(10'000);
    case 3:
      return old ^ (uint64_t{1} << prng.Below(64));
    case 4:
      return 0;
    default:
      return old - 16 * prng.Below(64);
  }
}

// Connects, talks for a while, then scribbles over the rings in both
// directions and the server's summary, mostly where the positions are.
int Scribble(const std::string& address, uint64_t seed) {
  Prng prng(seed);
  const auto inherited = WritableMappings("whale-");
  Party client("");
  const ConnectionId connection = client.Connect(address);
  for (uint64_t i = 0; i < prng.Below(50); ++i) {
    client.Send(connection, std::string(prng.Below(3000), 'x'));
    client.Poll();
  }
  const auto ranges = WritableMappings("whale-", inherited);
  const uint64_t strokes = prng.Below(3000);
  for (uint64_t i = 0; i < strokes; ++i) {
    const SharedRange& range = ranges[prng.Below(ranges.size())];
    // The header lines, the first records, anywhere.
    const size_t bounds[] = {16, 560, range.count};
    const size_t word =
        prng.Below(std::min(bounds[prng.Below(3)], range.count));
    uint64_t* target = range.words + word;
    const uint64_t old = __atomic_load_n(target, __ATOMIC_RELAXED);
    __atomic_store_n(target, EvilWord(prng, old), __ATOMIC_RELAXED);
    if (i % 64 == 0) client.Send(connection, "and on");
  }
  return 0;
}

TEST(ShmHostileTest, ScribblingPeersHarmOnlyThemselves) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Child honest([&](Child&) {
    Party client("");
    const ConnectionId connection = client.Connect(server.fabric().address());
    for (;;) {
      const size_t first = client.seen().size();
      const Party::Seen ping = client.Await(EventKind::kReceived, first);
      if (ping.data == "stop") return 0;
      client.Send(connection, ping.data);
      client.seen().clear();
    }
  });
  const ConnectionId good = server.AcceptNext();
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    server.seen().clear();
    Child hostile(
        [&](Child&) { return Scribble(server.fabric().address(), seed); });
    const ConnectionId bad = server.AcceptNext();
    server.seen().clear();
    // Talks back meanwhile.
    bool over = false;
    while (!over) {
      server.Poll();
      server.Send(bad, "are you all right?");
      for (const Party::Seen& seen : server.seen()) {
        over |= seen.event.kind == EventKind::kDisconnected;
        if (seen.event.kind == EventKind::kReceived) {
          EXPECT_LE(seen.data.size(), kMaxMessageBytes);
        }
      }
      server.seen().clear();
    }
    hostile.Join();
    ASSERT_TRUE(server.Send(good, std::to_string(seed)));
    EXPECT_EQ(server.Await(EventKind::kReceived).data, std::to_string(seed));
  }
  server.Send(good, "stop");
  EXPECT_EQ(honest.Join(), 0);
}

// Writers of granted memory can reach its guard.
TEST(ShmHostileTest, AScribbledGuardCrashesNobody) {
  TemporaryDirectory directory;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Party server(directory / "server.sock", {.revoke_wait_us = 100});
    Child hostile([&](Child& parent) {
      Prng prng(seed);
      Party client("");
      const ConnectionId connection = client.Connect(server.fabric().address());
      const Grant grant = client.AwaitGrant(connection);
      std::memset(client.data(), 1, 8);
      client.Do(connection, client.Write(grant, 0, 8, 1));
      // Its own memory, the inherited mapping of the server's, the client's.
      for (const SharedRange& range : WritableMappings("party")) {
        for (int i = 0; i < 500; ++i) {
          uint64_t* word = range.words + prng.Below(kGuardBytes / 8);
          __atomic_store_n(word, EvilWord(prng, *word), __ATOMIC_RELAXED);
        }
      }
      parent.Tell();
      parent.Await();
      return 0;
    });
    const ConnectionId connection = server.AcceptNext();
    server.SendGrant(connection);
    while (LoadRemoteWord(server.data()) == 0) server.Poll();
    hostile.Await();
    server.fabric().Revoke(connection);  // either answer
    hostile.Tell();
    EXPECT_EQ(hostile.Join(), 0);
  }
}

// --- Raw sockets -----------------------------------------------------------

void ExpectStillServing(Party& server) {
  Child client([&](Child&) {
    Party party("");
    const ConnectionId connection = party.Connect(server.fabric().address());
    return party.Send(connection, "fine") ? 0 : 1;
  });
  server.seen().clear();
  server.AcceptNext();
  EXPECT_EQ(server.Await(EventKind::kReceived).data, "fine");
  EXPECT_EQ(client.Join(), 0);
}

TEST(ShmHostileTest, GarbageOnTheSocket) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Prng prng(7);
  for (int round = 0; round < 300; ++round) {
    auto socket = Dial(server.fabric().address());
    ASSERT_TRUE(socket.ok()) << socket.status();
    const int packets = 1 + static_cast<int>(prng.Below(4));
    for (int i = 0; i < packets; ++i) {
      std::string bytes(prng.Below(2000), '\0');
      for (char& c : bytes) c = static_cast<char>(prng.Next());
      if (prng.Chance(0.7) && bytes.size() >= sizeof(PacketHeader)) {
        const PacketHeader header{
            .magic = kPacketMagic,
            .version = kProtocolVersion,
            .type = static_cast<PacketType>(prng.Below(8))};
        std::memcpy(bytes.data(), &header, sizeof(header));
      }
      send(socket->get(), bytes.data(), bytes.size(),
           MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    server.fabric().Wait(0);
    server.Poll();
  }
  for (int i = 0; i < 300; ++i) server.fabric().Wait(0);
  server.Poll();
  for (const Party::Seen& seen : server.seen()) {
    EXPECT_NE(seen.event.kind, EventKind::kConnectRequest);
  }
  ExpectStillServing(server);
}

FileDescriptor UnsealedMemory(uint64_t bytes) {
  FileDescriptor fd(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

// A client that speaks the protocol by hand.
class RawClient {
 public:
  static constexpr uint64_t kRingBytes = kMinRingBytes;

  explicit RawClient(const std::string& address)
      : socket_(*Dial(address)),
        ring_(*CreateSealedMemory("raw", kRingHeaderBytes + kRingBytes)),
        summary_(*CreateSealedMemory("raw", 4096)),
        sleep_(*CreateSealedMemory("raw", 4096)) {}

  int ring() const { return ring_.get(); }
  int summary() const { return summary_.get(); }
  int sleep() const { return sleep_.get(); }
  int socket() const { return socket_.get(); }

  void SayHello(HelloBody body, std::vector<int> descriptors) {
    SendPacket(socket_.get(), PacketType::kHello,
               std::as_bytes(std::span(&body, 1)), {}, descriptors);
  }
  void SayHello() {
    SayHello({.ring_bytes = kRingBytes}, {ring(), summary(), sleep()});
  }
  // The next packet; the server is polled meanwhile.
  ReceiveResult Receive(Party& server, Packet* packet) {
    for (;;) {
      const ReceiveResult result = ReceivePacket(socket_.get(), packet);
      if (result != ReceiveResult::kNone) return result;
      server.Poll();
    }
  }

 private:
  FileDescriptor socket_, ring_, summary_, sleep_;
};

TEST(ShmHostileTest, AHelloWithMemoryThatCouldShrinkIsRefused) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  const FileDescriptor unsealed =
      UnsealedMemory(kRingHeaderBytes + kMinRingBytes);
  const FileDescriptor file(
      open((directory / "file").c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_EQ(ftruncate(file.get(), kRingHeaderBytes + kMinRingBytes), 0);
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const HelloBody fine{.ring_bytes = kMinRingBytes};
  const auto refused = [&](HelloBody body, auto descriptors_of) {
    RawClient client(server.fabric().address());
    client.SayHello(body, descriptors_of(client));
    Packet packet;
    return client.Receive(server, &packet) == ReceiveResult::kPacket &&
           packet.type == PacketType::kReject;
  };
  using Fds = std::vector<int>;
  EXPECT_TRUE(refused(fine, [&](RawClient& c) {
    return Fds{unsealed.get(), c.summary(), c.sleep()};
  }));
  EXPECT_TRUE(refused(fine, [&](RawClient& c) {
    return Fds{file.get(), c.summary(), c.sleep()};
  }));
  EXPECT_TRUE(refused(fine, [&](RawClient& c) {
    return Fds{c.ring(), unsealed.get(), c.sleep()};
  }));
  EXPECT_TRUE(refused(fine, [&](RawClient& c) {
    return Fds{c.ring(), c.summary(), pipes[0]};
  }));
  EXPECT_TRUE(refused(fine, [&](RawClient& c) { return Fds{c.ring()}; }));
  EXPECT_TRUE(refused(fine, [&](RawClient&) { return Fds{}; }));
  EXPECT_TRUE(refused({.ring_bytes = 1 << 20}, [&](RawClient& c) {
    return Fds{c.ring(), c.summary(), c.sleep()};
  })) << "a ring smaller than it says";
  EXPECT_TRUE(refused({.ring_bytes = 12345}, [&](RawClient& c) {
    return Fds{c.ring(), c.summary(), c.sleep()};
  }));
  EXPECT_TRUE(refused({.ring_bytes = kMinRingBytes, .summary_bit = 32768},
                      [&](RawClient& c) {
                        return Fds{c.ring(), c.summary(), c.sleep()};
                      }))
      << "a bit outside the summary";
  close(pipes[0]);
  close(pipes[1]);
  ExpectStillServing(server);
}

// The server READs a client's buffer; what the client hands over for that must
// not be able to kill the server.
TEST(ShmHostileTest, RegionsThatCouldShrinkAreRefused) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  const uint64_t bytes = kGuardBytes + 4096;
  const FileDescriptor sealed = *CreateSealedMemory("raw", bytes);
  const FileDescriptor unsealed = UnsealedMemory(bytes);
  struct Case {
    const char* what;
    RegionReplyBody reply;
    int descriptor;
    Outcome outcome;
  };
  const RegionReplyBody fine{.file_offset = kGuardBytes,
                             .length_bytes = 4096,
                             .granted = 1,
                             .readable = 1};
  std::vector<Case> cases = {
      {"fine", fine, sealed.get(), Outcome::kOk},
      {"not sealed", fine, unsealed.get(), Outcome::kRemoteAccess},
      {"none", fine, -1, Outcome::kRemoteAccess},
      {"too long", fine, sealed.get(), Outcome::kRemoteAccess},
      {"around", fine, sealed.get(), Outcome::kRemoteAccess},
      {"slot", fine, sealed.get(), Outcome::kRemoteAccess},
      {"guard", fine, sealed.get(), Outcome::kRemoteAccess},
      {"not granted", fine, sealed.get(), Outcome::kRemoteAccess},
      {"another key", fine, sealed.get(), Outcome::kRemoteError},
  };
  cases[3].reply.length_bytes = 4097;
  cases[4].reply.file_offset = ~uint64_t{100};
  cases[5].reply.slot = kGuardSlots;
  cases[6].reply.file_offset = 0;
  cases[7].reply.granted = 0;
  for (const Case& test : cases) {
    SCOPED_TRACE(test.what);
    server.seen().clear();
    RawClient client(server.fabric().address());
    client.SayHello();
    const ConnectionId connection = server.AcceptNext();
    Packet packet;
    ASSERT_EQ(client.Receive(server, &packet), ReceiveResult::kPacket);
    ASSERT_EQ(packet.type, PacketType::kAccept);
    WorkRequest read = server.Write({.key = 99}, 0, 64, 1);
    read.opcode = Opcode::kRead;
    server.fabric().Post(connection, std::span(&read, 1));
    do {
      ASSERT_EQ(client.Receive(server, &packet), ReceiveResult::kPacket);
    } while (packet.type != PacketType::kRegionRequest);
    RegionReplyBody reply = test.reply;
    reply.key = std::string(test.what) == "another key" ? 98 : 99;
    const std::span<const int> descriptors(&test.descriptor,
                                           test.descriptor >= 0 ? 1 : 0);
    SendPacket(client.socket(), PacketType::kRegionReply,
               std::as_bytes(std::span(&reply, 1)), {}, descriptors);
    EXPECT_EQ(server.Await(EventKind::kCompleted).event.outcome, test.outcome);
  }
  ExpectStillServing(server);
}

// Asks for memory without end, and never takes the answers.
TEST(ShmHostileTest, AFloodOfRequestsEndsTheConnection) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  RawClient client(server.fabric().address());
  client.SayHello();
  server.AcceptNext();
  const RegionRequestBody request{.key = server.grant().key};
  for (int i = 0; i < 100'000; ++i) {
    SendPacket(client.socket(), PacketType::kRegionRequest,
               std::as_bytes(std::span(&request, 1)), {}, {});
    server.fabric().Wait(0);
    server.Poll();
    if (server.seen().back().event.kind == EventKind::kDisconnected) break;
  }
  EXPECT_EQ(server.seen().back().event.kind, EventKind::kDisconnected);
  ExpectStillServing(server);
}

TEST(ShmHostileTest, APeerThatSaysNoHelloLosesItsPlace) {
  TemporaryDirectory directory;
  Party server(directory / "a.sock", {.max_connections = 1, .handshake_us = 1});
  auto silent = Dial(directory / "a.sock");
  ASSERT_TRUE(silent.ok()) << silent.status();
  Packet packet;
  ReceiveResult result = ReceiveResult::kNone;
  for (int i = 0; i < 100'000'000 && result == ReceiveResult::kNone; ++i) {
    server.Poll();
    result = ReceivePacket(silent->get(), &packet);
  }
  EXPECT_EQ(result, ReceiveResult::kClosed);
  EXPECT_TRUE(server.seen().empty());
  // The place is free again.
  Party client("");
  client.fabric().Connect(directory / "a.sock", {});
  while (server.seen().empty()) server.Poll();
  EXPECT_EQ(server.seen()[0].event.kind, EventKind::kConnectRequest);
}

TEST(ShmHostileTest, AListenerThatDoesNotAnswerIsGivenUp) {
  TemporaryDirectory directory;
  auto listener = Listener::Create(directory / "a.sock");
  ASSERT_TRUE(listener.ok()) << listener.status();
  Party client("", {.handshake_us = 1});
  client.fabric().Connect(directory / "a.sock", {});
  const Party::Seen failed = client.Await(EventKind::kConnectFailed);
  EXPECT_NE(failed.data.find("has not answered"), std::string::npos)
      << failed.data;
}

TEST(ShmHostileTest, TooManyConnectionsAreToldSo) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock", {.max_connections = 2});
  Party client("");
  for (int i = 0; i < 2; ++i) {
    client.fabric().Connect(server.fabric().address(), {});
    const size_t first = server.seen().size();
    server.Await(EventKind::kConnectRequest, first);
  }
  client.fabric().Connect(server.fabric().address(), {});
  while (client.seen().empty()) {
    server.Poll();
    client.Poll();
  }
  EXPECT_EQ(client.seen()[0].event.kind, EventKind::kConnectFailed);
  EXPECT_NE(client.seen()[0].data.find("all 2 connections"), std::string::npos)
      << client.seen()[0].data;
}

}  // namespace
}  // namespace whale::fabric::shm

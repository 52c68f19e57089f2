// Peers in other processes that are killed, stopped and restarted.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "common/prng.h"
#include "common/remote_memory.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/test_support.h"
#include "gtest/gtest.h"

namespace whale::fabric::shm {
namespace {

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// A peer that floods its server with WRITEs and messages until it is killed.
// Each message and each 256-byte WRITE holds one number throughout.
int FloodServer(const std::string& address) {
  Party client("");
  const ConnectionId connection = client.Connect(address);
  const Grant grant = client.AwaitGrant(connection);
  for (uint64_t number = 1;; ++number) {
    const std::string text(number * 37 % 2000 + 8,
                           static_cast<char>(number % 251));
    std::byte* room = client.fabric().BeginMessage(connection, text.size());
    if (room != nullptr) {
      std::memcpy(room, text.data(), text.size());
      std::memcpy(room, &number, 8);
      client.fabric().EndMessage(connection, text.size());
    } else {
      --number;
    }
    for (int i = 0; i < 32; ++i) {
      std::memcpy(client.data() + i * 8, &number, 8);
    }
    WorkRequest write = client.Write(grant, 0, 256, number);
    client.fabric().Post(connection, std::span(&write, 1));
    client.Poll();
    client.seen().clear();
  }
}

TEST(ShmProcessTest, PeersKilledAtAnyInstruction) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Prng prng(42);
  size_t descriptors = 0;
  for (int round = 0; round < 40; ++round) {
    server.seen().clear();
    Child child([&](Child&) { return FloodServer(server.fabric().address()); });
    const ConnectionId connection = server.AcceptNext();
    server.SendGrant(connection);
    server.seen().clear();
    // Some rounds with messages taken, some with a ring that fills up.
    const uint64_t messages = prng.Below(2000);
    while (server.seen().size() < messages) server.Poll();
    child.Kill();
    child.Join();
    server.Await(EventKind::kDisconnected);
    uint64_t expected = 1;
    for (const Party::Seen& seen : server.seen()) {
      if (seen.event.kind != EventKind::kReceived) continue;
      uint64_t number;
      ASSERT_GE(seen.data.size(), 8u);
      std::memcpy(&number, seen.data.data(), 8);
      ASSERT_EQ(number, expected++);
      ASSERT_EQ(seen.data.size(), number * 37 % 2000 + 8);
      ASSERT_EQ(
          seen.data.substr(8),
          std::string(seen.data.size() - 8, static_cast<char>(number % 251)));
    }
    ASSERT_EQ(server.seen().back().event.kind, EventKind::kDisconnected);
    ASSERT_EQ(server.fabric().Revoke(connection), Revocation::kFenced);
    // Nothing is kept of the dead.
    if (round == 0) descriptors = OpenDescriptors();
    ASSERT_LE(OpenDescriptors(), descriptors);
  }
}

// What a peer published before it died is there, all of it.
TEST(ShmProcessTest, TheDeadHaveTheirSay) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Child child([&](Child& parent) {
    Party client("");
    const ConnectionId connection = client.Connect(server.fabric().address());
    for (int i = 0; i < 100; ++i) client.Send(connection, std::to_string(i));
    parent.Tell();
    for (;;) pause();
    return 0;
  });
  const ConnectionId connection = server.AcceptNext();
  child.Await();
  child.Kill();
  child.Join();
  server.Await(EventKind::kDisconnected);
  int next = 0;
  for (const Party::Seen& seen : server.seen()) {
    if (seen.event.kind != EventKind::kReceived) continue;
    EXPECT_EQ(seen.event.connection, connection);
    EXPECT_EQ(seen.data, std::to_string(next++));
  }
  EXPECT_EQ(next, 100);
  EXPECT_EQ(server.seen().back().event.kind, EventKind::kDisconnected);
}

TEST(ShmProcessTest, OwnersKilledUnderTheirWriters) {
  TemporaryDirectory directory;
  for (int round = 0; round < 20; ++round) {
    Child child([&](Child& parent) {
      Party server(directory / "server.sock");
      parent.Tell();
      const ConnectionId connection = server.AcceptNext();
      server.SendGrant(connection);
      for (;;) server.Poll();
      return 0;
    });
    child.Await();
    Party client("");
    const ConnectionId connection = client.Connect(directory / "server.sock");
    const Grant grant = client.AwaitGrant(connection);
    ASSERT_EQ(client.Do(connection, client.Write(grant, 0, 8, 1)),
              Outcome::kOk);
    child.Kill();
    uint64_t posted = 1;
    while (client.seen().back().event.kind != EventKind::kDisconnected) {
      WorkRequest write = client.Write(grant, 0, 4096, posted + 1);
      posted += client.fabric().Post(connection, std::span(&write, 1)) ==
                PostResult::kOk;
      client.fabric().BeginMessage(connection, 100);
      client.Poll();
    }
    uint64_t completed = 0;
    for (const Party::Seen& seen : client.seen()) {
      if (seen.event.kind != EventKind::kCompleted) continue;
      ASSERT_EQ(seen.event.cookie, ++completed);
    }
    ASSERT_EQ(completed, posted);
  }
}

// The slot of the calling process in a guard.
GuardSlot* OwnSlot(std::byte* memory) {
  auto* guard = reinterpret_cast<GuardArea*>(memory - kGuardBytes);
  for (GuardSlot& slot : guard->slots) {
    if (slot.pid == static_cast<uint64_t>(getpid())) return &slot;
  }
  return nullptr;
}

// A writer that is stopped with `busy` set, and tries again when continued.
// Exit code 0: it was refused.
int WriteAndStop(Child& parent, Party& server, bool busy) {
  Party client("");
  const ConnectionId connection = client.Connect(server.fabric().address());
  const Grant grant = client.AwaitGrant(connection);
  std::memset(client.data(), 1, 64);
  if (client.Do(connection, client.Write(grant, 0, 64, 1)) != Outcome::kOk) {
    return 1;
  }
  // The server's memory is mapped here as well, at the same place.
  GuardSlot* slot = OwnSlot(server.data());
  if (slot == nullptr) return 2;
  if (busy) __atomic_store_n(&slot->busy, 1, __ATOMIC_SEQ_CST);
  parent.Tell();
  raise(SIGSTOP);
  if (busy) __atomic_store_n(&slot->busy, 0, __ATOMIC_SEQ_CST);
  std::memset(client.data(), 2, 64);
  return client.Do(connection, client.Write(grant, 0, 64, 2)) == Outcome::kOk
             ? 3
             : 0;
}

TEST(ShmProcessTest, AWriterStoppedInMidCopyMakesTheOwnerMove) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Child child(
      [&](Child& parent) { return WriteAndStop(parent, server, true); });
  const ConnectionId connection = server.AcceptNext();
  server.SendGrant(connection);
  while (LoadRemoteWord(server.data()) == 0) server.Poll();
  child.Await();
  child.AwaitStopped();
  EXPECT_EQ(server.fabric().Revoke(connection), Revocation::kMoveMemory);
  child.Signal(SIGCONT);
  EXPECT_EQ(child.Join(), 0) << "a WRITE succeeded after Revoke";
  // Its process is gone now: nothing can come any more.
  EXPECT_EQ(server.fabric().Revoke(connection), Revocation::kFenced);
  EXPECT_EQ(server.data()[0], std::byte{1});
}

TEST(ShmProcessTest, AWriterStoppedBetweenCopiesIsFenced) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Child child(
      [&](Child& parent) { return WriteAndStop(parent, server, false); });
  const ConnectionId connection = server.AcceptNext();
  server.SendGrant(connection);
  while (LoadRemoteWord(server.data()) == 0) server.Poll();
  child.Await();
  child.AwaitStopped();
  EXPECT_EQ(server.fabric().Revoke(connection), Revocation::kFenced);
  child.Signal(SIGCONT);
  EXPECT_EQ(child.Join(), 0) << "a WRITE succeeded after Revoke";
  EXPECT_EQ(server.data()[0], std::byte{1});
}

// A pool file that outlives its owner.
class PoolFile {
 public:
  static constexpr size_t kBytes = 65536;
  explicit PoolFile(const std::string& path) : path_(path) {
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(ftruncate(fd_, kGuardBytes + kBytes), 0);
    base_ = static_cast<std::byte*>(mmap(nullptr, kGuardBytes + kBytes,
                                         PROT_READ | PROT_WRITE, MAP_SHARED,
                                         fd_, 0));
  }
  ~PoolFile() {
    munmap(base_, kGuardBytes + kBytes);
    close(fd_);
  }
  std::byte* data() const { return base_ + kGuardBytes; }
  Memory memory() const {
    return {.base = data(),
            .length_bytes = kBytes,
            .fd = fd_,
            .fd_offset = kGuardBytes};
  }

 private:
  std::string path_;
  int fd_;
  std::byte* base_;
};

// One life of a server that registers the file and serves it until killed.
int ServeFile(Child& parent, const std::string& socket,
              const std::string& path) {
  PoolFile file(path);
  Party server(socket);
  auto region = server.fabric().Register(
      file.memory(), {.remote_read = true, .remote_write = true});
  if (!region.ok()) return 1;
  const Grant grant = server.fabric().MakeGrant(*region, 0, PoolFile::kBytes);
  parent.Tell();
  const ConnectionId connection = server.AcceptNext();
  server.Send(connection, std::string(reinterpret_cast<const char*>(&grant),
                                      sizeof(grant)));
  for (;;) server.Poll();
}

TEST(ShmProcessTest, AnOwnerThatRestartsFencesItsFormerWriters) {
  TemporaryDirectory directory;
  const std::string socket = directory / "server.sock";
  const std::string path = directory / "pool";
  PoolFile file(path);
  Party client("");
  ConnectionId connection;
  Grant grant;
  {
    Child first([&](Child& parent) { return ServeFile(parent, socket, path); });
    first.Await();
    connection = client.Connect(socket);
    grant = client.AwaitGrant(connection);
    std::memset(client.data(), 1, 64);
    ASSERT_EQ(client.Do(connection, client.Write(grant, 0, 64, 1)),
              Outcome::kOk);
    ASSERT_EQ(file.data()[0], std::byte{1});
  }  // killed
  // The stale socket does not keep the second life from listening.
  Child second([&](Child& parent) { return ServeFile(parent, socket, path); });
  second.Await();
  // The client has not noticed; its WRITE goes to memory it still has mapped.
  std::memset(client.data(), 2, 64);
  WorkRequest write = client.Write(grant, 0, 64, 2);
  ASSERT_EQ(client.fabric().Post(connection, std::span(&write, 1)),
            PostResult::kOk);
  const Party::Seen seen =
      client.Await(EventKind::kCompleted, client.seen().size());
  EXPECT_EQ(seen.event.outcome, Outcome::kRemoteAccess);
  EXPECT_EQ(file.data()[0], std::byte{1});
  // A new connection to the new life works.
  client.seen().clear();
  const ConnectionId again = client.Connect(socket);
  const Grant new_grant = client.AwaitGrant(again);
  EXPECT_EQ(client.Do(again, client.Write(new_grant, 0, 64, 3)), Outcome::kOk);
  EXPECT_EQ(file.data()[0], std::byte{2});
}

TEST(ShmProcessTest, AnOwnerThatRestartsNamesAStuckWriter) {
  TemporaryDirectory directory;
  const std::string socket = directory / "server.sock";
  const std::string path = directory / "pool";
  PoolFile file(path);
  auto first = std::make_unique<Child>(
      [&](Child& parent) { return ServeFile(parent, socket, path); });
  first->Await();
  Child writer([&](Child& parent) {
    Party client("");
    const ConnectionId connection = client.Connect(socket);
    const Grant grant = client.AwaitGrant(connection);
    if (client.Do(connection, client.Write(grant, 0, 64, 1)) != Outcome::kOk) {
      return 1;
    }
    OwnSlot(file.data())->busy = 1;
    parent.Tell();
    raise(SIGSTOP);
    return 0;
  });
  writer.Await();
  writer.AwaitStopped();
  first.reset();  // killed
  Party server(socket);
  auto stuck = server.fabric().Register(file.memory(), {.remote_write = true});
  ASSERT_EQ(stuck.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(
      std::string(stuck.status().message()).find(std::to_string(writer.pid())),
      std::string::npos)
      << stuck.status();
  writer.Kill();
  writer.Join();
  auto free = server.fabric().Register(file.memory(), {.remote_write = true});
  EXPECT_TRUE(free.ok()) << free.status();
}

TEST(ShmProcessTest, MemoryHasOneLivingOwner) {
  TemporaryDirectory directory;
  PoolFile file(directory / "pool");
  Party server(directory / "a.sock");
  Party other(directory / "b.sock");
  auto region = server.fabric().Register(file.memory(), {.remote_write = true});
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(other.fabric()
                .Register(file.memory(), {.remote_write = true})
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  server.fabric().Deregister(*region);
  EXPECT_TRUE(
      other.fabric().Register(file.memory(), {.remote_write = true}).ok());
}

TEST(ShmProcessTest, AFabricMayConnectToItself) {
  TemporaryDirectory directory;
  Party party(directory / "a.sock");
  const ConnectionId near = party.fabric().Connect(directory / "a.sock", {});
  const ConnectionId far = party.AcceptNext();
  while (party.seen().size() < 3) party.Poll();  // both are connected
  ASSERT_TRUE(party.Send(near, "to myself"));
  const Party::Seen seen = party.Await(EventKind::kReceived);
  EXPECT_EQ(seen.event.connection, far);
  EXPECT_EQ(seen.data, "to myself");
  std::memset(party.data(), 7, 64);
  EXPECT_EQ(party.Do(near, party.Write(party.grant(), 4096, 64, 1)),
            Outcome::kOk);
  EXPECT_EQ(party.data()[4096 + 63], std::byte{7});
}

TEST(ShmProcessTest, ASleeperIsWokenByTheDeathOfItsPeer) {
  TemporaryDirectory directory;
  Party server(directory / "server.sock");
  Child child([&](Child& parent) {
    Party client("");
    client.Connect(server.fabric().address());
    parent.Tell();
    for (;;) pause();
    return 0;
  });
  server.AcceptNext();
  child.Await();
  child.Kill();
  // For an hour, if it were not for the peer.
  const int64_t forever = int64_t{1} << 62;
  while (server.seen().back().event.kind != EventKind::kDisconnected) {
    server.fabric().Wait(forever);
    server.Poll();
  }
}

}  // namespace
}  // namespace whale::fabric::shm

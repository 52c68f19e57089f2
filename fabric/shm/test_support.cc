#include "fabric/shm/test_support.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/check.h"

namespace whale::fabric::shm {
namespace {

// Only a test that fails waits as long.
constexpr std::chrono::seconds kPatience(30);

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / "whale-shm-XXXXXX");
  WHALE_CHECK(mkdtemp(path_.data()) != nullptr);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::filesystem::remove_all(path_);
}

Child::Child(const std::function<int(Child&)>& body) {
  int down[2], up[2];
  WHALE_CHECK(pipe(down) == 0 && pipe(up) == 0);
  pid_ = fork();
  WHALE_CHECK(pid_ >= 0);
  const bool child = pid_ == 0;
  to_ = child ? up[1] : down[1];
  from_ = child ? down[0] : up[0];
  close(child ? up[0] : up[1]);
  close(child ? down[1] : down[0]);
  if (!child) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  _exit(body(*this));
}

Child::~Child() {
  if (!joined_) {
    Kill();
    Join();
  }
  close(to_);
  close(from_);
}

void Child::Tell() { WHALE_CHECK(write(to_, "x", 1) == 1); }

void Child::Await() {
  char byte;
  WHALE_CHECK_MSG(read(from_, &byte, 1) == 1, "the other side has ended");
}

void Child::Signal(int signal) const { WHALE_CHECK(kill(pid_, signal) == 0); }

void Child::AwaitStopped() const {
  int status;
  WHALE_CHECK(waitpid(pid_, &status, WUNTRACED) == pid_ && WIFSTOPPED(status));
}

void Child::Kill() { Signal(SIGKILL); }

int Child::Join() {
  int status;
  WHALE_CHECK(waitpid(pid_, &status, 0) == pid_);
  joined_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Party::Party(const std::string& path, ShmOptions options) {
  options.listen_path = path;
  auto fabric = CreateShmFabric(options);
  WHALE_CHECK_MSG(fabric.ok(), fabric.status().ToString().c_str());
  fabric_ = *std::move(fabric);
  auto memory = SharedMemory::Create(kMemoryBytes, "party");
  WHALE_CHECK(memory.ok());
  memory_ = *std::move(memory);
  auto region = fabric_->Register(
      memory_.memory(),
      {.remote_read = true, .remote_write = true, .remote_atomic = true});
  WHALE_CHECK_MSG(region.ok(), region.status().ToString().c_str());
  grant_ = fabric_->MakeGrant(*region, 0, kMemoryBytes);
}

void Party::Poll() {
  std::array<Event, 16> events;
  const size_t count = fabric_->Poll(events);
  for (size_t i = 0; i < count; ++i) {
    Seen seen{.event = events[i], .data = {}};
    if (events[i].data != nullptr) {
      seen.data.assign(reinterpret_cast<const char*>(events[i].data),
                       events[i].length_bytes);
    } else if (events[i].detail != nullptr) {
      seen.data = events[i].detail;
    }
    seen_.push_back(std::move(seen));
  }
}

Party::Seen Party::Await(EventKind kind, size_t first) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  for (size_t next = first;; Poll()) {
    for (; next < seen_.size(); ++next) {
      if (seen_[next].event.kind == kind) return seen_[next];
    }
    WHALE_CHECK_MSG(std::chrono::steady_clock::now() < give_up,
                    std::string(EventKindName(kind)).c_str());
  }
}

ConnectionId Party::Connect(const std::string& address) {
  const size_t first = seen_.size();
  fabric_->Connect(address, {});
  return Await(EventKind::kConnected, first).event.connection;
}

ConnectionId Party::AcceptNext() {
  const size_t first = seen_.size();
  const ConnectionId id =
      Await(EventKind::kConnectRequest, first).event.connection;
  fabric_->Accept(id, {});
  Await(EventKind::kConnected, first);
  return id;
}

WorkRequest Party::Write(const Grant& to, uint64_t offset,
                         uint32_t length_bytes, uint64_t cookie) const {
  return {.opcode = Opcode::kWrite,
          .signaled = true,
          .local = data(),
          .length_bytes = length_bytes,
          .remote_key = to.key,
          .remote_address = to.address + offset,
          .cookie = cookie};
}

Outcome Party::Do(ConnectionId connection, const WorkRequest& request) {
  const size_t first = seen_.size();
  const PostResult posted = fabric_->Post(connection, std::span(&request, 1));
  if (posted != PostResult::kOk) return Outcome::kRemoteError;
  for (size_t next = first;;) {
    const Seen seen = Await(EventKind::kCompleted, next);
    if (seen.event.cookie == request.cookie) return seen.event.outcome;
    next = seen_.size();
  }
}

bool Party::Send(ConnectionId connection, const std::string& text) {
  std::byte* room = fabric_->BeginMessage(connection, text.size());
  if (room == nullptr) return false;
  std::memcpy(room, text.data(), text.size());
  fabric_->EndMessage(connection, text.size());
  fabric_->FlushMessages();
  return true;
}

void Party::SendGrant(ConnectionId connection) {
  WHALE_CHECK(Send(
      connection,
      std::string(reinterpret_cast<const char*>(&grant_), sizeof(grant_))));
}

Grant Party::AwaitGrant(ConnectionId) {
  const Seen seen = Await(EventKind::kReceived);
  WHALE_CHECK(seen.data.size() == sizeof(Grant));
  Grant grant;
  std::memcpy(&grant, seen.data.data(), sizeof(grant));
  return grant;
}

}  // namespace whale::fabric::shm

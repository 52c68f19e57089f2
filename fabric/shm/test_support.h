// For tests of the shm provider: child processes, a directory, ends that
// remember what they saw.
#ifndef WHALE_FABRIC_SHM_TEST_SUPPORT_H_
#define WHALE_FABRIC_SHM_TEST_SUPPORT_H_

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fabric/fabric.h"
#include "fabric/shared_memory.h"
#include "fabric/shm/shm_fabric.h"

namespace whale::fabric::shm {

// A directory of its own, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

// A child process that runs `body` and exits with what it returns. Parent and
// child signal each other steps through pipes. REQUIRES: no other threads.
class Child {
 public:
  explicit Child(const std::function<int(Child&)>& body);
  ~Child();  // kills it if it still runs

  // Either side: tells the other, waits for the other. Awaiting a side that
  // ended fails the check.
  void Tell();
  void Await();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Returns once it is stopped by a signal.
  void AwaitStopped() const;
  void Kill();
  // Waits for its end; its exit code, or 128 + signal.
  int Join();

 private:
  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
  bool joined_ = false;
};

// A fabric with some memory that others may use.
class Party {
 public:
  static constexpr size_t kMemoryBytes = 1 << 20;

  // `path` empty: does not listen.
  explicit Party(const std::string& path, ShmOptions options = {});

  struct Seen {
    Event event;
    std::string data;
  };

  Fabric& fabric() { return *fabric_; }
  const Grant& grant() const { return grant_; }
  std::byte* data() const { return memory_.data(); }

  // Polls once; appends to seen().
  void Poll();
  // Polls until an event of this kind is there (from `first` on) and returns
  // it. Gives up, with a failed check, after a long time.
  Seen Await(EventKind kind, size_t first = 0);
  const std::vector<Seen>& seen() const { return seen_; }
  std::vector<Seen>& seen() { return seen_; }

  // Connects, and waits until that is done.
  ConnectionId Connect(const std::string& address);
  // Takes the next peer, and waits until it is connected.
  ConnectionId AcceptNext();
  WorkRequest Write(const Grant& to, uint64_t offset, uint32_t length_bytes,
                    uint64_t cookie) const;
  // Posts and waits for the completion.
  Outcome Do(ConnectionId connection, const WorkRequest& request);
  bool Send(ConnectionId connection, const std::string& text);
  // The peer's grant, sent as a message.
  void SendGrant(ConnectionId connection);
  Grant AwaitGrant(ConnectionId connection);

 private:
  SharedMemory memory_;
  std::unique_ptr<Fabric> fabric_;
  Grant grant_;
  std::vector<Seen> seen_;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_TEST_SUPPORT_H_

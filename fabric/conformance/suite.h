// The conformance suite: what fabric.h promises, as tests that every provider
// must pass.
//
// A provider brings a ProviderFixture, links whale_fabric_conformance and says
//
//   INSTANTIATE_TEST_SUITE_P(Shm, FabricConformance,
//                            testing::Values(Provider{"shm", MakeShm}));
//
// The tests lean on nothing but the contract: they take every freedom of it
// into account, e.g. that a completion comes at any later Poll.
//
// Thread-safety: none; the suite drives all fabrics from one thread.
#ifndef WHALE_FABRIC_CONFORMANCE_SUITE_H_
#define WHALE_FABRIC_CONFORMANCE_SUITE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "fabric/fabric.h"
#include "gtest/gtest.h"

namespace whale::fabric {

// Three fabrics that can reach each other, A, B and C (0, 1, 2), all of which
// listen.
class ProviderFixture {
 public:
  virtual ~ProviderFixture() = default;
  virtual Fabric& fabric(size_t index) = 0;
  // Memory that may be registered with fabric(index) and granted. Zeros; lives
  // as long as the fixture.
  virtual Memory MakeMemory(size_t index, size_t length_bytes) = 0;
  // Lets happen what happens between Polls: virtual time, a network thread.
  virtual void Pump() {}
  // What Wait counts on.
  virtual int64_t NowNs() = 0;
  // Whether fabrics work while their owners run on other threads.
  virtual bool threads() const { return true; }
  // Makes fabric(index) believe that its peers have room for all that it may
  // send and has sent, as a peer out to do harm would; again when that is used
  // up. Before it connects, and with nothing else under way. False: between the
  // ends of this provider there is nothing to forge.
  virtual bool ForgeRoom(size_t /*index*/) { return false; }
  // An address at which nobody listens.
  virtual std::string DeadAddress() = 0;
};

struct Provider {
  std::string name;
  std::function<std::unique_ptr<ProviderFixture>()> make;
};
std::ostream& operator<<(std::ostream& out, const Provider& provider);

// An event with its bytes, which outlive the Poll.
struct Seen {
  Event event;
  std::string data;  // or detail
};

// One of the three ends.
struct End {
  Fabric* fabric = nullptr;
  Memory memory;
  RegionId region;
  Grant grant;             // to all of `memory`
  std::vector<Seen> seen;  // everything Poll returned so far

  std::byte* at(uint64_t offset) const { return memory.base + offset; }
  // Events of a connection, of a kind.
  std::vector<Seen> Of(EventKind kind, ConnectionId connection) const;
  size_t Count(EventKind kind, ConnectionId connection) const;
};

// Two ids of one connection.
struct Link {
  size_t from = 0, to = 1;  // ends
  ConnectionId near;        // at `from`, which connected
  ConnectionId far;         // at `to`
};

class FabricConformance : public testing::TestWithParam<Provider> {
 protected:
  static constexpr size_t kMemoryBytes = 16 << 20;

  void SetUp() override;
  void TearDown() override;

  // Polls all three ends until `done` or for a long time; false: in vain.
  bool PollUntil(absl::FunctionRef<bool()> done);
  // As PollUntil, but polls nobody.
  bool PumpUntil(absl::FunctionRef<bool()> done);
  // Polls as often as it takes for something unexpected to show.
  void PollMore();
  void PollOnce(size_t end);

  // Connects from A (or `from`) to B (or `to`). Fails the test if impossible.
  Link ConnectEnds(size_t from = 0, size_t to = 1);

  // Posts one request and waits for its completion.
  Outcome Do(size_t end, ConnectionId connection, WorkRequest request);
  // Posts, polling while the queue is full. False: closed.
  bool PostPatiently(size_t end, ConnectionId connection,
                     std::span<const WorkRequest> requests);
  // Sends, polling while the queue is full. False: in vain.
  bool Send(size_t end, ConnectionId connection, std::string_view text);
  bool WaitForCompletion(size_t end, ConnectionId connection, uint64_t cookie,
                         Seen* seen = nullptr);

  WorkRequest Write(const End& from, uint64_t local_offset, const End& to,
                    uint64_t remote_offset, uint32_t length_bytes,
                    uint64_t cookie) const;
  WorkRequest Read(const End& from, uint64_t local_offset, const End& to,
                   uint64_t remote_offset, uint32_t length_bytes,
                   uint64_t cookie) const;

  std::unique_ptr<ProviderFixture> fixture_;
  std::array<End, 3> ends_;
};

std::span<const std::byte> Bytes(std::string_view text);

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_CONFORMANCE_SUITE_H_

// Servers that do exactly what a test says, on a fabric in memory: the core's
// tests read each request and choose each reply.
//
// Deterministic: nothing happens but by calls of the core or the test; the
// clock stands still until the test moves it. Requests become visible to the
// test only once the core has flushed them.
#ifndef WHALE_CLIENT_TESTING_FAKE_SERVER_H_
#define WHALE_CLIENT_TESTING_FAKE_SERVER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "fabric/fabric.h"
#include "proto/wire.h"

namespace whale::client {

class VirtualClock final : public Clock {
 public:
  int64_t NowNs() override { return now_ns_; }
  void Advance(int64_t ns) { now_ns_ += ns; }

 private:
  int64_t now_ns_ = 1'000'000'000;
};

// A request as it arrived at a server.
struct SentRequest {
  uint32_t server = 0;
  fabric::ConnectionId connection;
  wire::Request header = {};
  std::optional<wire::BufferGrant> grant;
  std::string key;
  std::string value;  // empty when it stayed in the client's buffer
};

// How a server answers connection requests.
struct FakeServer {
  uint32_t id = 0;
  bool accepts = true;
  wire::Hello hello = {};  // its answer
  uint32_t connects = 0;
  wire::Hello last_caller = {};
};

class FakeFabric final : public fabric::Fabric {
 public:
  // A server with this id and address "fake:ID" that grants `credits`.
  FakeServer& AddServer(uint32_t id, uint64_t incarnation, uint32_t credits,
                        std::string_view cluster_uuid);
  FakeServer& server(uint32_t id) { return servers_.at(AddressOf(id)); }
  static std::string AddressOf(uint32_t id);

  // What was sent and flushed since the last call, in order.
  std::vector<SentRequest> TakeRequests();
  // The reply's tag, type and shard are those of the request.
  void Reply(const SentRequest& request, wire::Reply reply,
             std::string_view value = {});
  void SendRaw(fabric::ConnectionId connection, std::string_view bytes);
  // The connection to this server dies, if there is one.
  void Disconnect(uint32_t server);
  bool IsConnected(uint32_t server) const;

  std::string ReadGrant(const wire::BufferGrant& grant) const;
  void WriteGrant(const wire::BufferGrant& grant, std::string_view bytes);

  // BeginMessage gives nothing once this many messages are unflushed.
  size_t send_queue_messages = SIZE_MAX;
  fabric::Revocation revocation = fabric::Revocation::kFenced;
  std::vector<fabric::ConnectionId> revoked;
  std::vector<fabric::ConnectionId> closed;

  std::string_view name() const override { return "fake"; }
  std::string address() const override { return ""; }
  size_t max_connections() const override { return SIZE_MAX; }
  absl::StatusOr<fabric::RegionId> Register(
      const fabric::Memory& memory, const fabric::Access& access) override;
  void Deregister(fabric::RegionId region) override;
  fabric::Grant MakeGrant(fabric::RegionId region, uint64_t offset_bytes,
                          uint64_t length_bytes) const override;
  fabric::ConnectionId Connect(const std::string& address,
                               std::span<const std::byte> hello) override;
  void Accept(fabric::ConnectionId connection,
              std::span<const std::byte> hello) override {}
  void Reject(fabric::ConnectionId connection,
              std::string_view reason) override {}
  void Close(fabric::ConnectionId connection) override;
  fabric::Revocation Revoke(fabric::ConnectionId connection) override;
  fabric::FlushMethod flush_method(
      fabric::ConnectionId connection) const override {
    return fabric::FlushMethod::kNone;
  }
  size_t FreeSlots(fabric::ConnectionId connection) const override { return 0; }
  fabric::PostResult Post(
      fabric::ConnectionId connection,
      std::span<const fabric::WorkRequest> requests) override {
    return fabric::PostResult::kClosed;
  }
  std::byte* BeginMessage(fabric::ConnectionId connection,
                          size_t length_bytes) override;
  void EndMessage(fabric::ConnectionId connection,
                  size_t length_bytes) override;
  void FlushMessages() override;
  size_t Poll(std::span<fabric::Event> events) override;
  void Wait(int64_t deadline_ns) override {}
  void Wake() override {}

 private:
  struct QueuedEvent {
    fabric::EventKind kind;
    fabric::ConnectionId connection;
    std::string data;
  };

  SentRequest Parse(fabric::ConnectionId connection,
                    std::string_view message) const;

  std::map<std::string, FakeServer> servers_;  // by address
  std::map<uint64_t, uint32_t> connections_;   // alive: to which server
  std::map<uint64_t, fabric::Memory> regions_;
  uint64_t next_id_ = 1;
  std::optional<uint64_t> open_message_;  // its connection
  std::string message_;
  std::vector<SentRequest> unflushed_;
  std::vector<SentRequest> sent_;
  std::deque<QueuedEvent> events_;
  std::vector<QueuedEvent> polled_;  // keeps their bytes until the next Poll
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_TESTING_FAKE_SERVER_H_

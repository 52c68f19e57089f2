// The shm provider's Fabric. Its behaviours are spread over files:
//   connect.cc   Connect, Accept, Reject, Close, Revoke; how connections end
//   handshake.cc packets of the socket
//   messages.cc  sending messages, doorbells
//   work.cc      one-sided work
//   poll.cc      Poll
//   wait.cc      Wait, Wake, looking at sockets
#ifndef WHALE_FABRIC_SHM_FABRIC_IMPL_H_
#define WHALE_FABRIC_SHM_FABRIC_IMPL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/file_descriptor.h"
#include "fabric/fabric.h"
#include "fabric/shm/connection.h"
#include "fabric/shm/doorbell.h"
#include "fabric/shm/event_queue.h"
#include "fabric/shm/regions.h"
#include "fabric/shm/shm_fabric.h"
#include "fabric/shm/socket.h"

namespace whale::fabric::shm {

class ShmFabric final : public Fabric {
 public:
  static absl::StatusOr<std::unique_ptr<Fabric>> Create(
      const ShmOptions& options);
  ~ShmFabric() override;

  std::string_view name() const override { return "shm"; }
  std::string address() const override { return listener_.path(); }
  size_t max_connections() const override { return connections_.size(); }

  absl::StatusOr<RegionId> Register(const Memory& memory,
                                    const Access& access) override {
    return regions_.Register(memory, access);
  }
  void Deregister(RegionId region) override { regions_.Deregister(region); }
  Grant MakeGrant(RegionId region, uint64_t offset_bytes,
                  uint64_t length_bytes) const override {
    return regions_.MakeGrant(region, offset_bytes, length_bytes);
  }

  ConnectionId Connect(const std::string& address,
                       std::span<const std::byte> hello) override;
  void Accept(ConnectionId connection,
              std::span<const std::byte> hello) override;
  void Reject(ConnectionId connection, std::string_view reason) override;
  void Close(ConnectionId connection) override;
  Revocation Revoke(ConnectionId connection) override;
  FlushMethod flush_method(ConnectionId) const override {
    return FlushMethod::kNone;
  }

  size_t FreeSlots(ConnectionId connection) const override;
  PostResult Post(ConnectionId connection,
                  std::span<const WorkRequest> requests) override;
  std::byte* BeginMessage(ConnectionId connection,
                          size_t length_bytes) override;
  void EndMessage(ConnectionId connection, size_t length_bytes) override;
  void FlushMessages() override;
  size_t Poll(std::span<Event> events) override;
  void Wait(int64_t deadline_ns) override;
  void Wake() override;

 private:
  ShmFabric(const ShmOptions& options, Doorbell doorbell);
  absl::Status Init();

  // --- connect.cc ---
  Connection* Find(ConnectionId id) const;
  Connection* NewConnection();  // nullptr: none is free
  void TryDial(Connection& c);
  bool Watch(Connection& c);
  // Ends a connection with the events that are due. `first`: the outcome of
  // the oldest request that waits.
  void Die(Connection& c, Outcome first, const std::string& detail);
  // Stops touching anything of the peer, and lets it see that.
  void Detach(Connection& c);
  void Remove(Connection& c);

  // --- handshake.cc ---
  void AcceptPeers();
  void ReadSocket(Connection& c);
  void OnPacket(Connection& c, Packet& packet);
  void OnHello(Connection& c, Packet& packet);
  void OnAccept(Connection& c, Packet& packet);
  void OnRegionRequest(Connection& c, const Packet& packet);
  void OnRegionReply(Connection& c, const Packet& packet);
  absl::Status OpenPeer(Connection& c, Packet& packet);
  absl::Status MakeRing(Connection& c);
  void SendHello(Connection& c, PacketType type,
                 std::span<const std::byte> hello);
  void SendControl(Connection& c, PacketType type,
                   std::span<const std::byte> body, int descriptor = -1);
  void SendOutbox(Connection& c);

  // --- messages.cc ---
  // False: there was nothing new to publish.
  bool PublishReady(Connection& c);
  void RingDoorbell(Connection& c);

  // --- work.cc ---
  enum class Check { kReady, kWait, kRefused, kWrong };
  Check CheckRequest(Connection& c, const WorkRequest& request,
                     RemoteRegion** region);
  RemoteRegion* FindRegion(Connection& c, uint64_t key);
  bool LocalMemoryIsFine(const WorkRequest& request) const;
  // Carries out all that need not wait, and returns how many; failed ones
  // count, the connection is dead then.
  size_t Execute(Connection& c, std::span<const WorkRequest> requests,
                 bool commit_immediates);
  void Carry(const WorkRequest& request, RemoteRegion& region);
  void Complete(Connection& c, const WorkRequest& request);
  void FailRequests(Connection& c, std::span<const WorkRequest> requests,
                    Outcome first);
  void PushFailure(Connection& c, const WorkRequest& request, Outcome outcome);
  void Defer(Connection& c, std::span<const WorkRequest> requests);
  void ResumePending(Connection& c);

  // --- poll.cc ---
  size_t TakeEvents(std::span<Event> events);
  void ReleaseHandedOut();
  void CollectSummary();
  size_t TakeQueued(std::span<Event> events);
  size_t TakeMessages(std::span<Event> events);
  size_t TakeFrom(Connection& c, std::span<Event> events);
  void OnRingEmpty(Connection& c);
  void MarkReady(const Connection& c);
  QueuedEvent& PushEvent(EventKind kind, ConnectionId id);

  // --- wait.cc ---
  // Sockets, and some connections in turn, at most every millisecond.
  void Tick();
  // Returns whether Wake was called.
  bool LookAtSockets(int64_t timeout_ns);
  void Sweep(uint32_t count);
  // Ends a handshake that takes too long.
  void LimitHandshake(Connection& c);
  // Whether Poll would find something; does what needs no event.
  bool FindWork();
  bool SleepOnce(int64_t deadline_ns);

  const ShmOptions options_;
  Doorbell doorbell_;
  Listener listener_;
  FileDescriptor epoll_;
  FileDescriptor wake_;  // eventfd of this process alone
  Regions regions_;

  // By bit of the summary.
  std::vector<std::unique_ptr<Connection>> connections_;
  uint32_t used_words_ = 0;  // of the summary
  uint64_t next_sequence_ = 1;
  std::vector<uint64_t> ready_;  // private copy of the summary
  bool any_ready_ = false;       // whether a bit of it may be set
  uint32_t next_ready_ = 0;      // where to go on, for fairness
  uint32_t next_swept_ = 0;
  uint32_t dialing_ = 0;

  EventQueue queue_;
  // What the last Poll handed out pointers to; `outstanding_`: anything.
  bool outstanding_ = false;
  std::vector<std::unique_ptr<std::string>> payloads_;
  std::vector<std::unique_ptr<Connection>> graveyard_;
  std::vector<ConnectionId> handed_out_;
  std::vector<ConnectionId> unflushed_;
  uint32_t polls_ = 0;
  int64_t last_tick_ns_ = 0;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_FABRIC_IMPL_H_

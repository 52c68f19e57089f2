// What crosses the sockets of the shm provider: connecting, and handing over
// memory. Every packet may come from a hostile peer.
#include <fcntl.h>

#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "fabric/shm/epoll_tags.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

// Bounds the work for one peer, so that a flood of packets starves nobody.
constexpr int kPacketsAtOnce = 16;
constexpr int kPeersAtOnce = 64;
// Answers that wait because the peer does not read its socket.
constexpr size_t kMaxOutbox = 64;

template <typename T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// The fixed part at the start of a packet. False: it is too short.
template <typename T>
bool ReadBody(const Packet& packet, T* body) {
  if (packet.body_bytes < sizeof(T)) return false;
  std::memcpy(body, packet.body.data(), sizeof(T));
  return true;
}

std::string TextAfter(const Packet& packet, size_t offset) {
  return std::string(reinterpret_cast<const char*>(packet.body.data()) + offset,
                     packet.body_bytes - offset);
}

}  // namespace

void ShmFabric::AcceptPeers() {
  for (int i = 0; i < kPeersAtOnce; ++i) {
    FileDescriptor socket = listener_.Accept();
    if (!socket.valid()) return;
    absl::StatusOr<Process> peer = PeerOf(socket.get());
    Connection* c = peer.ok() ? NewConnection() : nullptr;
    if (c == nullptr) {
      const std::string reason =
          peer.ok() ? absl::StrCat("all ", connections_.size(),
                                   " connections of the server are in use")
                    : std::string(peer.status().message());
      SendPacket(socket.get(), PacketType::kReject,
                 std::as_bytes(std::span(reason.data(), reason.size())), {},
                 {});
      continue;
    }
    c->state = State::kIncoming;
    c->socket = std::move(socket);
    c->peer = *peer;
    c->name = absl::StrCat("process ", peer->pid);
    if (Watch(*c)) ReadSocket(*c);
  }
}

void ShmFabric::ReadSocket(Connection& c) {
  Packet packet;
  for (int i = 0; i < kPacketsAtOnce; ++i) {
    if (!c.socket.valid()) return;
    switch (ReceivePacket(c.socket.get(), &packet)) {
      case ReceiveResult::kNone:
        return;
      case ReceiveResult::kPacket:
        OnPacket(c, packet);
        break;
      case ReceiveResult::kGarbage:
        Die(c, Outcome::kRemoteError,
            absl::StrCat("shm: ", c.name,
                         " sent a packet of another version of Whale, or "
                         "garbage; use the same release on both sides"));
        return;
      case ReceiveResult::kClosed:
        if (c.state == State::kOpen) {
          // Messages that are in the ring come first.
          c.peer_gone = true;
          MarkReady(c);
          // Else epoll would report it again and again.
          c.socket.Reset();
        } else {
          Die(c, Outcome::kRemoteError,
              absl::StrCat("shm: ", c.name, " closed the connection or died"));
        }
        return;
    }
  }
}

void ShmFabric::OnPacket(Connection& c, Packet& packet) {
  const bool connecting = c.state == State::kConnecting;
  const bool open = c.state == State::kOpen;
  switch (packet.type) {
    case PacketType::kHello:
      if (c.state == State::kIncoming) return OnHello(c, packet);
      break;
    case PacketType::kAccept:
      if (connecting) return OnAccept(c, packet);
      break;
    case PacketType::kReject:
      if (connecting) {
        return Die(
            c, Outcome::kRemoteError,
            absl::StrCat("shm: ", c.name, " refused: ", TextAfter(packet, 0)));
      }
      break;
    case PacketType::kRegionRequest:
      if (open) return OnRegionRequest(c, packet);
      break;
    case PacketType::kRegionReply:
      if (open) return OnRegionReply(c, packet);
      break;
    case PacketType::kRing:
      return;
  }
  Die(c, Outcome::kRemoteError,
      absl::StrCat("shm: ", c.name, " sent packet ",
                   static_cast<int>(packet.type), " out of turn"));
}

absl::Status ShmFabric::MakeRing(Connection& c) {
  const uint64_t bytes = kRingHeaderBytes + options_.ring_bytes;
  WHALE_ASSIGN_OR_RETURN(c.ring_fd, CreateSealedMemory("whale-ring", bytes));
  WHALE_ASSIGN_OR_RETURN(Mapping memory,
                         Mapping::Map(c.ring_fd.get(), bytes, true));
  c.receiver = RingReceiver(std::move(memory), options_.ring_bytes);
  return absl::OkStatus();
}

void ShmFabric::SendHello(Connection& c, PacketType type,
                          std::span<const std::byte> hello) {
  const HelloBody body{.ring_bytes = options_.ring_bytes,
                       .summary_bit = c.bit,
                       .listens = listener_.valid()};
  const int descriptors[] = {c.ring_fd.get(), doorbell_.summary_fd(),
                             doorbell_.sleep_fd()};
  // The first packet of this side: there is room, or the peer is no peer.
  if (SendPacket(c.socket.get(), type, BytesOf(body), hello, descriptors) !=
      SendResult::kSent) {
    Die(c, Outcome::kRemoteError,
        absl::StrCat("shm: ", c.name, " does not take the hello"));
    return;
  }
  c.ring_fd.Reset();
}

// Maps what the peer's hello brought.
absl::Status ShmFabric::OpenPeer(Connection& c, Packet& packet) {
  HelloBody body;
  if (!ReadBody(packet, &body) ||
      packet.body_bytes - sizeof(body) > kMaxHelloBytes ||
      !std::has_single_bit(body.ring_bytes) ||
      body.ring_bytes < kMinRingBytes || body.ring_bytes > kMaxRingBytes ||
      body.summary_bit > kMaxConnections) {
    return absl::InvalidArgumentError("sizes make no sense");
  }
  const uint64_t bytes = kRingHeaderBytes + body.ring_bytes;
  const int ring_fd = packet.descriptors[0].get();
  WHALE_RETURN_IF_ERROR(CheckMappable(ring_fd, bytes, false));
  WHALE_ASSIGN_OR_RETURN(Mapping ring, Mapping::Map(ring_fd, bytes, true));
  WHALE_ASSIGN_OR_RETURN(
      c.doorbell,
      PeerDoorbell::Open(packet.descriptors[1].get(),
                         packet.descriptors[2].get(), body.summary_bit));
  c.sender = RingSender(std::move(ring), body.ring_bytes);
  c.peer_listens = body.listens != 0;
  c.hello = TextAfter(packet, sizeof(body));
  return absl::OkStatus();
}

void ShmFabric::OnHello(Connection& c, Packet& packet) {
  const absl::Status status = OpenPeer(c, packet);
  if (!status.ok()) {
    const std::string reason = absl::StrCat("hello: ", status.message());
    SendPacket(c.socket.get(), PacketType::kReject,
               std::as_bytes(std::span(reason.data(), reason.size())), {}, {});
    Die(c, Outcome::kRemoteError, reason);
    return;
  }
  c.state = State::kRequested;
  PushEvent(EventKind::kConnectRequest, c.id).payload =
      std::make_unique<std::string>(c.hello);
}

void ShmFabric::OnAccept(Connection& c, Packet& packet) {
  const absl::Status status = OpenPeer(c, packet);
  if (!status.ok()) {
    Die(c, Outcome::kRemoteError,
        absl::StrCat("shm: ", c.name, ": answer: ", status.message()));
    return;
  }
  c.state = State::kOpen;
  PushEvent(EventKind::kConnected, c.id).payload =
      std::make_unique<std::string>(c.hello);
  MarkReady(c);
}

void ShmFabric::OnRegionRequest(Connection& c, const Packet& packet) {
  RegionRequestBody request;
  if (!ReadBody(packet, &request)) {
    return Die(c, Outcome::kRemoteError,
               absl::StrCat("shm: ", c.name, " sent a short packet"));
  }
  absl::StatusOr<Regions::Handover> handover =
      regions_.HandOver(request.key, c.id, c.peer);
  if (handover.ok()) {
    return SendControl(c, PacketType::kRegionReply, BytesOf(handover->reply),
                       handover->descriptor);
  }
  const RegionReplyBody refused{.key = request.key};
  std::string body(reinterpret_cast<const char*>(&refused), sizeof(refused));
  body.append(std::string(handover.status().message()));
  SendControl(c, PacketType::kRegionReply,
              std::as_bytes(std::span(body.data(), body.size())));
}

void ShmFabric::OnRegionReply(Connection& c, const Packet& packet) {
  RegionReplyBody reply;
  if (!ReadBody(packet, &reply) || c.requested_key == 0 ||
      reply.key != c.requested_key) {
    return Die(c, Outcome::kRemoteError,
               absl::StrCat("shm: ", c.name, " answered what was not asked"));
  }
  c.requested_key = 0;
  if (!reply.granted) {
    return Die(c, Outcome::kRemoteAccess,
               absl::StrCat("shm: ", c.name, " refused access: ",
                            TextAfter(packet, sizeof(reply))));
  }
  auto region =
      RemoteRegion::Open(reply, packet.descriptors[0].get(), c.peer_listens);
  if (!region.ok()) {
    return Die(c, Outcome::kRemoteAccess,
               absl::StrCat("shm: memory of ", c.name, ": ",
                            region.status().message()));
  }
  c.regions.push_back(*std::move(region));
  ResumePending(c);
}

void ShmFabric::SendControl(Connection& c, PacketType type,
                            std::span<const std::byte> body, int descriptor) {
  if (c.outbox.size() >= kMaxOutbox) {
    return Die(c, Outcome::kRemoteError,
               absl::StrCat("shm: ", c.name, " asks without taking answers"));
  }
  // A copy: the region may be gone by the time there is room for the packet.
  FileDescriptor copy;
  if (descriptor >= 0) {
    copy = FileDescriptor(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  }
  c.outbox.push_back(
      {type,
       std::string(reinterpret_cast<const char*>(body.data()), body.size()),
       std::move(copy)});
  SendOutbox(c);
}

void ShmFabric::SendOutbox(Connection& c) {
  while (!c.outbox.empty() && c.socket.valid()) {
    const PendingPacket& packet = c.outbox.front();
    const int fd = packet.descriptor.get();
    const std::span<const int> descriptors(&fd, fd >= 0 ? 1 : 0);
    const SendResult result = SendPacket(
        c.socket.get(), packet.type,
        std::as_bytes(std::span(packet.body.data(), packet.body.size())), {},
        descriptors);
    if (result == SendResult::kFull) return;  // again, by Sweep
    if (result == SendResult::kBroken) {
      c.outbox.clear();  // the socket's end is noticed by reading
      return;
    }
    c.outbox.pop_front();
    if (c.state == State::kOpen) {
      c.sender.AnnouncePacket();
      RingDoorbell(c);
    }
  }
}

}  // namespace whale::fabric::shm

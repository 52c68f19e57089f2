// How connections of the shm provider begin and end.
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "fabric/shm/epoll_tags.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

absl::Status CheckOptions(const ShmOptions& options) {
  if (!std::has_single_bit(options.ring_bytes) ||
      options.ring_bytes < kMinRingBytes ||
      options.ring_bytes > kMaxRingBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shm: ring_bytes is ", options.ring_bytes, "; use a power of two from ",
        kMinRingBytes, " to ", kMaxRingBytes));
  }
  if (options.max_connections == 0 ||
      options.max_connections > kMaxConnections) {
    return absl::InvalidArgumentError(
        absl::StrCat("shm: max_connections is ", options.max_connections,
                     "; use 1 to ", kMaxConnections));
  }
  if (options.send_queue_depth == 0) {
    return absl::InvalidArgumentError("shm: send_queue_depth is 0");
  }
  if (options.handshake_us <= 0) {
    return absl::InvalidArgumentError("shm: handshake_us is not positive");
  }
  return absl::OkStatus();
}

}  // namespace

ShmFabric::ShmFabric(const ShmOptions& options, Doorbell doorbell)
    : options_(options),
      doorbell_(std::move(doorbell)),
      regions_(!options.listen_path.empty(), options.revoke_wait_us),
      connections_(options.max_connections),
      ready_(doorbell_.words()) {}

absl::StatusOr<std::unique_ptr<Fabric>> ShmFabric::Create(
    const ShmOptions& options) {
  WHALE_RETURN_IF_ERROR(CheckOptions(options));
  WHALE_ASSIGN_OR_RETURN(Doorbell doorbell,
                         Doorbell::Create(options.max_connections));
  std::unique_ptr<ShmFabric> fabric(
      new ShmFabric(options, std::move(doorbell)));
  WHALE_RETURN_IF_ERROR(fabric->Init());
  return fabric;
}

absl::Status ShmFabric::Init() {
  epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  wake_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !wake_.valid()) {
    return ErrnoStatus(absl::StatusCode::kResourceExhausted,
                       "shm: epoll and eventfd", errno);
  }
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeTag}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  if (!options_.listen_path.empty()) {
    WHALE_ASSIGN_OR_RETURN(listener_, Listener::Create(options_.listen_path));
    event.data.u64 = kListenerTag;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.fd(), &event);
  }
  return absl::OkStatus();
}

ShmFabric::~ShmFabric() {
  FlushMessages();
  for (auto& c : connections_) {
    if (c != nullptr) Detach(*c);
  }
}

Connection* ShmFabric::Find(ConnectionId id) const {
  const uint64_t bit = id.value & kConnectionBitMask;
  if (bit >= connections_.size()) return nullptr;
  Connection* c = connections_[bit].get();
  return c != nullptr && c->id == id ? c : nullptr;
}

Connection* ShmFabric::NewConnection() {
  for (uint32_t bit = 0; bit < connections_.size(); ++bit) {
    if (connections_[bit] != nullptr) continue;
    connections_[bit] = std::make_unique<Connection>();
    Connection& c = *connections_[bit];
    c.bit = bit;
    c.begun_ns = BootClock().NowNs();
    c.id.value = next_sequence_++ << kConnectionBits | bit;
    used_words_ = std::max(used_words_, bit / 64 + 1);
    return &c;
  }
  return nullptr;
}

ConnectionId ShmFabric::Connect(const std::string& address,
                                std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= kMaxHelloBytes);
  Connection* c = NewConnection();
  if (c == nullptr) {
    // No place to keep it: an id that no connection has.
    const ConnectionId id{next_sequence_++ << kConnectionBits |
                          kConnectionBitMask};
    QueuedEvent& failed = PushEvent(EventKind::kConnectFailed, id);
    failed.payload = std::make_unique<std::string>(
        absl::StrCat("shm: connect to '", address, "': all ",
                     connections_.size(), " connections are in use"));
    return id;
  }
  c->name = address;
  c->hello.assign(reinterpret_cast<const char*>(hello.data()), hello.size());
  ++dialing_;
  TryDial(*c);
  return c->id;
}

void ShmFabric::TryDial(Connection& c) {
  absl::StatusOr<FileDescriptor> socket = Dial(c.name);
  if (absl::IsResourceExhausted(socket.status())) return;  // again, by Tick
  --dialing_;
  c.state = State::kConnecting;
  absl::Status status = socket.status();
  if (status.ok()) {
    c.socket = *std::move(socket);
    absl::StatusOr<Process> peer = PeerOf(c.socket.get());
    status = peer.status();
    if (status.ok()) c.peer = *peer;
  }
  if (status.ok()) status = MakeRing(c);
  if (!status.ok()) {
    Die(c, Outcome::kRemoteError, std::string(status.message()));
    return;
  }
  if (!Watch(c)) return;
  SendHello(c, PacketType::kHello,
            std::as_bytes(std::span(c.hello.data(), c.hello.size())));
}

bool ShmFabric::Watch(Connection& c) {
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP,
                    .data = {.u64 = c.id.value}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, c.socket.get(), &event) == 0) {
    return true;
  }
  Die(c, Outcome::kRemoteError, "shm: epoll_ctl failed: too many descriptors");
  return false;
}

void ShmFabric::Accept(ConnectionId connection,
                       std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= kMaxHelloBytes);
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kRequested) return;
  const absl::Status status = MakeRing(*c);
  if (!status.ok()) {
    Die(*c, Outcome::kRemoteError, std::string(status.message()));
    return;
  }
  c->state = State::kOpen;
  SendHello(*c, PacketType::kAccept, hello);
  if (c->state != State::kOpen) return;
  c->sender.AnnouncePacket();
  RingDoorbell(*c);
  QueuedEvent& connected = PushEvent(EventKind::kConnected, c->id);
  connected.payload = std::make_unique<std::string>(c->hello);
  MarkReady(*c);
}

void ShmFabric::Reject(ConnectionId connection, std::string_view reason) {
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kRequested) return;
  const std::string_view text = reason.substr(0, kMaxPacketBytes / 2);
  SendControl(*c, PacketType::kReject,
              std::as_bytes(std::span(text.data(), text.size())));
  Close(connection);
}

void ShmFabric::Close(ConnectionId connection) {
  Connection* c = Find(connection);
  if (c == nullptr) return;
  if (c->state == State::kDialing) --dialing_;
  if (c->state == State::kOpen) PublishReady(*c);
  Detach(*c);
  Remove(*c);
}

Revocation ShmFabric::Revoke(ConnectionId connection) {
  const Revocation result = regions_.Revoke(connection);
  Close(connection);
  return result;
}

void ShmFabric::Die(Connection& c, Outcome first, const std::string& detail) {
  const State before = c.state;
  if (before == State::kDead) return;
  if (before == State::kDialing) --dialing_;
  for (const PendingWork& work : c.pending) {
    PushFailure(c, work.request, first);
    first = Outcome::kCanceled;
  }
  Detach(c);
  if (before == State::kIncoming) {
    Remove(c);  // nobody knows of it
    return;
  }
  c.state = State::kDead;
  const bool failed_to_connect =
      before == State::kDialing || before == State::kConnecting;
  QueuedEvent& last = PushEvent(
      failed_to_connect ? EventKind::kConnectFailed : EventKind::kDisconnected,
      c.id);
  last.payload = std::make_unique<std::string>(detail);
}

void ShmFabric::Detach(Connection& c) {
  if (c.state == State::kDead) return;
  c.pending.clear();
  c.outbox.clear();
  c.last_region = nullptr;
  c.regions.clear();
  regions_.EndReaders(c.id);
  c.socket.Reset();  // leaves epoll with it
  if (c.state == State::kOpen) {
    c.sender.AnnouncePacket();
    c.doorbell.Ring();
  }
}

void ShmFabric::Remove(Connection& c) {
  const uint32_t bit = c.bit;
  ready_[bit / 64] &= ~(uint64_t{1} << (bit % 64));
  c.state = State::kDead;
  // Messages of it that were handed out stay readable until the next Poll.
  graveyard_.push_back(std::move(connections_[bit]));
  outstanding_ = true;
}

}  // namespace whale::fabric::shm

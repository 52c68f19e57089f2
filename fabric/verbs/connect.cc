// How connections of the verbs provider begin and end.
#include <sys/random.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "fabric/verbs/buffer_layout.h"
#include "fabric/verbs/fabric_impl.h"

namespace whale::fabric::verbs {
namespace {

// Nobody may guess it: a packet with the right one is taken for the peer's.
uint32_t RandomPacketSequence() {
  uint32_t value = 0;
  const ssize_t got = getrandom(&value, sizeof(value), 0);
  WHALE_CHECK(got == sizeof(value));
  return value & 0xffffff;
}

}  // namespace

Connection* VerbsFabricImpl::Find(ConnectionId id) const {
  const uint64_t slot = id.value & kSlotMask;
  if (slot >= connections_.size()) return nullptr;
  Connection* c = connections_[slot].get();
  return c != nullptr && c->id == id ? c : nullptr;
}

Connection* VerbsFabricImpl::FindOpen(ConnectionId id) const {
  Connection* c = Find(id);
  return c != nullptr && c->state == State::kOpen && !c->dying ? c : nullptr;
}

Connection* VerbsFabricImpl::NewConnection() {
  for (uint32_t slot = 0; slot < connections_.size(); ++slot) {
    if (connections_[slot] != nullptr) continue;
    connections_[slot] = std::make_unique<Connection>();
    Connection& c = *connections_[slot];
    c.slot = static_cast<uint16_t>(slot);
    c.generation = ++generations_[slot];
    c.begun_ns = BootClock().NowNs();
    c.id.value = next_sequence_++ << kSlotBits | slot;
    ++handshakes_;
    return &c;
  }
  return nullptr;
}

absl::Status VerbsFabricImpl::Equip(Connection& c) {
  WHALE_ASSIGN_OR_RETURN(c.buffers,
                         SharedMemory::CreatePrivate(kConnectionBufferBytes));
  c.buffer_handle.reset(ibv_reg_mr(domain_.get(), c.buffers.data(),
                                   c.buffers.size(), IBV_ACCESS_LOCAL_WRITE));
  if (c.buffer_handle == nullptr) {
    return VerbsError("register a connection's buffers", errno);
  }
  WHALE_RETURN_IF_ERROR(receives_->AddShare());
  c.has_share = true;
  WHALE_ASSIGN_OR_RETURN(c.pair, MakeQueuePair(pair_config_));
  by_pair_[c.pair->qp_num] = &c;
  c.packet_sequence = RandomPacketSequence();
  c.ring.Reset(c.buffers.data());
  c.sent.Reset(SendRequests());
  c.list.requests.resize(SendRequests());
  c.list.pieces.resize(SendRequests());
  c.list.bodies.resize(SendRequests());
  return absl::OkStatus();
}

absl::Status VerbsFabricImpl::ConnectToPeer(Connection& c) {
  c.credits = c.peer.credits;
  c.flush = ChooseFlush(flush_capabilities_,
                        DecodeFlushCapabilities(c.peer.flush_capabilities));
  if (c.flush.impossible) {
    return absl::FailedPreconditionError(
        "verbs: the peer insists on native flush, which not both adapters, "
        "libibverbs and its memory have; let it choose (--verbs flush=auto)");
  }
  if (c.flush.unsafe && options_.inform) {
    options_.inform(
        absl::StrCat("verbs: UNSAFE by the peer's override: flush method ",
                     std::string(FlushMethodName(c.flush.method)), " towards ",
                     c.name, " does not make durable what is acknowledged"));
  }
  return ConnectQueuePair(c.pair.get(), pair_config_, options_, c.peer,
                          c.packet_sequence);
}

ConnectionId VerbsFabricImpl::Connect(const std::string& address,
                                      std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= kMaxHelloBytes);
  Connection* c = NewConnection();
  if (c == nullptr) {
    // No place to keep it: an id that no connection has.
    const ConnectionId id{next_sequence_++ << kSlotBits | kSlotMask};
    PushQueued(EventKind::kConnectFailed, id).payload =
        std::make_unique<std::string>(absl::StrCat(
            "verbs: connect to ", address, ": all ", connections_.size(),
            " connections are in use; raise connections "
            "(--verbs)"));
    return id;
  }
  c->name = address;
  const ConnectionId id = c->id;
  const absl::Status status = Equip(*c);
  if (!status.ok()) {
    Die(*c, Outcome::kRemoteError, std::string(status.message()));
    return id;
  }
  c->call = exchange_->Call(address);
  by_call_[c->call] = c;
  exchange_->Send(
      c->call,
      EncodeSetup(MakeSetup(SetupKind::kHello, *c),
                  {reinterpret_cast<const char*>(hello.data()), hello.size()}));
  return id;
}

void VerbsFabricImpl::Accept(ConnectionId connection,
                             std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= kMaxHelloBytes);
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kRequested) return;
  absl::Status status = Equip(*c);
  if (status.ok()) status = ConnectToPeer(*c);
  if (!status.ok()) {
    exchange_->Send(
        c->call,
        EncodeSetup(MakeSetup(SetupKind::kReject, *c),
                    std::string(status.message()).substr(0, kMaxHelloBytes)));
    Die(*c, Outcome::kRemoteError, std::string(status.message()));
    return;
  }
  c->state = State::kAccepted;
  c->begun_ns = BootClock().NowNs();
  exchange_->Send(
      c->call,
      EncodeSetup(MakeSetup(SetupKind::kAccept, *c),
                  {reinterpret_cast<const char*>(hello.data()), hello.size()}));
}

void VerbsFabricImpl::Reject(ConnectionId connection, std::string_view reason) {
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kRequested) return;
  exchange_->Send(c->call, EncodeSetup(MakeSetup(SetupKind::kReject, *c),
                                       reason.substr(0, kMaxHelloBytes)));
  Close(connection);
}

void VerbsFabricImpl::Opened(Connection& c) {
  c.state = State::kOpen;
  --handshakes_;
  ++counters_.connections;
  PushQueued(EventKind::kConnected, c.id).payload =
      std::make_unique<std::string>(std::move(c.peer_hello));
}

void VerbsFabricImpl::Close(ConnectionId connection) {
  Connection* c = Find(connection);
  if (c == nullptr) return;
  if (c->state == State::kOpen && !c->dying) RingDoorbell(*c);
  Detach(*c);
  Remove(*c);
}

// The pool's registration stays: without its queue pair the peer has no way to
// it. ibv_destroy_qp returns when the adapter has done with the queue pair.
Revocation VerbsFabricImpl::Revoke(ConnectionId connection) {
  Connection* c = Find(connection);
  if (c != nullptr) {
    Detach(*c);
    Remove(*c);
  }
  return Revocation::kFenced;
}

void VerbsFabricImpl::Die(Connection& c, Outcome first,
                          const std::string& detail) {
  if (c.state == State::kDead || c.dying) return;
  const State before = c.state;
  c.dying = true;
  if (c.pair != nullptr) {
    // What has arrived comes before the end.
    BreakQueuePair(c.pair.get());
    DrainCompletions();
    TakeStashed(c, /*drop=*/false);
    FailRequests(c, c.failed ? c.failure : first);
  }
  Detach(c);
  if (before == State::kIncoming) {
    Remove(c);  // nobody knows of it
    return;
  }
  PushQueued(before == State::kDialing ? EventKind::kConnectFailed
                                       : EventKind::kDisconnected,
             c.id)
      .payload = std::make_unique<std::string>(detail);
}

void VerbsFabricImpl::FailRequests(Connection& c, Outcome first) {
  for (; !c.sent.empty(); c.sent.PopOldest()) {
    const SentWork& work = c.sent.oldest();
    if (work.kind != SentWork::Kind::kRequest) continue;
    Event event;
    event.kind = EventKind::kCompleted;
    event.outcome = first;
    event.opcode = work.opcode;
    event.connection = c.id;
    event.cookie = work.cookie;
    queue_.push_back({.event = event});
    first = Outcome::kCanceled;
  }
}

void VerbsFabricImpl::Detach(Connection& c) {
  if (c.state == State::kDead) return;
  if (c.state == State::kOpen) {
    --counters_.connections;
  } else {
    --handshakes_;
  }
  c.state = State::kDead;
  if (c.pair != nullptr) {
    // First to ERR and out with what it has used of the receive queue: some
    // adapters forget completions of a queue pair that is destroyed.
    BreakQueuePair(c.pair.get());
    DrainCompletions();
    const uint32_t number = c.pair->qp_num;
    c.pair.reset();
    DrainCompletions();
    TakeStashed(c, /*drop=*/true);
    by_pair_.erase(number);
  }
  c.buffer_handle.reset();
  c.buffers = SharedMemory();
  if (c.has_share) receives_->ReturnShare();
  c.has_share = false;
  if (c.call != 0) {
    by_call_.erase(c.call);
    exchange_->End(c.call);
    c.call = 0;
  }
}

void VerbsFabricImpl::Remove(Connection& c) { connections_[c.slot].reset(); }

FlushMethod VerbsFabricImpl::flush_method(ConnectionId connection) const {
  const Connection* c = Find(connection);
  return c == nullptr ? FlushMethod::kReadAfterWrite : c->flush.method;
}

}  // namespace whale::fabric::verbs

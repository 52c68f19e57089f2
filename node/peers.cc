#include "node/peers.h"

#include <algorithm>
#include <cstring>

namespace whale::node {
namespace {

constexpr int64_t kRedialNs = 20'000'000;
// When the peer has not taken earlier messages yet.
constexpr int64_t kOutboxRetryNs = 1'000'000;
// Delivery and chain, each way.
constexpr size_t kConnectionsPerPeer = 4;
// Servers that join, or connect anew before their old connections are gone.
constexpr size_t kPeersToCome = 2;

std::span<const std::byte> BytesOf(const wire::Hello& hello) {
  return std::as_bytes(std::span(&hello, 1));
}

}  // namespace

wire::Hello Peers::MakeHello(wire::Purpose purpose, const Peer& peer) const {
  wire::Hello hello{};
  hello.magic = wire::kHelloMagic;
  hello.protocol_version = wire::kProtocolVersion;
  hello.purpose = purpose;
  std::memcpy(hello.cluster_uuid,
              context_->pool->geometry().cluster_uuid.data(), 16);
  hello.from_server = context_->options.id.value();
  hello.to_server = peer.id.value();
  hello.from_incarnation = context_->options.incarnation.value();
  hello.to_incarnation = peer.incarnation.value();
  return hello;
}

std::vector<fabric::ConnectionId> Peers::Reconcile(
    const proto::Directive& directive) {
  std::vector<fabric::ConnectionId> closed;
  for (const proto::Peer& wanted : directive.peers()) {
    const ServerId id(wanted.server_id());
    if (id == context_->options.id) continue;
    Peer& peer = peers_[id];
    peer.barred = false;
    if (peer.incarnation.value() == wanted.incarnation() &&
        peer.address == wanted.fabric_address()) {
      continue;
    }
    Drop(peer, &closed);
    peer = Peer{.id = id,
                .incarnation = Incarnation(wanted.incarnation()),
                .address = wanted.fabric_address()};
    Dial(peer);
  }
  return closed;
}

void Peers::Dial(Peer& peer) {
  peer.retry_at_ns = context_->now_ns + kRedialNs;
  if (!peer.delivery_up && peer.out_delivery.value == 0) {
    const wire::Hello hello = MakeHello(wire::Purpose::kDelivery, peer);
    peer.out_delivery = context_->fabric->Connect(peer.address, BytesOf(hello));
    by_connection_[peer.out_delivery] = peer.id;
  }
  if (!peer.chain_up && peer.out_chain.value == 0) {
    const wire::Hello hello = MakeHello(wire::Purpose::kChain, peer);
    peer.out_chain = context_->fabric->Connect(peer.address, BytesOf(hello));
    by_connection_[peer.out_chain] = peer.id;
  }
}

void Peers::Drop(Peer& peer, std::vector<fabric::ConnectionId>* closed) {
  for (const fabric::ConnectionId connection :
       {peer.out_delivery, peer.out_chain}) {
    if (connection.value == 0) continue;
    by_connection_.erase(connection);
    context_->fabric->Close(connection);
    closed->push_back(connection);
  }
  for (const fabric::ConnectionId connection :
       {peer.in_delivery, peer.in_chain}) {
    if (connection.value == 0) continue;
    by_connection_.erase(connection);
    unfenced_.push_back(connection);
  }
  peer.in_delivery = peer.in_chain = {};
}

void Peers::Turn() {
  for (auto& [id, peer] : peers_) {
    if (peer.chain_up && !peer.outbox.empty()) SendOutbox(peer);
    if (!peer.up() && context_->now_ns >= peer.retry_at_ns) Dial(peer);
  }
  std::erase_if(unfenced_, [this](fabric::ConnectionId connection) {
    return context_->fabric->Revoke(connection) == fabric::Revocation::kFenced;
  });
}

int64_t Peers::NextDeadlineNs() const {
  int64_t deadline = INT64_MAX;
  for (const auto& [id, peer] : peers_) {
    if (!peer.up()) {
      deadline = std::min(deadline, peer.retry_at_ns);
    } else if (!peer.outbox.empty()) {
      deadline = std::min(deadline, context_->now_ns + kOutboxRetryNs);
    }
  }
  if (!unfenced_.empty())
    deadline = std::min(deadline, context_->now_ns + kRedialNs);
  return deadline;
}

void Peers::OnConnectRequest(const fabric::Event& event,
                             const wire::Hello& hello) {
  const auto it = peers_.find(ServerId(hello.from_server));
  if (it == peers_.end() || it->second.barred ||
      it->second.incarnation.value() != hello.from_incarnation) {
    context_->fabric->Reject(event.connection,
                             "this incarnation is not in the configuration "
                             "that the coordinator sent; try again");
    return;
  }
  if (hello.to_incarnation != context_->options.incarnation.value()) {
    context_->fabric->Reject(event.connection,
                             "meant for an earlier life of this server");
    return;
  }
  Peer& peer = it->second;
  fabric::ConnectionId& place = hello.purpose == wire::Purpose::kDelivery
                                    ? peer.in_delivery
                                    : peer.in_chain;
  if (place.value != 0) {
    by_connection_.erase(place);
    unfenced_.push_back(place);
  }
  place = event.connection;
  by_connection_[event.connection] = peer.id;
  const wire::Hello answer = MakeHello(hello.purpose, peer);
  context_->fabric->Accept(event.connection, BytesOf(answer));
}

bool Peers::OnConnectionEvent(const fabric::Event& event) {
  const auto it = by_connection_.find(event.connection);
  if (it == by_connection_.end()) return false;
  Peer& peer = peers_.at(it->second);
  if (event.kind == fabric::EventKind::kConnected) {
    OnUp(peer, event.connection);
  } else {
    by_connection_.erase(it);
    OnDown(peer, event.connection);
  }
  return true;
}

void Peers::OnUp(Peer& peer, fabric::ConnectionId connection) {
  if (connection == peer.out_delivery) peer.delivery_up = true;
  if (connection == peer.out_chain) {
    peer.chain_up = true;
    SendOutbox(peer);
  }
}

void Peers::OnDown(Peer& peer, fabric::ConnectionId connection) {
  if (connection == peer.out_delivery) {
    peer.delivery_up = false;
    peer.out_delivery = {};
  } else if (connection == peer.out_chain) {
    peer.chain_up = false;
    peer.out_chain = {};
  } else {
    if (connection == peer.in_delivery) peer.in_delivery = {};
    if (connection == peer.in_chain) peer.in_chain = {};
    unfenced_.push_back(connection);
  }
}

const Peer* Peers::SenderOf(fabric::ConnectionId connection) const {
  const auto it = by_connection_.find(connection);
  if (it == by_connection_.end()) return nullptr;
  const Peer& peer = peers_.at(it->second);
  return peer.in_chain == connection ? &peer : nullptr;
}

size_t Peers::reserved_connections() const {
  return kConnectionsPerPeer * (peers_.size() + kPeersToCome);
}

Peer* Peers::Find(ServerId id) {
  const auto it = peers_.find(id);
  return it == peers_.end() ? nullptr : &it->second;
}

bool Peers::DeliveryReplaced(ServerId id, fabric::ConnectionId old) const {
  const auto it = peers_.find(id);
  return it != peers_.end() && it->second.delivery_up &&
         it->second.out_delivery != old;
}

bool Peers::ChainReplaced(ServerId id, fabric::ConnectionId old) const {
  const auto it = peers_.find(id);
  return it != peers_.end() && it->second.chain_up &&
         it->second.out_chain != old;
}

void Peers::Send(ServerId id, std::span<const std::byte> message) {
  Peer* peer = Find(id);
  if (peer == nullptr) return;
  peer->outbox.emplace_back(reinterpret_cast<const char*>(message.data()),
                            message.size());
  if (peer->chain_up) SendOutbox(*peer);
}

void Peers::SendOutbox(Peer& peer) {
  while (!peer.outbox.empty()) {
    const std::string& message = peer.outbox.front();
    std::byte* room =
        context_->fabric->BeginMessage(peer.out_chain, message.size());
    if (room == nullptr) return;
    std::memcpy(room, message.data(), message.size());
    context_->fabric->EndMessage(peer.out_chain, message.size());
    peer.outbox.pop_front();
  }
}

void Peers::Bar(Peer& peer) {
  peer.barred = true;
  for (fabric::ConnectionId* connection : {&peer.in_delivery, &peer.in_chain}) {
    if (connection->value == 0) continue;
    by_connection_.erase(*connection);
    unfenced_.push_back(*connection);
    *connection = {};
  }
}

bool Peers::Revoke(ServerId id) {
  if (Peer* peer = Find(id)) Bar(*peer);
  Turn();
  return unfenced_.empty();
}

bool Peers::RevokeAll() {
  for (auto& [id, peer] : peers_) Bar(peer);
  Turn();
  return unfenced_.empty();
}

}  // namespace whale::node

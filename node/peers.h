// Connections to the other servers, and messages between them.
//
// Towards each server that shares a shard with this one there are two outgoing
// connections: `delivery` (one-sided only, so that an empty receive queue never
// holds up a commit) and `chain` (values down the chain, and messages). The
// same two come in from that server. They are bound to incarnations: a server
// that restarted is somebody new.
//
// Thread-safety: none.
#ifndef WHALE_NODE_PEERS_H_
#define WHALE_NODE_PEERS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/ids.h"
#include "node/context.h"
#include "proto/control.pb.h"
#include "proto/wire.h"

namespace whale::node {

struct Peer {
  ServerId id;
  Incarnation incarnation;
  std::string address;
  fabric::ConnectionId out_delivery;
  fabric::ConnectionId out_chain;
  fabric::ConnectionId in_delivery;
  fabric::ConnectionId in_chain;
  bool delivery_up = false;  // of the outgoing ones
  bool chain_up = false;
  int64_t retry_at_ns = 0;
  // Nothing is let in until the coordinator names the peer again: it may still
  // believe in an epoch that has ended here.
  bool barred = false;
  std::deque<std::string> outbox;  // messages that wait for the connection

  bool up() const { return delivery_up && chain_up; }
};

class Peers {
 public:
  explicit Peers(Context* context) : context_(context) {}

  // Connects to new peers, closes what is no longer wanted. Returns the
  // connections that were closed: nothing else tells those who use them.
  std::vector<fabric::ConnectionId> Reconcile(
      const proto::Directive& directive);
  // Retries what failed and sends what waits.
  void Turn();

  // When a failed connection is tried again.
  int64_t NextDeadlineNs() const;

  // Whether this connect request is from a peer that may come in; answers it.
  void OnConnectRequest(const fabric::Event& event, const wire::Hello& hello);
  // The event concerns a connection of a peer: takes it, returns true.
  bool OnConnectionEvent(const fabric::Event& event);
  // The peer that sends messages on this (incoming chain) connection.
  const Peer* SenderOf(fabric::ConnectionId connection) const;

  // Connections that are not for clients: what this server has with the others
  // and what two more would need.
  size_t reserved_connections() const;

  // nullptr: not a peer (now).
  Peer* Find(ServerId id);
  // Queues a message to `id`; lost if that incarnation goes away.
  void Send(ServerId id, std::span<const std::byte> message);

  // Whether `id` has taken another connection in the place of `old`. Then it
  // knows that `old` is dead, and fences it before it seals anything.
  bool DeliveryReplaced(ServerId id, fabric::ConnectionId old) const;
  bool ChainReplaced(ServerId id, fabric::ConnectionId old) const;

  // Nothing of a dead or revoked connection can land any more.
  bool AllFenced() const { return unfenced_.empty(); }
  // Takes away all rights of this server's connections into our memory, and
  // lets no new one in until a directive names it. False: a writer is stuck in
  // mid-copy; try again.
  bool Revoke(ServerId id);
  // The same for everybody.
  bool RevokeAll();

 private:
  void Dial(Peer& peer);
  void Drop(Peer& peer, std::vector<fabric::ConnectionId>* closed);
  void Bar(Peer& peer);
  void SendOutbox(Peer& peer);
  void OnUp(Peer& peer, fabric::ConnectionId connection);
  void OnDown(Peer& peer, fabric::ConnectionId connection);
  wire::Hello MakeHello(wire::Purpose purpose, const Peer& peer) const;

  Context* const context_;
  std::map<ServerId, Peer> peers_;
  absl::flat_hash_map<fabric::ConnectionId, ServerId> by_connection_;
  // Incoming connections of dead peers that could not be fenced at once.
  std::vector<fabric::ConnectionId> unfenced_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_PEERS_H_

// The clients of this server: their connections, their requests as bytes, and
// the answers.
//
// A client is hostile until proven otherwise: a request is copied out of the
// receive buffer before it is believed, lengths are read once and checked
// against the message, and a malformed one closes the connection.
//
// Thread-safety: none.
#ifndef WHALE_NODE_CLIENT_PORT_H_
#define WHALE_NODE_CLIENT_PORT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "node/context.h"
#include "proto/wire.h"

namespace whale::node {

// A request whose lengths were checked. The views point into memory that a
// client may still change.
struct ClientRequest {
  fabric::ConnectionId connection;
  wire::Request header;
  wire::BufferGrant buffer{};  // if header.flags & kHasBuffer
  std::string_view key;
  std::string_view value;  // empty if it stays in the client's buffer
};

class ClientPort {
 public:
  explicit ClientPort(Context* context) : context_(context) {}

  void OnConnectRequest(const fabric::Event& event);
  bool IsClient(fabric::ConnectionId connection) const {
    return clients_.contains(connection);
  }
  void OnConnectionEvent(const fabric::Event& event);

  // Takes a message apart. False: it was malformed, the connection is closed.
  bool Parse(const fabric::Event& event, ClientRequest* request);

  // Sends an answer; kept and retried if the client's queue is full, dropped if
  // the client is gone.
  void Answer(fabric::ConnectionId connection, const wire::Reply& reply,
              std::string_view value = {});
  // Answers a get with a value that lies in registered memory: in the message,
  // or by WRITE into the client's buffer first. True: that WRITE is in flight,
  // the value must stay unchanged until its completion, with `cookie`, or until
  // the connection is gone.
  bool AnswerValue(fabric::ConnectionId connection, wire::Reply reply,
                   const wire::BufferGrant& buffer, std::string_view value,
                   uint64_t cookie);
  // Retries what could not be sent.
  void Turn();
  bool has_backlog() const { return !overflow_.empty(); }

 private:
  bool TrySend(fabric::ConnectionId connection, const wire::Reply& reply,
               std::string_view value);
  void CloseBad(fabric::ConnectionId connection);

  Context* const context_;
  absl::flat_hash_set<fabric::ConnectionId> clients_;
  // Answers that their client has no room for yet. Ordered: it is iterated.
  std::map<fabric::ConnectionId, std::deque<std::string>> overflow_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_CLIENT_PORT_H_

// The clients of this server: their connections, their requests as bytes, and
// the answers.
//
// A client is hostile until proven otherwise: a request is copied out of the
// receive buffer before it is believed, lengths are read once and checked
// against the message. A malformed one closes the connection, and so does one
// beyond the client's credits: requests that were not answered, and answers
// that the client does not take, are bounded by them.
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
#include <vector>

#include "absl/container/flat_hash_map.h"
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

  // `reserved`: connections of the fabric that are not for clients.
  void OnConnectRequest(const fabric::Event& event, size_t reserved);
  bool IsClient(fabric::ConnectionId connection) const {
    return clients_.contains(connection);
  }
  void OnConnectionEvent(const fabric::Event& event);

  // The shard and key that a message seems to be about; an empty key if it
  // seems to be about none. A guess, to fetch memory early: nothing is checked.
  struct Subject {
    uint16_t shard = 0;
    std::string_view key;
  };
  static Subject SubjectOf(const fabric::Event& event);

  // Takes a message apart. False: it broke the rules, the connection is closed.
  bool Parse(const fabric::Event& event, ClientRequest* request);

  // Sends the one answer to a request that Parse took; kept and retried if the
  // client's queue is full, dropped if the client is gone.
  void Answer(fabric::ConnectionId connection, const wire::Reply& reply,
              std::string_view value = {});
  // Answers a get with a value that lies in registered memory: in the message,
  // or by WRITE into the client's buffer first. True: that WRITE is in flight,
  // the value must stay unchanged until its completion, with `cookie`, or until
  // the connection is gone.
  bool AnswerValue(fabric::ConnectionId connection, wire::Reply reply,
                   const wire::BufferGrant& buffer, std::string_view value,
                   uint64_t cookie);
  // Ends a connection from this side; TakeClosed tells of it.
  void Close(fabric::ConnectionId connection);
  // Connections that this side closed since the last call. Their work ends
  // without completions or events, so all who wait for such must be told.
  std::vector<fabric::ConnectionId> TakeClosed();
  bool has_closed() const { return !closed_.empty(); }
  // Retries what could not be sent.
  void Turn();
  bool has_backlog() const { return !overflow_.empty(); }

 private:
  bool HasRoom(size_t reserved, std::string* why_not) const;
  bool TrySend(fabric::ConnectionId connection, const wire::Reply& reply,
               std::string_view value);
  // Whether the message keeps to the rules; takes it apart as far as it does.
  static bool IsWellFormed(const fabric::Event& event, ClientRequest* request);
  void CloseBad(fabric::ConnectionId connection, std::string_view why);
  void Forget(fabric::ConnectionId connection);

  Context* const context_;
  // Requests taken whose answers the fabric has not got yet, by client.
  absl::flat_hash_map<fabric::ConnectionId, uint32_t> clients_;
  std::vector<fabric::ConnectionId> closed_;
  int64_t warn_again_ns_ = 0;
  // Answers that their client has no room for yet. Ordered: it is iterated.
  std::map<fabric::ConnectionId, std::deque<std::string>> overflow_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_CLIENT_PORT_H_

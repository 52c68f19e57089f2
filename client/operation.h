// What the core keeps of an unfinished operation, and of each request that a
// server has not answered.
//
// An Operation becomes a PendingOperation until its callback runs. Each time
// it is sent, an Attempt stands for that request: it keeps the connection's
// credit, the tag and the buffer range until the reply came or the connection
// is gone, even when the operation itself has long been retried elsewhere or
// has expired. So a late reply finds its attempt and nothing else.
#ifndef WHALE_CLIENT_OPERATION_H_
#define WHALE_CLIENT_OPERATION_H_

#include <cstdint>
#include <map>
#include <string>

#include "client/buffers.h"
#include "client/core.h"
#include "client/intrusive_list.h"
#include "proto/wire.h"

namespace whale::client {

struct Attempt;
struct Link;
struct Shard;
struct PendingOperation;

struct InQueue;     // turn, link or buffer queue; finished
struct ByDeadline;  // all unfinished operations
struct OfLink;      // unanswered attempts of a connection, oldest first

using Timers = std::multimap<int64_t, PendingOperation*>;

// Where an operation is.
enum class Stage : uint8_t {
  kFree,
  kTurn,    // waits for the map, or for the shard's session or window
  kLink,    // in a connection's queue: connecting, credits, send queue
  kBuffer,  // waits for room in the client's buffer
  kSent,    // has an attempt
  kTimer,   // backs off
  kFinished,
};

// Why an operation could not go on when it last tried; for its error message.
enum class Obstacle : uint8_t {
  kNone,
  kNoMap,
  kShardInactive,
  kUnknownServer,
  kAnswered,  // `result` and `reason` of the reply
  kConnectionLost,
};

struct Failure {
  Obstacle obstacle = Obstacle::kNone;
  wire::Result result = wire::Result::kOk;
  wire::Reason reason = wire::Reason::kNone;
  uint32_t server = 0;
};

struct PendingOperation : ListNode<InQueue>, ListNode<ByDeadline> {
  Stage stage = Stage::kFree;
  wire::RequestType type = wire::RequestType::kGet;
  uint8_t flags = 0;         // of the Request, without kHasBuffer
  bool is_write = false;     // has a request number
  bool is_internal = false;  // the core's own: session, keep-alive
  bool any_replica = false;
  bool to_primary = false;  // a replica sent it there
  bool in_doubt = false;    // an earlier attempt's effect is unknown
  bool room_is_guess = false;
  uint32_t replica = 0;
  uint32_t value_bytes = 0;
  uint32_t failures = 0;  // in a row; for the back-off
  Failure failure;

  Shard* shard = nullptr;        // nullptr: no map yet
  Link* link = nullptr;          // in kLink, kSent
  Attempt* attempt = nullptr;    // in kSent
  BufferRange* range = nullptr;  // of a put's large value
  uint64_t room_bytes = 0;       // gets: buffer to ask with
  uint64_t key_hash = 0;
  uint64_t argument = 0;
  uint64_t session = 0;
  uint64_t number = 0;  // 0: none yet
  int64_t deadline_ns = 0;
  int64_t timeout_ns = 0;
  Timers::iterator timer;  // in kTimer

  std::string key;
  std::string value;  // a put's, unless it is in `range`
  OperationResult result;
  absl::AnyInvocable<void(OperationResult)> done;
};

struct Attempt : ListNode<OfLink> {
  uint32_t index = 0;
  uint64_t generation = 0;
  PendingOperation* operation = nullptr;  // nullptr: nobody waits for it
  Link* link = nullptr;
  BufferRange* range = nullptr;
  wire::RequestType type = wire::RequestType::kGet;
  uint64_t epoch = 0;
  int64_t sent_ns = 0;
  // What a late answer settles, once the operation is gone.
  bool settles_number = false;
  Shard* shard = nullptr;
  uint64_t session = 0;
  uint64_t number = 0;
};

using OperationQueue = IntrusiveList<PendingOperation, InQueue>;
using DeadlineList = IntrusiveList<PendingOperation, ByDeadline>;
using AttemptList = IntrusiveList<Attempt, OfLink>;

}  // namespace whale::client

#endif  // WHALE_CLIENT_OPERATION_H_

// The packed messages of the data path between clients and servers, and the
// hello that opens every data connection.
//
// A request is one message: Request, then a BufferGrant if kHasBuffer, then
// the key, then the value unless it stays in the client's buffer. A reply is
// one message: Reply, then the value unless it was written into the client's
// buffer. All integers little-endian; structs are copied out of the receive
// buffer byte for byte before a field is believed, because a client's memory
// may change while it is read.
#ifndef WHALE_PROTO_WIRE_H_
#define WHALE_PROTO_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace whale::wire {

inline constexpr uint32_t kHelloMagic = 0x4c414857;  // "WHAL"
// Raised with every incompatible change of this file, of peer_messages.h or of
// the formats that peers write into each other's memory.
inline constexpr uint16_t kProtocolVersion = 3;

enum class Purpose : uint8_t {
  kClient = 1,
  kDelivery = 2,  // primary -> backup: one-sided only
  kChain = 3,     // predecessor -> successor, and messages between servers
};

// First bytes on every connection, in both directions. An answer repeats the
// caller's purpose and carries the answerer's own identity.
struct Hello {
  uint32_t magic;
  uint16_t protocol_version;
  Purpose purpose;
  uint8_t zero8;
  uint8_t cluster_uuid[16];  // a client that does not know it yet: zeros
  uint32_t from_server;      // 0: a client
  uint32_t to_server;        // the server that the caller means to reach
  uint64_t from_incarnation;
  uint64_t to_incarnation;  // 0: any (clients)
  uint32_t credits;         // answer: requests a client may have unanswered
  uint32_t zero32;
};
static_assert(sizeof(Hello) == 56);

enum class RequestType : uint8_t {
  kGet = 1,
  kPut = 2,
  kDelete = 3,
  kCompareAndPut = 4,
  kDeleteIf = 5,
  kOpenSession = 6,     // no key; before a session's first write in a shard
  kKeepAlive = 7,       // no key; a session without writes stays alive
  kWaitReplicated = 8,  // no key; argument: LSN
};

// Request::flags
inline constexpr uint8_t kHasBuffer = 1;  // a BufferGrant follows the Request
inline constexpr uint8_t kFullDurability =
    2;                                      // answer when every replica has it
inline constexpr uint8_t kSessionRead = 4;  // argument: least LSN to have seen
inline constexpr uint8_t kStaleRead = 8;

struct Request {
  RequestType type;
  uint8_t flags;
  uint16_t shard;
  uint16_t key_bytes;
  uint16_t zero16;
  uint32_t value_bytes;  // of the value, wherever it is
  uint32_t zero32;
  uint64_t tag;    // comes back in the reply; chosen by the client
  uint64_t epoch;  // of the shard, as the client knows it
  uint64_t session;
  uint64_t request;   // number within (session, shard), from 1; 0 for reads
  uint64_t argument;  // kCompareAndPut, kDeleteIf: expected version (0: the
                      // key must be absent); session reads, kWaitReplicated
};
static_assert(sizeof(Request) == 56);

// Client memory: the source of a put's value, or room for a get's.
struct BufferGrant {
  uint64_t key;
  uint64_t address;
  uint64_t length_bytes;
};
static_assert(sizeof(BufferGrant) == 24);

enum class Result : uint8_t {
  kOk = 0,
  kNotFound = 1,
  kCompareFailed = 2,  // `version` is the key's version (0: absent)
  kWrongEpoch = 3,     // fetch the map; retry with the same request number
  kNotServing = 4,     // wrong replica, or no lease: ask the primary
  kUnavailable = 5,    // nothing happened; the value is for now out of reach
  kResourceExhausted = 6,  // nothing happened: window, pool or queue is full
  kDataLoss = 7,
  kBufferTooSmall = 8,  // a get's value needs `value_bytes` of buffer
  kUnknownSession = 9,  // not open, or ended: nothing happened
  kInvalid = 10,        // a limit or rule of this file was broken
  kEpochEnded = 11,     // as kWrongEpoch, but the write was ordered: whether
                        // it took effect, the next epoch decides
};

struct Reply {
  RequestType type;
  Result result;
  uint16_t shard;
  uint32_t value_bytes;
  uint64_t tag;
  uint64_t epoch;  // the server's epoch of the shard
  uint64_t version;
  uint64_t lsn;     // reads: LSN that a later session read must have seen
  uint32_t copies;  // writes: durable copies of the value at this moment
  uint32_t detail;  // kResourceExhausted, kUnavailable: see Reason
};
static_assert(sizeof(Reply) == 48);

// Reply::detail: what an error message should name.
enum class Reason : uint32_t {
  kNone = 0,
  kWindowFull = 1,  // the chain is behind
  kPoolFull = 2,    // no free segment on some replica
  kQueueFull = 3,   // too many writes wait at the primary
  kHole = 4,        // the last server that has the value is away
  kBelowMinReplicas = 5,
  kClientBuffer = 6,  // the client's buffer could not be read or written
  kStarting = 7,      // the shard's configuration is being set up
};

// Requests of one session that may be unanswered at a time in one shard; as
// many outcomes are kept per session and shard (protocol, section 9).
inline constexpr uint64_t kSessionWindow = 512;

}  // namespace whale::wire

#endif  // WHALE_PROTO_WIRE_H_

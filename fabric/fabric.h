// The boundary to the network: one-sided and two-sided work requests, their
// completions, grants and revocation.
//
// One Fabric belongs to one worker thread: it stands for an adapter context,
// one completion queue and one shared receive queue. Providers: `shm`
// (processes of one host), `verbs` (libibverbs), and the simulator's. All obey
// the contract below and pass the conformance suite; none promises more, and
// callers must not lean on what one provider happens to do (shm, for example,
// completes a WRITE while it is posted).
//
// The contract, in the terms of docs/memory_model.md:
//   * Completion, visibility and durability are three things. A WRITE's
//     completion proves neither of the others unless `write_completion()` says
//     so; a READ behind it on the same connection proves visibility; a
//     kRemoteFlush behind it proves both.
//   * Order holds only within one connection and direction. WRITEs, SENDs and
//     FLUSHes take effect in the order posted, but a later request may pass an
//     earlier READ, CAS or FLUSH.
//   * No write is atomic beyond an aligned 8-byte word.
//   * Completions of one connection arrive in the order posted. Unsignaled
//     work completes silently when it succeeds; its send-queue slot is free
//     again once a later signaled request of the connection has completed.
//   * After an error the connection is dead: everything before the failed
//     request has completed, it completes with its error, everything behind it
//     with kCanceled (signaled or not, one completion each), then one
//     kDisconnected event follows. Nothing of a dead connection lands after its
//     owner's Revoke returned.
//   * A message (two-sided SEND) or WRITE_WITH_IMM needs room at the peer,
//     which comes back when the peer polls. The fabric keeps account of it and
//     refuses what finds none (kQueueFull, nullptr). A peer that sends more all
//     the same (on real adapters and in shared memory it can) is disconnected
//     by the Poll that finds it. Until then it may hold up other connections'
//     messages and immediates, and what is posted behind those; connections
//     with one-sided work only go on. Nothing of the others is lost.
//   * Local buffers of WRITE, READ and CAS must lie in memory registered here
//     and stay unchanged until completion. `inline_data` copies at Post.
//     Message buffers belong to the fabric.
//
// Thread-safety: none, except Wake(). Ownership: the fabric owns receive
// buffers and connections; registered memory belongs to the caller, who keeps
// it mapped until Deregister. Failure: a dead peer is an event, never a crash.
#ifndef WHALE_FABRIC_FABRIC_H_
#define WHALE_FABRIC_FABRIC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::fabric {

// Largest SEND, and so the size of a receive buffer.
inline constexpr size_t kMaxMessageBytes = 8192;
// Largest request that may be posted with `inline_data`.
inline constexpr size_t kMaxInlineBytes = 64;
// Largest hello (private data) of Connect and Accept.
inline constexpr size_t kMaxHelloBytes = 512;

// A connection of this Fabric. Never reused while the Fabric lives. 0: none.
struct ConnectionId {
  uint64_t value = 0;
  auto operator<=>(const ConnectionId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ConnectionId& id) {
    return H::combine(std::move(h), id.value);
  }
};

// Right to use a range of another's memory; plain data, travels in messages.
// `address` is meaningful only to the provider (verbs: virtual address; shm:
// offset in the region); arithmetic on it within [address, address + length)
// is allowed.
struct Grant {
  uint64_t key = 0;
  uint64_t address = 0;
  uint64_t length_bytes = 0;
};
static_assert(sizeof(Grant) == 24);

// What the holder of a grant may do.
struct Access {
  bool remote_read = false;
  bool remote_write = false;
  bool remote_atomic = false;
};

// Memory to register. On shm only memory backed by a descriptor can be granted
// to others (`fd` >= 0; memfd or file, mapped MAP_SHARED from `fd_offset`); the
// first kGuardBytes of such a descriptor belong to the provider, see below.
// Other providers ignore `fd`.
struct Memory {
  std::byte* base = nullptr;
  size_t length_bytes = 0;
  int fd = -1;
  uint64_t fd_offset = 0;
};

// Every shared descriptor starts with this many bytes that belong to the
// fabric: shm keeps there who may write and who is writing just now, so that
// even an owner that restarts can fence the writers of its former life.
// Memory given to Register must not overlap them.
inline constexpr size_t kGuardBytes = 16384;

struct RegionId {
  uint64_t value = 0;
  auto operator<=>(const RegionId&) const = default;
};

enum class Opcode : uint8_t {
  kWrite,         // local -> remote
  kWriteWithImm,  // as kWrite, then a kReceivedImm event at the peer
  kRead,          // remote -> local
  kCompareSwap,   // 8 bytes, aligned; old value -> local
  kRemoteFlush,   // makes all earlier WRITEs of this connection to the range
                  // [remote_address, +length) visible and durable there, by
                  // the connection's flush method (section 7)
};
std::string_view OpcodeName(Opcode opcode);

struct WorkRequest {
  Opcode opcode = Opcode::kWrite;
  bool signaled = false;
  bool inline_data = false;
  uint32_t immediate = 0;
  void* local = nullptr;  // not written to by kWrite*
  uint32_t length_bytes = 0;
  uint64_t remote_key = 0;      // Grant::key
  uint64_t remote_address = 0;  // within the grant
  uint64_t compare = 0;
  uint64_t swap = 0;
  uint64_t cookie = 0;  // comes back in the completion
};

enum class Outcome : uint8_t {
  kOk,
  kCanceled,      // the connection died before this request was carried out;
                  // whether it took effect at the peer is unknown
  kRemoteAccess,  // the grant does not cover it, or was revoked
  kRemoteError,   // the peer or the path is gone
  kLocalError,    // length, registration or queue rules broken
};
std::string_view OutcomeName(Outcome outcome);

enum class EventKind : uint8_t {
  kCompleted,       // `cookie`, `outcome`
  kReceived,        // `data`: a message; valid until the next Poll
  kReceivedImm,     // `immediate`, `length_bytes` of the WRITE_WITH_IMM
  kConnectRequest,  // a peer wants in: `data` is its hello; Accept or Reject
  kConnected,       // `data` is the peer's hello (both sides get this event)
  kConnectFailed,   // `detail` says why; the id is dead
  kDisconnected,    // the connection is dead; all its completions came before
};
std::string_view EventKindName(EventKind kind);

struct Event {
  EventKind kind = EventKind::kCompleted;
  Outcome outcome = Outcome::kOk;
  Opcode opcode = Opcode::kWrite;  // of kCompleted
  // kConnectRequest: the peer may be a server of the cluster. A provider that
  // can tell by the peer's credentials says so; the others trust all alike.
  bool from_server = true;
  ConnectionId connection;
  uint64_t cookie = 0;
  uint32_t immediate = 0;
  // kReceived, kConnectRequest, kConnected. May be memory that a hostile peer
  // still writes to: read each byte once, or copy.
  const std::byte* data = nullptr;
  uint32_t length_bytes = 0;
  // kConnectFailed, kDisconnected: names peer, verb and error. Valid until the
  // next Poll.
  const char* detail = nullptr;
};

enum class PostResult : uint8_t {
  kOk,
  kQueueFull,  // nothing was posted; wait for completions
  kClosed,     // no such connection, or dead; nothing was posted, no completion
};

// How kRemoteFlush is done on a connection (protocol, section 7).
enum class FlushMethod : uint8_t {
  kNone,            // domain `process`; WRITE completion means visible
  kNativeFlush,     // RDMA FLUSH
  kReadAfterWrite,  // READ behind the WRITE
  kReceiverFlush,   // the owner's CPU persists and answers
};
std::string_view FlushMethodName(FlushMethod method);

// What Revoke achieved.
enum class Revocation : uint8_t {
  // Nothing of the peer can land any more.
  kFenced,
  // Only possible on shm: the peer was stopped in mid-copy and does not
  // answer. Until its process is gone, the ranges granted to it may change;
  // the owner must move what it needs from there to fresh memory now.
  kMoveMemory,
};

class Fabric {
 public:
  virtual ~Fabric() = default;

  // "shm", "verbs", "sim".
  virtual std::string_view name() const = 0;
  // Where peers connect to; goes into the cluster's map. Never empty once
  // listening.
  virtual std::string address() const = 0;
  // How many connections may be open or on their way at once, with whomever.
  virtual size_t max_connections() const = 0;

  // --- Memory ---
  // Errors: kInvalidArgument (empty, no descriptor where one is needed),
  // kResourceExhausted (memlock, names the limit), kUnimplemented.
  virtual absl::StatusOr<RegionId> Register(const Memory& memory,
                                            const Access& access) = 0;
  // REQUIRES: no work that uses it is in flight.
  virtual void Deregister(RegionId region) = 0;
  // The right to use [offset, offset + length) of a region, for peers to whom
  // connections exist or will exist.
  virtual Grant MakeGrant(RegionId region, uint64_t offset_bytes,
                          uint64_t length_bytes) const = 0;

  // --- Connections ---
  // Starts connecting; the result is an event. `hello`: at most kMaxHelloBytes.
  virtual ConnectionId Connect(const std::string& address,
                               std::span<const std::byte> hello) = 0;
  // Answer to kConnectRequest.
  virtual void Accept(ConnectionId connection,
                      std::span<const std::byte> hello) = 0;
  virtual void Reject(ConnectionId connection, std::string_view reason) = 0;
  // Orderly close by this side; the peer sees kDisconnected. Own unfinished
  // work is dropped without completions. Afterwards the id is dead.
  virtual void Close(ConnectionId connection) = 0;
  // Ends everything the peer may do through this connection; returns only when
  // that is so (see Revocation). The connection is dead afterwards, without
  // further events.
  virtual Revocation Revoke(ConnectionId connection) = 0;
  virtual FlushMethod flush_method(ConnectionId connection) const = 0;

  // --- Work ---
  // Requests that Post would take now, with at most one kWriteWithImm and one
  // run of kRemoteFlush among them: each of those also needs a buffer at the
  // peer, and a batch with more may be refused as kQueueFull.
  virtual size_t FreeSlots(ConnectionId connection) const = 0;
  // All or nothing, one doorbell. The requests themselves may be reused at
  // once.
  virtual PostResult Post(ConnectionId connection,
                          std::span<const WorkRequest> requests) = 0;
  // Room for a message of `length_bytes` <= kMaxMessageBytes, to be written in
  // place; nullptr when the connection is dead or its send queue is full (the
  // peer has not taken earlier messages; try again after Poll). One message at
  // a time may be open in the whole fabric, and none across a Post on the same
  // connection.
  virtual std::byte* BeginMessage(ConnectionId connection,
                                  size_t length_bytes) = 0;
  // Sends the first `length_bytes` of what BeginMessage gave. Ordered with
  // WRITEs by call order. On its way at the latest with the next
  // FlushMessages, Post on this connection, Poll or Wait.
  virtual void EndMessage(ConnectionId connection, size_t length_bytes) = 0;
  // Rings the doorbells of all messages ended so far.
  virtual void FlushMessages() = 0;
  // Fills `events`; returns how many. Frees the receive buffers that earlier
  // calls handed out. Never blocks.
  virtual size_t Poll(std::span<Event> events) = 0;
  // Sleeps until Poll would find something, Wake is called, or the time on
  // CLOCK_BOOTTIME reaches `deadline_ns`. One-sided WRITEs without immediate
  // by peers do not end it.
  virtual void Wait(int64_t deadline_ns) = 0;
  // Ends a Wait now or the next one. Safe from any thread.
  virtual void Wake() = 0;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_FABRIC_H_

// What lies in memory that two processes share, and what crosses the socket
// between them. Both processes run on one host, so the byte order is the
// host's; kProtocolVersion keeps builds apart that disagree.
//
// Message ring: a memfd made by the receiver, one per connection and direction.
//
//   0      | tail | control | wants_room | pad to 64 |      sender's line
//   64     | head | pad                              |      receiver's line
//   4096   records, `ring_bytes` (a power of two), addressed modulo that
//
// Positions only grow. A record never wraps; a kSkip record fills the end.
//
//   record | type 4 | length 4 | immediate 4 | 0 4 | payload, padded to 16 |
//
// Guard: the first kGuardBytes of every shared descriptor; one 64-byte line
// for the owner, then one slot per writer (guard.h says how it is used).
#ifndef WHALE_FABRIC_SHM_LAYOUT_H_
#define WHALE_FABRIC_SHM_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "fabric/fabric.h"

namespace whale::fabric::shm {

inline constexpr uint32_t kPacketMagic = 0x4d485357;  // "WSHM"
inline constexpr uint16_t kProtocolVersion = 1;

struct RingHeader {
  alignas(64) uint64_t tail;  // end of what is published
  uint64_t control;           // counts packets sent over the socket
  uint64_t wants_room;        // not 0: the sender waits for `head` to move
  alignas(64) uint64_t head;  // end of what the receiver has done with
};
static_assert(sizeof(RingHeader) == 128);
inline constexpr uint64_t kRingHeaderBytes = 4096;
inline constexpr uint64_t kMinRingBytes = 32 * 1024;
inline constexpr uint64_t kMaxRingBytes = 256 * 1024 * 1024;

enum class RecordType : uint32_t { kMessage = 1, kImmediate = 2, kSkip = 3 };
struct RecordHeader {
  RecordType type;
  uint32_t length_bytes;  // of the payload; kImmediate: of the WRITE
  uint32_t immediate;
  uint32_t reserved;
};
static_assert(sizeof(RecordHeader) == 16);

// The sleeping word of a fabric: odd while it sleeps, and another number each
// time, so that a sender rings once per sleep.
struct SleepPage {
  uint64_t sleeping;
};

inline constexpr uint64_t kGuardMagic = 0x64726175476c6857;  // "WhlGuard"
struct GuardHeader {
  uint64_t magic;
  uint64_t incarnation;  // of the owner; grows with each life
  uint64_t owner_pid;    // 0: closed in order
  uint64_t owner_start;
  uint64_t reserved[4];
};
struct GuardSlot {
  uint64_t pid;      // owner's; 0: never used
  uint64_t start;    // owner's
  uint64_t revoked;  // owner's
  uint64_t busy;     // writer's: copying just now
  uint64_t left;     // writer's: will never touch this slot or memory again
  uint64_t reserved[3];
};
static_assert(sizeof(GuardHeader) == 64 && sizeof(GuardSlot) == 64);
inline constexpr uint32_t kGuardSlots = kGuardBytes / 64 - 1;
struct GuardArea {
  GuardHeader header;
  GuardSlot slots[kGuardSlots];
};
static_assert(sizeof(GuardArea) == kGuardBytes);

enum class PacketType : uint16_t {
  kHello = 1,      // connector: HelloBody, hello; ring, summary, sleep page
  kAccept,         // acceptor's answer: the same
  kReject,         // acceptor's answer: text
  kRegionRequest,  // RegionRequestBody
  kRegionReply,    // RegionReplyBody; the memory, or text when refused
  kRing,           // wakes a sleeper
};
struct PacketHeader {
  uint32_t magic;
  uint16_t version;
  PacketType type;
};
static_assert(sizeof(PacketHeader) == 8);
struct HelloBody {
  uint64_t ring_bytes;   // of the ring that comes along
  uint32_t summary_bit;  // which bit of the summary to set after sending
  uint32_t listens;      // 1: a server, may hand over files
};
struct RegionRequestBody {
  uint64_t key;
};
struct RegionReplyBody {
  uint64_t key;
  uint64_t file_offset;  // of the region in the descriptor
  uint64_t length_bytes;
  uint64_t incarnation;
  uint32_t slot;
  uint8_t granted;  // 0: refused, text follows
  uint8_t readable;
  uint8_t writable;
  uint8_t atomic;
};
static_assert(sizeof(RegionReplyBody) == 40);
inline constexpr size_t kMaxPacketBytes = 1024;
inline constexpr size_t kMaxPacketDescriptors = 3;
static_assert(kMaxPacketBytes >=
              sizeof(PacketHeader) + sizeof(HelloBody) + kMaxHelloBytes);

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_LAYOUT_H_

// What servers tell each other over the chain connection, two-sided: where a
// shard's cells, rings and segments lie in an epoch. Sent once per epoch and
// with every new segment; deliveries and values themselves are one-sided.
//
// Sent only between servers that the coordinator named to each other; still,
// every message is checked (length, shard, epoch) before it is used.
#ifndef WHALE_PROTO_PEER_MESSAGES_H_
#define WHALE_PROTO_PEER_MESSAGES_H_

#include <cstddef>
#include <cstdint>

#include "proto/wire.h"

namespace whale::wire {

enum class PeerMessageType : uint8_t {
  kBackupReady = 1,     // backup -> primary
  kPrimaryReady = 2,    // primary -> backup
  kSuccessorReady = 3,  // successor -> predecessor
  kSegmentGrants = 4,   // backup -> primary, predecessor: to write;
                        // primary -> backup: to read
  kCannotGrant = 5,     // backup -> primary: no room for this segment
  kWake = 6,            // look at your cells now
  kWantSegments = 7,    // learner -> primary: to read, from `number` on
  kCopyLimit = 8,       // primary -> learner: up to where it may copy
  kOfferValues = 9,     // to the primary: values that its configuration lacks,
                        // to read; `number` is the LSN of each
};

struct PeerHeader {
  PeerMessageType type;
  uint8_t zero8;
  uint16_t shard;
  uint32_t count;  // of SegmentGrantEntry that follow
  uint64_t epoch;
};
static_assert(sizeof(PeerHeader) == 16);

struct BackupReady {
  PeerHeader header;
  uint64_t deliver_from;  // LSN: what is below is announced and durable here
  uint64_t durable;       // LSN: all values below are here
  uint64_t ring_start;    // slot at which the primary starts to write
  uint32_t ring_slots;
  uint32_t zero32;
  BufferGrant ring;
  BufferGrant delivery_cells;
  BufferGrant epoch_cells;
};
static_assert(sizeof(BackupReady) == 120);

struct PrimaryReady {
  PeerHeader header;
  BufferGrant commit_cells;
  BufferGrant progress_cells;  // of the backup that this is sent to
};
static_assert(sizeof(PrimaryReady) == 64);

struct SuccessorReady {
  PeerHeader header;
  uint64_t durable;  // values are wanted from here on
  BufferGrant chain_cells;
};
static_assert(sizeof(SuccessorReady) == 48);

struct CopyLimit {
  PeerHeader header;
  uint64_t committed;  // LSN
};
static_assert(sizeof(CopyLimit) == 24);

struct SegmentGrantEntry {
  // Of the segment; in kCannotGrant and kWantSegments `grant` is zero.
  uint64_t number;
  BufferGrant grant;
};
static_assert(sizeof(SegmentGrantEntry) == 32);

inline constexpr uint32_t kMaxGrantsPerMessage = 128;

}  // namespace whale::wire

#endif  // WHALE_PROTO_PEER_MESSAGES_H_

// Grants between the fabric's form and the messages' form, the message that
// carries those of segments, and the checks of messages that carry any.
#ifndef WHALE_NODE_GRANTS_H_
#define WHALE_NODE_GRANTS_H_

#include <cstdint>
#include <span>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "logstore/log.h"
#include "node/context.h"
#include "node/peers.h"
#include "proto/peer_messages.h"
#include "proto/wire.h"

namespace whale::node {

inline fabric::Grant ToGrant(const wire::BufferGrant& grant) {
  return {.key = grant.key,
          .address = grant.address,
          .length_bytes = grant.length_bytes};
}
inline wire::BufferGrant ToWire(const fabric::Grant& grant) {
  return {.key = grant.key,
          .address = grant.address,
          .length_bytes = grant.length_bytes};
}

// Segments that every replica keeps ready beyond the one being written, so that
// the primary need not wait for one (protocol, section 3).
inline constexpr uint64_t kSegmentsAhead = 2;
// A full pool is asked again after so long.
inline constexpr int64_t kSegmentsRetryNs = 10'000'000;

// Tells `to` where this server's segments [first, last] of the shard lie; those
// not here are left out.
void SendSegmentGrants(Context* context, Peers* peers, const logstore::Log& log,
                       ServerId to, ShardId shard, Epoch epoch, uint64_t first,
                       uint64_t last);

// Whether what another member sent can be used in an epoch that starts at
// `epoch_start`: grants as long as they must be, positions in the log.
bool CoversCells(const wire::BufferGrant& cells, size_t count = 2);
bool CoverSegments(std::span<const wire::SegmentGrantEntry> grants,
                   const logstore::Log& log);
// `ring_slots`: this server's own, which all servers must have.
bool IsUsable(const wire::BackupReady& message, const logstore::Log& log,
              Lsn epoch_start, uint32_t ring_slots);
bool IsUsable(const wire::SuccessorReady& message, const logstore::Log& log,
              Lsn epoch_start);

}  // namespace whale::node

#endif  // WHALE_NODE_GRANTS_H_

// Grants between the fabric's form and the messages' form, and the message that
// carries those of segments.
#ifndef WHALE_NODE_GRANTS_H_
#define WHALE_NODE_GRANTS_H_

#include <cstdint>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "logstore/log.h"
#include "node/context.h"
#include "node/peers.h"
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

}  // namespace whale::node

#endif  // WHALE_NODE_GRANTS_H_

// What every part of one server shares: its boundaries, its options, the time
// of this turn, and its counters. Plain data; owned by the Server.
#ifndef WHALE_NODE_CONTEXT_H_
#define WHALE_NODE_CONTEXT_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "common/clock.h"
#include "common/stage_costs.h"
#include "fabric/fabric.h"
#include "logstore/pool.h"
#include "node/server.h"

namespace whale::node {

struct Context {
  ServerOptions options;
  fabric::Fabric* fabric = nullptr;
  logstore::Pool* pool = nullptr;
  Clock* clock = nullptr;
  ControlLink* control = nullptr;

  fabric::RegionId pool_region;  // the whole mapping of the pool
  // Somebody waits for what this turn of the server does.
  bool urgent = false;
  int64_t now_ns = 0;  // read once per turn
  Server::Counters counters;
  int64_t copy_at_ns = 0;  // when learners may copy on, by their limit
  StageCosts stages;
  // One moment on both clocks, to know how long a cycle is.
  uint64_t began_cycles = 0;
  int64_t began_ns = 0;
  // Where batches are planned; never holds anything between two posts.
  std::array<fabric::WorkRequest, 128> batch;

  void Warn(std::string_view text) const {
    if (options.warn) options.warn(text);
  }

  // The right to use `length_bytes` of the pool at `address`, for peers.
  fabric::Grant GrantOf(const std::byte* address, uint64_t length_bytes) const {
    return fabric->MakeGrant(pool_region, pool->OffsetOf(address),
                             length_bytes);
  }
};

// What a completion belongs to; travels in WorkRequest::cookie.
enum class WorkKind : uint8_t {
  kDelivery = 1,     // index: backup
  kChain = 2,        // one successor per shard
  kCommitCell = 3,   // a backup's READ of the primary's commit cell
  kHoleRead = 4,     // a backup's READ of a value still to come
  kEpochCell = 5,    // a primary's READ of a backup's epoch cell; index: backup
  kPull = 6,         // READ of a client's value into the log
  kProgress = 7,     // a backup's progress cell
  kValueAnswer = 9,  // WRITE of a value in the log to a client
  kHoleAnswer = 8,   // WRITE of a fetched value to a client; index: slot
  kCopy = 10,        // a learner's READ of the primary's log
  kRefill = 11,      // the primary's READ of a value that it lacks
  kDrain = 12,       // a READ behind the last WRITE; index: 1 behind progress
};

// What follows the commits; nobody waits for it.
inline bool IsBackground(WorkKind kind) {
  return kind == WorkKind::kChain || kind == WorkKind::kProgress;
}

// The low bits of the epoch tell completions of an earlier configuration apart.
struct WorkCookie {
  WorkKind kind;
  ShardId shard;
  uint8_t index = 0;
  uint32_t epoch_low = 0;

  uint64_t Encode() const {
    return uint64_t{static_cast<uint8_t>(kind)} << 56 |
           uint64_t{shard.value()} << 40 | uint64_t{index} << 32 | epoch_low;
  }
  static WorkCookie Decode(uint64_t cookie) {
    return {.kind = static_cast<WorkKind>(cookie >> 56),
            .shard = ShardId(static_cast<uint16_t>(cookie >> 40)),
            .index = static_cast<uint8_t>(cookie >> 32),
            .epoch_low = static_cast<uint32_t>(cookie)};
  }
};

}  // namespace whale::node

#endif  // WHALE_NODE_CONTEXT_H_

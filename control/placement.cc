#include "control/placement.h"

#include <algorithm>
#include <map>

namespace whale::control {
namespace {

// A member that is to leave shall not lead.
bool IsPlaced(const proto::StoredShard& shard, uint32_t server) {
  return std::find(shard.placed().begin(), shard.placed().end(), server) !=
         shard.placed().end();
}

std::optional<Move> NextMoveTo(const proto::StoredState& stored,
                               uint32_t server) {
  for (const proto::StoredShard& shard : stored.shards()) {
    if (shard.members(0) == server || !IsPlaced(shard, server)) continue;
    for (const uint32_t member : shard.members()) {
      if (member == server) return Move{shard.shard(), server};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Move> NextMove(const proto::StoredState& stored,
                             uint32_t primaries_on) {
  if (primaries_on != 0) return NextMoveTo(stored, primaries_on);
  std::map<uint32_t, int> primaries;
  for (const proto::StoredShard& shard : stored.shards()) {
    ++primaries[shard.members(0)];
  }
  std::optional<Move> best;
  int most = 1;  // a move must gain something
  for (const proto::StoredShard& shard : stored.shards()) {
    for (const uint32_t member : shard.members()) {
      const int gain = primaries[shard.members(0)] - primaries[member];
      if (gain <= most || !IsPlaced(shard, member)) continue;
      most = gain;
      best = Move{shard.shard(), member};
    }
  }
  return best;
}

}  // namespace whale::control

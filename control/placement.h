// Which server should lead which shard, when servers have come and gone.
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_PLACEMENT_H_
#define WHALE_CONTROL_PLACEMENT_H_

#include <cstdint>
#include <optional>

#include "proto/control.pb.h"

namespace whale::control {

struct Move {
  uint32_t shard = 0;
  uint32_t to = 0;  // a member that should lead it
  bool operator==(const Move&) const = default;
};

// The next change of a primary that spreads primaries more evenly over the
// servers, or, with `primaries_on` not 0, brings one more to that server; none:
// they are where they should be.
std::optional<Move> NextMove(const proto::StoredState& stored,
                             uint32_t primaries_on);

}  // namespace whale::control

#endif  // WHALE_CONTROL_PLACEMENT_H_

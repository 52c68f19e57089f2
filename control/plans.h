// What operators may ask of a running cluster: which servers it has, and which
// shards they shall hold.
//
// Each request only changes the plan in the stored state, as a whole or not at
// all; the shards' machines (change.h) then carry it out: a replica comes
// before another one goes. Asked again, a request changes nothing more.
//
// Thread-safety: pure functions. Errors of all: kInvalidArgument: the request
// makes no sense; kNotFound: no such server or shard; kFailedPrecondition: the
// cluster cannot do without, or is not as the request supposes. `state` is as
// it was then. Otherwise the answer for the operator.
#ifndef WHALE_CONTROL_PLANS_H_
#define WHALE_CONTROL_PLANS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace whale::control {

inline constexpr uint32_t kMaxServers = 256;

// It may join, and gets its share of the shards. Of a server that was drained
// or is being removed: it stays.
absl::StatusOr<std::string> PlanAddServer(const proto::ServerRequest& request,
                                          proto::StoredState* state);
// Its shards go to others.
absl::StatusOr<std::string> PlanDrain(const proto::ServerRequest& request,
                                      proto::StoredState* state);
// The same, and then it is not in the cluster any more; it may be away.
absl::StatusOr<std::string> PlanRemoveServer(
    const proto::ServerRequest& request, proto::StoredState* state);
// All its shards go to one other server, which joins if it has not yet; then it
// is not in the cluster any more; it may be away.
absl::StatusOr<std::string> PlanReplaceServer(
    const proto::ReplaceServerRequest& request, proto::StoredState* state);
absl::StatusOr<std::string> PlanMoveShard(
    const proto::MoveShardRequest& request, proto::StoredState* state);

// What is done of the plan: a server on its way out that holds nothing, not
// even values that others may lack, and shall not, is out. True if there was
// one. REQUIRES: all shards serve in their stored configurations.
bool FinishRemovals(proto::StoredState* state);

}  // namespace whale::control

#endif  // WHALE_CONTROL_PLANS_H_

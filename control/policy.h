// The replication policy: its defaults for a new cluster, and what makes
// sense.
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_POLICY_H_
#define WHALE_CONTROL_POLICY_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "control/options.h"
#include "proto/control.pb.h"

namespace whale::control {

// Records up to this size go by value to every backup, unless told otherwise.
uint64_t DefaultByValueMaxBytes(std::string_view fabric);

// The policy of a new cluster on `fabric`. REQUIRES: CheckOptions(options).
proto::Policy PolicyOf(const ClusterOptions& options, std::string_view fabric);

// kInvalidArgument names the option and its bounds.
absl::Status CheckOptions(const ClusterOptions& options);
absl::Status CheckPolicy(const proto::Policy& policy, uint32_t replicas);

// `wanted` with zeros that make no sense (window, leases, copies, min_replicas)
// taken from `current`.
proto::Policy Completed(const proto::Policy& wanted,
                        const proto::Policy& current);

// All but the limit of copies, which is no matter of configurations.
bool SamePolicy(const proto::Policy& a, const proto::Policy& b);

}  // namespace whale::control

#endif  // WHALE_CONTROL_POLICY_H_

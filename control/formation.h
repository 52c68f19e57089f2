// A new cluster: when it can be formed, and its first stored state (epoch 1 of
// every shard).
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_FORMATION_H_
#define WHALE_CONTROL_FORMATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "control/options.h"
#include "control/registry.h"
#include "proto/control.pb.h"

namespace whale::control {

// What a cluster that shall be formed still waits for; empty: nothing.
std::string WhyNotFormed(const ClusterOptions& options,
                         const Registry& registry, int64_t silence_ns,
                         int64_t now_ns);

// Members of shard `shard` in order: servers 1 to `replicas`, rotated so that
// primaries are spread evenly, or all on one server.
std::vector<uint32_t> FirstMembers(const ClusterOptions& options,
                                   uint32_t shard);

// REQUIRES: WhyNotFormed() is empty.
proto::StoredState FirstState(const CoreOptions& options,
                              const Registry& registry);

}  // namespace whale::control

#endif  // WHALE_CONTROL_FORMATION_H_

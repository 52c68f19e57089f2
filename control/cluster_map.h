// What clients and operators are told of the cluster.
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_CLUSTER_MAP_H_
#define WHALE_CONTROL_CLUSTER_MAP_H_

#include <string>
#include <vector>

#include "control/change.h"
#include "control/registry.h"
#include "proto/control.pb.h"

namespace whale::control {

// Fills in the servers of the map.
void AddServers(const Registry& registry, int64_t silence_ns, int64_t now_ns,
                proto::ClusterMap* map);

// What the memory of all servers together survives: the least of "process",
// "os" and "power"; empty without servers.
std::string WeakestSurvival(const Registry& registry);

// Fills in the reports, their ages and the promise of the status.
void AddReports(const Registry& registry, int64_t now_ns,
                proto::ClusterStatus* status);

// Adds what is missing in shards, as the status has it, to its warnings.
void WarnOfMissing(proto::ClusterStatus* status);

// What an operator should look at: servers away or unable, damage, shards
// that do not serve, options that do not fit the stored cluster.
std::vector<std::string> Warnings(const Registry& registry,
                                  const ClusterOptions& options,
                                  const proto::StoredState* stored,
                                  const proto::ClusterMap& map,
                                  int64_t silence_ns, int64_t now_ns);

}  // namespace whale::control

#endif  // WHALE_CONTROL_CLUSTER_MAP_H_

// Are the logs of a cluster's replicas the same, byte for byte?
#ifndef WHALE_TOOLS_POOL_COMPARE_H_
#define WHALE_TOOLS_POOL_COMPARE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace whale::tools {

// Compares, for each shard, the logs of all its members below the commit
// watermark that `status` gives for its primary; pads by their headers only.
// `pools`: the file of each server. REQUIRES: nobody writes meanwhile. Returns
// the bytes compared, of one replica. Errors: kDataLoss (where they differ, or
// a log is not whole), kNotFound (no file for a member), as PoolView.
absl::StatusOr<uint64_t> ComparePools(
    const std::map<uint32_t, std::string>& pools,
    const proto::ClusterStatus& status);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_POOL_COMPARE_H_

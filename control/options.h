// What the operator asks of a coordinator, and of a cluster that does not
// exist yet. A cluster that exists is what the configuration store says.
//
// Thread-safety: plain values.
#ifndef WHALE_CONTROL_OPTIONS_H_
#define WHALE_CONTROL_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

namespace whale::control {

inline constexpr uint64_t kMinSegmentBytes = 8 << 20;

// The cluster that is formed when `replicas` servers with empty pools, ids 1
// to `replicas`, have registered.
struct ClusterOptions {
  uint32_t replicas = 3;
  uint32_t shard_count = 8;
  uint64_t segment_bytes = 0;  // 0: what the servers' pools have
  // Smaller than the default only in simulated clusters.
  uint64_t min_segment_bytes = kMinSegmentBytes;
  uint32_t primaries_on = 0;  // 0: spread evenly; else all on this server

  uint32_t mirrors = 1;                        // clamped to replicas - 1
  std::optional<uint64_t> by_value_max_bytes;  // none: by the fabric
  uint64_t window_bytes = 64 << 20;
  uint64_t lease_us = 2'000'000;
  uint64_t session_lease_us = 60'000'000;
  uint64_t copy_bytes_per_second = 256 << 20;
  std::optional<uint32_t> min_replicas;  // none: 2 when replicas >= 3, else 1
};

struct CoreOptions {
  ClusterOptions cluster;
  // 16 bytes, used if a cluster is formed.
  std::string new_cluster_uuid;
  // How long a live server may take to acknowledge a stop before the others
  // revoke what it may still use.
  int64_t stop_timeout_ns = 500'000'000;
  // A hint about a dead connection that persists is acted upon again after
  // this time.
  int64_t hint_pause_ns = 1'000'000'000;
  // So long after a coordinator began, a server from which it has not heard yet
  // may still be on its way back to it.
  int64_t register_grace_ns = 2'000'000'000;
  // Between two shards whose primary is moved to spread them evenly.
  int64_t spread_pause_ns = 2'000'000'000;
  std::string description;  // version and store, for status
};

inline constexpr uint64_t kMinLeaseUs = 100'000;
inline constexpr uint64_t kMaxLeaseUs = 60'000'000;
inline constexpr uint64_t kMinSessionLeaseUs = 100'000;
inline constexpr uint64_t kMinCopyBytesPerSecond = 64 << 10;
inline constexpr uint64_t kMinWindowBytes = 64 << 10;
inline constexpr uint32_t kMaxReplicas = 16;
inline constexpr uint32_t kMaxShards = 4096;
// Session ids are made durable in blocks of this size.
inline constexpr uint64_t kSessionBlock = 1000;

}  // namespace whale::control

#endif  // WHALE_CONTROL_OPTIONS_H_

#include "control/policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace whale::control {

uint64_t DefaultByValueMaxBytes(std::string_view fabric) {
  return fabric == "verbs" ? 256 : 4096;
}

proto::Policy PolicyOf(const ClusterOptions& options, std::string_view fabric) {
  proto::Policy policy;
  policy.set_mirrors(std::min(options.mirrors, options.replicas - 1));
  policy.set_by_value_max_bytes(
      options.by_value_max_bytes.value_or(DefaultByValueMaxBytes(fabric)));
  policy.set_window_bytes(options.window_bytes);
  policy.set_lease_us(options.lease_us);
  policy.set_session_lease_us(options.session_lease_us);
  policy.set_copy_bytes_per_second(options.copy_bytes_per_second);
  policy.set_min_replicas(
      options.min_replicas.value_or(options.replicas >= 3 ? 2 : 1));
  return policy;
}

absl::Status CheckOptions(const ClusterOptions& options) {
  if (options.replicas < 1 || options.replicas > kMaxReplicas) {
    return absl::InvalidArgumentError(
        absl::StrCat("replicas is ", options.replicas,
                     "; it must be from 1 to ", kMaxReplicas));
  }
  if (options.shard_count < 1 || options.shard_count > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard count is ", options.shard_count,
                     "; it must be from 1 to ", kMaxShards));
  }
  if (options.segment_bytes != 0 && options.segment_bytes < kMinSegmentBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("segments of ", options.segment_bytes,
                     " bytes are too small; at least ", kMinSegmentBytes));
  }
  if (options.primaries_on > options.replicas) {
    return absl::InvalidArgumentError(
        absl::StrCat("primaries shall be on server ", options.primaries_on,
                     ", but the servers are 1 to ", options.replicas));
  }
  return CheckPolicy(PolicyOf(options, "shm"), options.replicas);
}

absl::Status CheckPolicy(const proto::Policy& policy, uint32_t replicas) {
  if (policy.mirrors() >= replicas) {
    return absl::InvalidArgumentError(
        absl::StrCat("mirrors is ", policy.mirrors(), "; with ", replicas,
                     " replicas it must be less than ", replicas));
  }
  if (policy.lease_us() < kMinLeaseUs || policy.lease_us() > kMaxLeaseUs) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease is ", policy.lease_us(), " us; it must be from ",
                     kMinLeaseUs, " (100 ms) to ", kMaxLeaseUs, " (60 s)"));
  }
  if (policy.session_lease_us() < kMinSessionLeaseUs) {
    return absl::InvalidArgumentError(absl::StrCat(
        "session lease is ", policy.session_lease_us(),
        " us; it must be at least ", kMinSessionLeaseUs, " (100 ms)"));
  }
  if (policy.window_bytes() < kMinWindowBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("window is ", policy.window_bytes(),
                     " bytes; it must be at least ", kMinWindowBytes));
  }
  if (policy.copy_bytes_per_second() < kMinCopyBytesPerSecond) {
    return absl::InvalidArgumentError(absl::StrCat(
        "copies are limited to ", policy.copy_bytes_per_second(),
        " bytes per second; it must be at least ", kMinCopyBytesPerSecond));
  }
  if (policy.min_replicas() < 1 || policy.min_replicas() > replicas) {
    return absl::InvalidArgumentError(
        absl::StrCat("min_replicas is ", policy.min_replicas(),
                     "; it must be from 1 to ", replicas));
  }
  return absl::OkStatus();
}

proto::Policy Completed(const proto::Policy& wanted,
                        const proto::Policy& current) {
  proto::Policy policy = wanted;
  if (policy.window_bytes() == 0) {
    policy.set_window_bytes(current.window_bytes());
  }
  if (policy.lease_us() == 0) policy.set_lease_us(current.lease_us());
  if (policy.session_lease_us() == 0) {
    policy.set_session_lease_us(current.session_lease_us());
  }
  if (policy.copy_bytes_per_second() == 0) {
    policy.set_copy_bytes_per_second(current.copy_bytes_per_second());
  }
  if (policy.min_replicas() == 0) {
    policy.set_min_replicas(current.min_replicas());
  }
  return policy;
}

bool SamePolicy(const proto::Policy& a, const proto::Policy& b) {
  return a.mirrors() == b.mirrors() &&
         a.by_value_max_bytes() == b.by_value_max_bytes() &&
         a.window_bytes() == b.window_bytes() && a.lease_us() == b.lease_us() &&
         a.session_lease_us() == b.session_lease_us() &&
         a.min_replicas() == b.min_replicas();
}

}  // namespace whale::control

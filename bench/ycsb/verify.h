// After a run: are all replicas the same?
//
// Two questions, each by itself: has every replica caught up (by status), and
// does every replica serve the same, whole value for a sample of records (by
// reads). Whether the logs are byte-identical is asked of the pools' files
// (tools/pool_compare.h), where they are on this machine.
#ifndef WHALE_BENCH_YCSB_VERIFY_H_
#define WHALE_BENCH_YCSB_VERIFY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control/cluster_client.h"
#include "proto/control.pb.h"
#include "whale/client.h"

namespace whale::bench::ycsb {

// Waits until all members of all shards say, in reports made after the call,
// that they have announced, committed and applied the same. Errors:
// kDeadlineExceeded, naming who is behind; as GetStatus.
absl::StatusOr<proto::ClusterStatus> WaitUntilReplicated(
    control::ClusterClient* coordinators, absl::Duration timeout);

// Reads `samples` of records 0 .. records - 1 at every server of `status` that
// holds them. Returns how many reads were compared. Errors: kDataLoss (two
// replicas differ, or a value is not one of the workload's), what a read said.
absl::StatusOr<uint64_t> CompareReads(const ClientOptions& options,
                                      const proto::ClusterStatus& status,
                                      uint64_t records, uint64_t samples,
                                      uint64_t value_bytes);

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_VERIFY_H_

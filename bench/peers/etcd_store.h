// The workload's store on etcd: puts and linearizable gets by gRPC, as many in
// flight as are handed over, on one connection to one member.
//
// Thread-safety: none; one per thread.
#ifndef WHALE_BENCH_PEERS_ETCD_STORE_H_
#define WHALE_BENCH_PEERS_ETCD_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/ycsb/store.h"

namespace whale::bench::peers {

// `address`: HOST:PORT of a member. Errors: kUnavailable (nobody there).
absl::StatusOr<std::unique_ptr<ycsb::Store>> OpenEtcdStore(
    const std::string& address);

}  // namespace whale::bench::peers

#endif  // WHALE_BENCH_PEERS_ETCD_STORE_H_

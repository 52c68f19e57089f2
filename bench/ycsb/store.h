// The boundary between the workload and what it is run against: YCSB's "DB".
//
// Asynchronous, so that one thread can keep many operations in flight. The
// harness runs on the cluster's client (client_store.h) and, in tests, on a
// map in memory.
//
// Thread-safety: none; one store per thread. Ordering: callbacks run inside
// Poll, in any order.
#ifndef WHALE_BENCH_YCSB_STORE_H_
#define WHALE_BENCH_YCSB_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::bench::ycsb {

class Store {
 public:
  using ReadDone = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  using WriteDone = absl::AnyInvocable<void(absl::Status)>;

  virtual ~Store() = default;
  // kNotFound is an answer; other errors are failures of the store.
  virtual void Read(std::string_view key, ReadDone done) = 0;
  // `key` and `value` need not outlive the call.
  virtual void Write(std::string_view key, std::string_view value,
                     WriteDone done) = 0;
  // Runs the callbacks of what has finished; may give the processor away for
  // up to `wait_ns` when nothing has. Returns how many ran.
  virtual size_t Poll(int64_t wait_ns) = 0;
};

// Opens the store of one thread; called from that thread.
using StoreFactory =
    std::function<absl::StatusOr<std::unique_ptr<Store>>(int thread)>;

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_STORE_H_

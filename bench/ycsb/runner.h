// The two phases of a YCSB run: loading the records and running operations on
// them, with any number of threads and of operations in flight per thread.
//
// Latency is counted from handing an operation to the store until its callback
// runs; with a rate, from the time at which the operation was due, so that a
// store that stalls is charged for all that had to wait (no coordinated
// omission). A read-modify-write counts as one, and its read and its update as
// well, as in YCSB.
#ifndef WHALE_BENCH_YCSB_RUNNER_H_
#define WHALE_BENCH_YCSB_RUNNER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/histogram.h"
#include "bench/monotonic.h"
#include "bench/ycsb/store.h"
#include "bench/ycsb/workload.h"

namespace whale::bench::ycsb {

enum class Phase : uint8_t { kLoad, kRun };

struct RunOptions {
  Workload workload;
  uint64_t records = 0;
  uint64_t operations = 0;  // of the run phase
  uint32_t threads = 1;
  uint32_t pipeline = 1;  // operations in flight per thread
  uint64_t value_bytes = 1000;
  uint64_t seed = 1;
  // Operations per second of the run phase, over all threads and processes;
  // 0: a closed loop, as fast as it goes.
  double rate = 0;
  // The run phase begins with this much unmeasured time.
  int64_t warmup_ns = 0;
  int64_t interval_ns = 1'000'000'000;  // of the time series
  // This process of so many: it does its share of the operations.
  uint32_t process = 0;
  uint32_t processes = 1;
  std::vector<int> pin_cpus;  // thread i of all runs on pin_cpus[i % size]
  // A thread gives up after so many failures in a row.
  uint32_t max_failures_in_a_row = 100;
};

struct OperationStats {
  Histogram latency_ns;  // of those that succeeded or were not found
  uint64_t ok = 0;
  uint64_t not_found = 0;
  uint64_t failed = 0;
  uint64_t wrong_value = 0;  // reads whose bytes are no value of that record

  void Merge(const OperationStats& other);
};

struct PhaseResult {
  Phase phase = Phase::kRun;
  int64_t elapsed_ns = 0;
  uint64_t operations = 0;  // as counted for throughput
  std::array<OperationStats, kOperationKinds> kinds;
  // Failures by status code and what the first of each said.
  std::map<std::string, std::string> errors;
  bool gave_up = false;
  std::deque<Histogram> series;  // by interval, latencies of all operations

  // Adds what another thread or process did at the same time.
  void Merge(const PhaseResult& other);
  const OperationStats& of(OperationKind kind) const {
    return kinds[static_cast<int>(kind)];
  }
  uint64_t failures() const;
  double throughput() const;
};

struct Progress {
  Phase phase;
  int64_t elapsed_ns;
  uint64_t operations;         // so far
  uint64_t recent_operations;  // since the last report
  int64_t recent_ns;
  uint64_t total;
};

// Runs one phase. `report` is called once a second, from this thread; false
// ends the phase early.
// `sequence` says which records there are (kRun) and is advanced by inserts.
// `start` is called when all stores are open; it says when, on MonotonicNs, to
// begin, and may wait for others to be ready.
// Errors: what opening a store said; kCancelled (by `report`). Failures of
// single operations are counted instead.
absl::StatusOr<PhaseResult> RunPhase(
    Phase phase, const RunOptions& options, const StoreFactory& open,
    InsertSequence* sequence,
    const std::function<bool(const Progress&)>& report,
    const std::function<int64_t()>& start = MonotonicNs);

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_RUNNER_H_

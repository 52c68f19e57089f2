// One thread of a YCSB phase: keeps its operations in flight and counts them.
//
// Thread-safety: none but done(), which any thread may read.
#ifndef WHALE_BENCH_YCSB_WORKER_H_
#define WHALE_BENCH_YCSB_WORKER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "bench/ycsb/runner.h"
#include "bench/ycsb/store.h"
#include "bench/ycsb/values.h"
#include "bench/ycsb/workload.h"
#include "common/prng.h"

namespace whale::bench::ycsb {

class Worker {
 public:
  // Does operations `first`, `first + step` ... below `total`: records when
  // loading. `sequence`, `store` and `cancel` outlive it.
  struct Share {
    uint64_t first = 0;
    uint64_t step = 1;
    uint64_t total = 0;
  };
  Worker(Phase phase, const RunOptions& options, const Share& share,
         InsertSequence* sequence, Store* store, std::atomic<bool>* cancel);

  // Begins at `start_ns`, with the warm-up. Returns when its share is done, or
  // it gave up, or `cancel` was set.
  void Run(int64_t start_ns);

  uint64_t done() const { return done_.load(std::memory_order_relaxed); }
  const PhaseResult& result() const { return result_; }

 private:
  struct Slot {
    OperationKind kind;
    uint64_t record;  // as the insert sequence counts
    uint64_t number;
    int64_t start_ns;  // of the operation: when it was due, if there is a rate
    int64_t half_ns;   // of a read-modify-write's write
  };

  void Stage(int64_t start_ns, int64_t end_ns);
  bool More() const;
  int64_t DueNs() const;
  void StartDue();
  void Wait();
  void Start(uint32_t slot, int64_t start_ns);
  void StartRead(uint32_t slot);
  void StartWrite(uint32_t slot);
  void OnRead(uint32_t slot, const absl::StatusOr<std::string>& value);
  void OnWritten(uint32_t slot, const absl::Status& status);
  // Counts one outcome under `kind`; returns whether it succeeded.
  bool Count(OperationKind kind, const absl::Status& status, int64_t start_ns);
  void Record(const Slot& slot);
  void Finish(uint32_t slot);

  const Phase phase_;
  const RunOptions& options_;
  InsertSequence* const sequence_;
  Store* const store_;
  std::atomic<bool>* const cancel_;

  const Share share_;
  const bool open_loop_;
  uint64_t next_ = 0;
  int64_t stage_start_ns_ = 0;
  int64_t stage_end_ns_ = 0;  // of the warm-up; INT64_MAX: by operations
  std::optional<Chooser> chooser_;
  Prng stamps_;
  Values values_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  uint32_t failures_in_a_row_ = 0;
  int64_t finished_ns_ = 0;  // the operation counted last
  std::atomic<uint64_t> done_{0};
  PhaseResult result_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_WORKER_H_

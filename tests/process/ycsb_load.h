// YCSB's workload A on a cluster, run as `whale bench ycsb` runs it, by the
// same harness, with the clients in this process; and what they were told.
//
// Thread-safety: none; its clients have threads of their own.
#ifndef WHALE_TESTS_PROCESS_YCSB_LOAD_H_
#define WHALE_TESTS_PROCESS_YCSB_LOAD_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "bench/ycsb/runner.h"
#include "tests/process/cluster_fixture.h"

namespace whale::process_test {

class YcsbLoad {
 public:
  static constexpr uint64_t kRecords = 1000;

  explicit YcsbLoad(const Cluster* cluster);
  ~YcsbLoad();
  YcsbLoad(const YcsbLoad&) = delete;
  YcsbLoad& operator=(const YcsbLoad&) = delete;

  // Loads the records, then goes on with the run phase by itself. Fails the
  // test if a record cannot be loaded.
  void Start();
  // Writes so far.
  uint64_t acknowledged() const { return acknowledged_; }
  // Ends the run phase; fails the test if clients had given up.
  void Stop();
  // Reads every record at every replica; then what every checker says to the
  // history of all this.
  void Check() const;

 private:
  absl::StatusOr<bench::ycsb::PhaseResult> RunPhase(bench::ycsb::Phase phase);
  std::string HistoryPath(int number) const;

  const Cluster* const cluster_;
  bench::ycsb::RunOptions options_;
  bench::ycsb::InsertSequence sequence_{kRecords};
  std::atomic<uint64_t> acknowledged_ = 0;
  std::atomic<int> histories_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread run_;
  absl::Status run_status_;  // once run_ has ended
};

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_YCSB_LOAD_H_

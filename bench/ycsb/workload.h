// YCSB's core workloads A to F: which operation comes next, and on which
// record.
//
// A record is one key and one value; an update writes the whole value (YCSB's
// writeallfields=true). E needs scans, which this store does not have; W, all
// updates, is not YCSB's.
//
// Thread-safety: InsertSequence is safe from any thread; a Chooser belongs to
// one.
#ifndef WHALE_BENCH_YCSB_WORKLOAD_H_
#define WHALE_BENCH_YCSB_WORKLOAD_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>

#include "absl/status/statusor.h"
#include "bench/ycsb/generators.h"
#include "common/prng.h"

namespace whale::bench::ycsb {

enum class OperationKind : uint8_t {
  kRead,
  kUpdate,
  kInsert,
  kReadModifyWrite,
};
inline constexpr int kOperationKinds = 4;
// As YCSB prints it: "READ", "UPDATE", "INSERT", "READ-MODIFY-WRITE".
std::string_view OperationName(OperationKind kind);

enum class Distribution : uint8_t { kZipfian, kLatest, kUniform };
// "zipfian", "latest", "uniform".
std::string_view DistributionName(Distribution distribution);
// Errors: kInvalidArgument.
absl::StatusOr<Distribution> ParseDistribution(std::string_view name);

struct Workload {
  char letter = 'a';
  double reads = 0;
  double updates = 0;
  double inserts = 0;
  double read_modify_writes = 0;
  Distribution distribution = Distribution::kZipfian;
};

// Errors: kUnimplemented (E), kInvalidArgument (no such workload).
absl::StatusOr<Workload> WorkloadByName(std::string_view name);

// Hands out new records, and knows up to where all are stored, so that nobody
// reads a record that is still on its way.
//
// Records are counted as this process sees them: those loaded first, then its
// own. Where several processes insert they take turns in numbers, and each
// reads what it inserted itself.
class InsertSequence {
 public:
  // Records 0 .. records - 1 are there already.
  explicit InsertSequence(uint64_t records, uint32_t process = 0,
                          uint32_t processes = 1)
      : records_(records),
        process_(process),
        processes_(processes),
        next_(records),
        stored_(records) {}
  uint64_t Next() { return next_.fetch_add(1, std::memory_order_relaxed); }
  void Stored(uint64_t record);
  // All records below this one are stored.
  uint64_t stored() const { return stored_.load(std::memory_order_acquire); }
  // The number by which everybody knows a record.
  uint64_t NumberOf(uint64_t record) const {
    return record < records_
               ? record
               : records_ + (record - records_) * processes_ + process_;
  }

 private:
  const uint64_t records_;
  const uint32_t process_, processes_;
  std::atomic<uint64_t> next_;
  std::atomic<uint64_t> stored_;
  std::mutex mutex_;
  std::set<uint64_t> early_;  // stored, but something below is not; by mutex_
};

// One thread's choices. The same seed and workload give the same ones, as long
// as nobody inserts.
class Chooser {
 public:
  // `sequence` outlives the chooser; at least one record is stored.
  Chooser(const Workload& workload, InsertSequence* sequence, uint64_t seed);
  OperationKind NextKind();
  // The number of an existing record.
  uint64_t NextRecord();

 private:
  Workload workload_;
  InsertSequence* sequence_;
  Prng prng_;
  std::optional<ScrambledZipfian> zipfian_;
  std::optional<Latest> latest_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_WORKLOAD_H_

// What shared memory allows a replicated put: the copies and cache misses that
// no store can avoid, and nothing else. No index, checksum, log format, lease,
// retry or protocol.
//
// A client process writes its value into a slot of a ring, and rings. The
// primary process copies what it finds into its log, copies that stretch into
// the logs of two backups, writes each a 64-byte cell, and answers all of it
// in a ring of the client. The backups are processes, too: they look at their
// cells and at what came, as often as the cluster's servers do, so that they
// take the same processor time and pull the same cache lines.
//
// Processes, sleeping and pinning are as in `whale dev` with one client: who
// finds nothing spins for a while and then sleeps; backups, whom one-sided
// writes do not wake, look up once a millisecond.
//
// Thread-safety: each function belongs to one process. Ownership: all memory
// is one anonymous shared mapping that outlives the processes.
#ifndef WHALE_BENCH_FLOOR_FLOOR_H_
#define WHALE_BENCH_FLOOR_FLOOR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/floor/doorbell.h"
#include "bench/ycsb/runner.h"
#include "common/adaptive_spin.h"

namespace whale::bench::floor {

enum class Backups : uint8_t {
  kSleep,  // as the cluster's: spin after news, then look once a millisecond
  kPoll,   // never sleep
  kNone,   // nobody looks at the backups' memory
};

struct FloorOptions {
  uint64_t operations = 1'000'000;
  uint64_t warmup = 10'000;  // operations before the measured ones
  uint32_t depth = 32;       // in flight
  uint64_t value_bytes = 100;
  uint32_t backups = 2;
  Backups backup_mode = Backups::kSleep;
  bool write_back = false;  // lines of all logs and cells, with one fence
  int64_t most_spin_ns = AdaptiveSpin::kMostNs;  // as `whale dev --spin`
  uint64_t log_bytes = uint64_t{256} << 20;      // each; used round and round
  std::vector<int> pin_cpus;  // client, primary, backups, in turn
};

// A slot of the request ring: this, then the value.
struct RequestSlot {
  std::atomic<uint64_t> sequence;  // 1 + its number once the value is there

  std::byte* value() { return reinterpret_cast<std::byte*>(this + 1); }
};
struct ReplySlot {
  std::atomic<uint64_t> sequence;
  uint64_t log_offset;
};
struct alignas(64) Cell {
  std::atomic<uint64_t> sequence;
  uint64_t end;  // of what is there
  uint64_t rest[6];
};

// The one shared mapping. Bases are the same in all processes.
struct Shared {
  Doorbell client, primary;
  alignas(64) std::atomic<bool> stop{false};
  Cell* cells = nullptr;  // one per backup
  std::byte* requests = nullptr;
  ReplySlot* replies = nullptr;
  std::vector<std::byte*> logs;  // the primary's first
  uint32_t ring_slots = 0;       // power of two, at least the depth
  uint64_t slot_bytes = 0;
  uint64_t record_bytes = 0;  // of a value in a log

  RequestSlot* request(uint64_t number) const {
    return reinterpret_cast<RequestSlot*>(
        requests + (number & (ring_slots - 1)) * slot_bytes);
  }
  ReplySlot* reply(uint64_t number) const {
    return replies + (number & (ring_slots - 1));
  }
};

// The processes. RunPrimary and RunBackup return after `stop`.
void RunPrimary(const FloorOptions& options, Shared* shared);
void RunBackup(const FloorOptions& options, Shared* shared, uint32_t index);
ycsb::PhaseResult RunClient(const FloorOptions& options, Shared* shared);

// Maps the memory, starts the processes, measures, ends them.
// Errors: kResourceExhausted (memory, processes).
absl::StatusOr<ycsb::PhaseResult> RunFloor(const FloorOptions& options);

}  // namespace whale::bench::floor

#endif  // WHALE_BENCH_FLOOR_FLOOR_H_

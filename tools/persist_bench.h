// What it costs to make a write durable in another's memory, by each method:
// the two ends of `whale bench persist`.
//
// The owner of the memory grants some slots of it; the writer writes them, one
// at a time for the latency and a window of them for the rate. As in Wei et
// al., ATC 2021, and Kalia et al., SoCC 2020.
//
// Thread-safety: one thread per end. Ownership: borrows fabric and memory.
#ifndef WHALE_TOOLS_PERSIST_BENCH_H_
#define WHALE_TOOLS_PERSIST_BENCH_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/fabric.h"

namespace whale::tools {

inline constexpr uint32_t kPersistSlots = 16;  // and the most in flight
inline constexpr uint32_t kPersistSlotBytes = 64 * 1024;
inline constexpr size_t kPersistMemoryBytes =
    size_t{kPersistSlots} * kPersistSlotBytes;

enum class PersistMethod : uint8_t {
  kWrite,          // proves nothing; the floor
  kWriteThenRead,  // two round trips
  kWriteRead,      // one doorbell
  kWriteImm,       // WRITE_WITH_IMM, the owner persists and answers
  kSend,           // SEND, the owner copies, persists and answers
  kFlush,          // WRITE and the connection's remote flush
};
std::string_view PersistMethodName(PersistMethod method);

// The owner's end: serves whoever connects until `stop`.
absl::Status RunPersistOwner(
    fabric::Fabric* fabric, const fabric::Memory& memory,
    const std::function<void(const std::byte*, size_t)>& persist,
    const std::atomic<bool>& stop);

struct PersistResult {
  PersistMethod method = PersistMethod::kWrite;
  uint32_t bytes = 0;
  double p50_us = 0;
  double p99_us = 0;
  double per_second = 0;  // with a window of kPersistSlots
};

class PersistWriter {
 public:
  // Connects to an owner. kUnavailable: there is none.
  static absl::StatusOr<PersistWriter> Connect(fabric::Fabric* fabric,
                                               const std::string& address,
                                               const fabric::Memory& source);

  // How this connection flushes.
  fabric::FlushMethod flush() const { return fabric_->flush_method(link_); }
  // Whether a method can do so many bytes.
  static bool Can(PersistMethod method, uint32_t bytes);
  absl::StatusOr<PersistResult> Measure(PersistMethod method, uint32_t bytes,
                                        uint32_t count);

 private:
  PersistWriter(fabric::Fabric* fabric, const fabric::Memory& source)
      : fabric_(fabric), source_(source) {}
  // Runs `count` writes, `window` at a time; latencies in ns.
  absl::StatusOr<std::vector<int64_t>> Run(PersistMethod method, uint32_t bytes,
                                           uint32_t count, uint32_t window);
  absl::Status Begin(PersistMethod method, uint32_t bytes, uint32_t slot);
  absl::Status Post(std::span<const fabric::WorkRequest> requests);
  fabric::WorkRequest Request(fabric::Opcode opcode, uint32_t bytes,
                              uint32_t slot) const;
  absl::Status SendCopy(uint32_t bytes, uint32_t slot);

  fabric::Fabric* fabric_;
  fabric::Memory source_;
  fabric::ConnectionId link_;
  fabric::Grant grant_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_PERSIST_BENCH_H_

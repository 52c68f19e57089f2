// The boundary to persistent memory: what a store must do to survive.
//
// `process` domains survive a crash of the process only (shared memory, tmpfs,
// page cache): persist is a no-op. `power` domains survive loss of power:
// cache lines are written back and fenced. After a crash each aligned 8-byte
// word not covered by a finished persist holds its old or its new value;
// nothing larger is atomic.
//
// Thread-safety: implementations are safe to call from any thread on disjoint
// ranges. Ordering: WriteBack starts, Fence waits; a batch has one fence.
#ifndef WHALE_PMEM_DOMAIN_H_
#define WHALE_PMEM_DOMAIN_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace whale::pmem {

// What the memory survives, weakest first. A cluster promises the weakest of
// its members'.
enum class Survives : uint8_t { kProcess, kOs, kPower };
std::string_view SurvivesName(Survives survives);  // "process", "os", "power"

class PersistenceDomain {
 public:
  virtual ~PersistenceDomain() = default;
  virtual std::string_view name() const = 0;  // "shm", "pmem", "sim"
  virtual Survives survives() const = 0;
  // True where WriteBack and Fence do nothing: callers may skip both.
  virtual bool persist_is_free() const = 0;
  // Starts writing [data, data + length) back.
  virtual void WriteBack(const void* data, size_t length_bytes) = 0;
  // Returns once all earlier WriteBacks of this thread are durable.
  virtual void Fence() = 0;

  void Persist(const void* data, size_t length_bytes) {
    WriteBack(data, length_bytes);
    Fence();
  }
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_DOMAIN_H_

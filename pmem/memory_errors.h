// What to say when memory under a pool turns out to be damaged.
//
// A damaged line raises SIGBUS in whoever loads it, at any time. Nothing can be
// done about it then, but the operator must learn which file it was, and where:
// the handler says so, and the process dies of the signal as it would have.
//
// Thread-safety: safe from any thread.
#ifndef WHALE_PMEM_MEMORY_ERRORS_H_
#define WHALE_PMEM_MEMORY_ERRORS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace whale::pmem {

// kDataLoss: [offset, +bytes) of `path` is damaged, and what to do about it.
absl::Status DamagedMemory(const std::string& path, uint64_t offset,
                           uint64_t bytes);

// Names a mapping in what SIGBUS says, as long as it lives.
class NamedMapping {
 public:
  NamedMapping() = default;
  // `path` must outlive it. With more than 16 at a time the rest go unnamed.
  NamedMapping(const std::byte* base, uint64_t bytes, const char* path);
  ~NamedMapping();
  NamedMapping(NamedMapping&& other) noexcept;
  NamedMapping& operator=(NamedMapping&& other) noexcept;

 private:
  int place_ = -1;
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_MEMORY_ERRORS_H_

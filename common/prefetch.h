// Starts fetching a cache line without waiting for it.
//
// Not __builtin_prefetch alone: GCC takes a function that does nothing else for
// one without effects and drops the calls of it. The empty asm is an effect,
// and costs no instruction.
#ifndef WHALE_COMMON_PREFETCH_H_
#define WHALE_COMMON_PREFETCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace whale {

inline void Prefetch(const void* line) {
  __builtin_prefetch(line);
  asm volatile("");
}

// The same for what will be written next, behind what was written just now: a
// store to a line that is far away holds up whatever waits for all stores
// before it. No more than 2 KiB; never faults, also beyond the end of memory.
inline void PrefetchForWrite(const void* from, size_t length_bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(from);
  const uintptr_t end = begin + std::min<size_t>(length_bytes, 2048);
  for (uintptr_t line = begin; line < end; line += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), 1);
  }
  asm volatile("");
}

}  // namespace whale

#endif  // WHALE_COMMON_PREFETCH_H_

// Starts fetching a cache line without waiting for it.
//
// Not __builtin_prefetch alone: GCC takes a function that does nothing else for
// one without effects and drops the calls of it. The empty asm is an effect,
// and costs no instruction.
#ifndef WHALE_COMMON_PREFETCH_H_
#define WHALE_COMMON_PREFETCH_H_

namespace whale {

inline void Prefetch(const void* line) {
  __builtin_prefetch(line);
  asm volatile("");
}

}  // namespace whale

#endif  // WHALE_COMMON_PREFETCH_H_

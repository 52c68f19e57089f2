// How bytes get into and out of memory that others look at meanwhile.
//
// Small aligned copies are 8-byte words, each stored with release in the order
// of addresses: a reader that sees a later word sees the earlier ones, and no
// word is torn. Larger ones are plain copies, in no order within.
#ifndef WHALE_FABRIC_SHM_COPY_H_
#define WHALE_FABRIC_SHM_COPY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace whale::fabric::shm {

inline constexpr size_t kWordCopyMaxBytes = 64;

inline bool IsWordCopy(const void* shared, size_t length_bytes) {
  return length_bytes <= kWordCopyMaxBytes && length_bytes % 8 == 0 &&
         reinterpret_cast<uintptr_t>(shared) % 8 == 0;
}

inline void CopyIn(std::byte* shared, const void* from, size_t length_bytes) {
  if (IsWordCopy(shared, length_bytes)) {
    for (size_t i = 0; i < length_bytes; i += 8) {
      uint64_t word;
      std::memcpy(&word, static_cast<const std::byte*>(from) + i, 8);
      __atomic_store_n(reinterpret_cast<uint64_t*>(shared + i), word,
                       __ATOMIC_RELEASE);
    }
    return;
  }
  std::atomic_thread_fence(std::memory_order_release);
  std::memcpy(shared, from, length_bytes);
  std::atomic_thread_fence(std::memory_order_release);
}

inline void CopyOut(void* to, const std::byte* shared, size_t length_bytes) {
  if (IsWordCopy(shared, length_bytes)) {
    for (size_t i = 0; i < length_bytes; i += 8) {
      const uint64_t word = __atomic_load_n(
          reinterpret_cast<const uint64_t*>(shared + i), __ATOMIC_ACQUIRE);
      std::memcpy(static_cast<std::byte*>(to) + i, &word, 8);
    }
    return;
  }
  std::memcpy(to, shared, length_bytes);
  std::atomic_thread_fence(std::memory_order_acquire);
}

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_COPY_H_

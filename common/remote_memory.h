// The one way to read memory that others write (peers, by one-sided WRITE;
// other processes): word by word, atomically.
//
// No multi-byte write is assumed atomic: what is read this way is a set of
// 8-byte words, each old or new, and must check itself (checksum) before it
// is believed. The compiler may neither repeat nor invent a read.
//
// Thread-safety: that is the point. Ordering: an acquire fence follows the
// reads, so that what the writer wrote before the words is visible after.
#ifndef WHALE_COMMON_REMOTE_MEMORY_H_
#define WHALE_COMMON_REMOTE_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace whale {

// REQUIRES: `word` is 8-byte aligned.
inline uint64_t LoadRemoteWord(const void* word) {
  return __atomic_load_n(static_cast<const uint64_t*>(word), __ATOMIC_ACQUIRE);
}

// REQUIRES: `word` is 8-byte aligned.
inline void StoreSharedWord(void* word, uint64_t value) {
  __atomic_store_n(static_cast<uint64_t*>(word), value, __ATOMIC_RELEASE);
}

// Copies a small self-checking structure out of remotely written memory.
// REQUIRES: T is trivially copyable, a multiple of 8 bytes; `from` is 8-byte
// aligned.
template <typename T>
T LoadRemote(const void* from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
  uint64_t words[sizeof(T) / 8];
  const auto* source = static_cast<const uint64_t*>(from);
  for (size_t i = 0; i < sizeof(T) / 8; ++i) {
    words[i] = __atomic_load_n(source + i, __ATOMIC_RELAXED);
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  T result;
  std::memcpy(&result, words, sizeof(T));
  return result;
}

// The mirror of LoadRemote, for memory that others read by one-sided READ.
template <typename T>
void StoreShared(void* to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
  uint64_t words[sizeof(T) / 8];
  std::memcpy(words, &value, sizeof(T));
  std::atomic_thread_fence(std::memory_order_release);
  auto* target = static_cast<uint64_t*>(to);
  for (size_t i = 0; i < sizeof(T) / 8; ++i) {
    __atomic_store_n(target + i, words[i], __ATOMIC_RELAXED);
  }
}

}  // namespace whale

#endif  // WHALE_COMMON_REMOTE_MEMORY_H_

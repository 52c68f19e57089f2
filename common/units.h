// Byte units and limits that users rely on.
#ifndef WHALE_COMMON_UNITS_H_
#define WHALE_COMMON_UNITS_H_

#include <cstddef>
#include <cstdint>

namespace whale {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

inline constexpr size_t kMaxKeyBytes = 4 * kKiB;    // keys: 1 B .. 4 KiB
inline constexpr size_t kMaxValueBytes = 4 * kMiB;  // values: 0 B .. 4 MiB

// REQUIRES: alignment is a power of two.
constexpr uint64_t RoundUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace whale

#endif  // WHALE_COMMON_UNITS_H_

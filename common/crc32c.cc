#include "common/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace whale {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t StepPortable(uint32_t crc, uint8_t byte) {
  return (crc >> 8) ^ kTable[(crc ^ byte) & 0xff];
}

uint32_t CopyPortable(uint32_t crc, uint8_t* to, const uint8_t* from,
                      size_t length_bytes) {
  crc = ~crc;
  for (size_t i = 0; i < length_bytes; ++i) {
    const uint8_t byte = *static_cast<const volatile uint8_t*>(from + i);
    to[i] = byte;
    crc = StepPortable(crc, byte);
  }
  return ~crc;
}

#if defined(__x86_64__)

// Words at any address, of memory of any type.
typedef uint64_t __attribute__((aligned(1), may_alias)) AnyWord64;
typedef uint32_t __attribute__((aligned(1), may_alias)) AnyWord32;

const bool kHasSse42 = __builtin_cpu_supports("sse4.2") != 0;

__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc,
                                                       const uint8_t* data,
                                                       size_t length_bytes) {
  uint64_t state = ~crc;
  for (; length_bytes >= 8; data += 8, length_bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    state = _mm_crc32_u64(state, word);
  }
  auto tail = static_cast<uint32_t>(state);
  if (length_bytes >= 4) {
    uint32_t word;
    std::memcpy(&word, data, 4);
    tail = _mm_crc32_u32(tail, word);
    data += 4;
    length_bytes -= 4;
  }
  for (; length_bytes > 0; ++data, --length_bytes) {
    tail = _mm_crc32_u8(tail, *data);
  }
  return ~tail;
}

__attribute__((target("sse4.2"))) uint32_t CopySse42(uint32_t crc, uint8_t* to,
                                                     const uint8_t* from,
                                                     size_t length_bytes) {
  uint64_t state = ~crc;
  for (; length_bytes >= 8; to += 8, from += 8, length_bytes -= 8) {
    // volatile: one load, so that what is stored is what is checksummed.
    const uint64_t word = *reinterpret_cast<const volatile AnyWord64*>(from);
    std::memcpy(to, &word, 8);
    state = _mm_crc32_u64(state, word);
  }
  auto tail = static_cast<uint32_t>(state);
  if (length_bytes >= 4) {
    const uint32_t word = *reinterpret_cast<const volatile AnyWord32*>(from);
    std::memcpy(to, &word, 4);
    tail = _mm_crc32_u32(tail, word);
    to += 4;
    from += 4;
    length_bytes -= 4;
  }
  for (; length_bytes > 0; ++to, ++from, --length_bytes) {
    const uint8_t byte = *static_cast<const volatile uint8_t*>(from);
    *to = byte;
    tail = _mm_crc32_u8(tail, byte);
  }
  return ~tail;
}

#endif

}  // namespace

uint32_t ExtendCrc32cPortable(uint32_t crc, const void* data,
                              size_t length_bytes) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  crc = ~crc;
  for (size_t i = 0; i < length_bytes; ++i) crc = StepPortable(crc, bytes[i]);
  return ~crc;
}

uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t length_bytes) {
#if defined(__x86_64__)
  if (kHasSse42) {
    return ExtendSse42(crc, static_cast<const uint8_t*>(data), length_bytes);
  }
#endif
  return ExtendCrc32cPortable(crc, data, length_bytes);
}

uint32_t CopyAndExtendCrc32c(uint32_t crc, void* to, const void* from,
                             size_t length_bytes) {
#if defined(__x86_64__)
  if (kHasSse42) {
    return CopySse42(crc, static_cast<uint8_t*>(to),
                     static_cast<const uint8_t*>(from), length_bytes);
  }
#endif
  return CopyPortable(crc, static_cast<uint8_t*>(to),
                      static_cast<const uint8_t*>(from), length_bytes);
}

}  // namespace whale

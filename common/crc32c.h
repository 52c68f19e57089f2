// CRC-32C (Castagnoli), by the SSE 4.2 instruction where the processor has it
// and by table elsewhere. Both give the same values; state is the plain CRC of
// the bytes so far, starting from 0, so calls can be chained.
//
// Thread-safety: pure functions.
#ifndef WHALE_COMMON_CRC32C_H_
#define WHALE_COMMON_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace whale {

// CRC-32C of `crc`'s bytes followed by `length_bytes` bytes at `data`.
uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t length_bytes);

// Copies and checksums in one pass. Each source byte is read exactly once and
// the checksum is that of the bytes stored at `to`: the source may be memory
// that a client changes meanwhile.
uint32_t CopyAndExtendCrc32c(uint32_t crc, void* to, const void* from,
                             size_t length_bytes);

// The table version, whatever the processor (for tests of the other).
uint32_t ExtendCrc32cPortable(uint32_t crc, const void* data,
                              size_t length_bytes);

}  // namespace whale

#endif  // WHALE_COMMON_CRC32C_H_

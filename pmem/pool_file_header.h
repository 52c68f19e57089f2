// The header of a pool file: two copies, in the file's last two pages.
//
//   0            16 KiB                                -8 KiB   -4 KiB    end
//   +------------+--------------------------------------+--------+--------+
//   | fabric's   | the store (logstore/pool.h)          | header | header |
//   | guard      |                                      | copy 0 | copy 1 |
//   +------------+--------------------------------------+--------+--------+
//
// It says what the store cannot know: whether the bytes are still those that
// were written. In domain `process` the page cache may have written back any of
// them when the machine stopped; so it keeps the machine's boot id and whether
// the file was closed cleanly. Each copy is synced before the next is written.
#ifndef WHALE_PMEM_POOL_FILE_HEADER_H_
#define WHALE_PMEM_POOL_FILE_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/fabric.h"

namespace whale::pmem {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kGuardBytes = fabric::kGuardBytes;
inline constexpr uint64_t kPoolFileMagic = 0x3146'5045'4c41'4857;  // "WHALEPF1"
inline constexpr uint32_t kPoolFileVersion = 1;

enum class DomainKind : uint8_t { kShm = 1, kPmem = 2 };

struct PoolFileHeader {
  uint64_t magic;
  uint32_t format_version;
  uint32_t checksum;  // CRC-32C of the page without this field
  uint64_t generation;
  uint64_t file_bytes;
  DomainKind domain;
  uint8_t closed_cleanly;
  uint8_t zero16[2];
  uint32_t process;  // of whoever opened it last
  char boot_id[40];  // of the machine then; zeros behind
  uint8_t zero[kPageBytes - 80];
};
static_assert(sizeof(PoolFileHeader) == kPageBytes);

// Bytes of a file for a store of `store_bytes`.
uint64_t PoolFileBytes(uint64_t store_bytes);

// The newer whole copy. Errors: kDataLoss (neither is whole, or the length is
// another), kFailedPrecondition (format version), kUnavailable (I/O).
absl::StatusOr<PoolFileHeader> ReadPoolFileHeader(int fd,
                                                  const std::string& path);
// Seals `header` and writes both copies, durably; counts its generation up.
absl::Status WritePoolFileHeader(int fd, const std::string& path,
                                 PoolFileHeader* header);

// This boot of this machine; empty where the system does not say.
std::string CurrentBootId();

}  // namespace whale::pmem

#endif  // WHALE_PMEM_POOL_FILE_HEADER_H_

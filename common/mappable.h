// What can be mapped of a descriptor: files, and persistent memory as a
// character device (device-dax), which has no length, no read() and no write(),
// and is mapped in units of its alignment only.
//
// Thread-safety: safe from any thread.
#ifndef WHALE_COMMON_MAPPABLE_H_
#define WHALE_COMMON_MAPPABLE_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace whale {

struct Mappable {
  uint64_t bytes = 0;
  // Of offsets and lengths of mappings.
  uint64_t alignment = 4096;
  bool is_device_dax = false;
};

// Errors: kInvalidArgument (neither a file nor device-dax, or nothing open).
absl::StatusOr<Mappable> ExamineMappable(int fd);

// The length that a mapping of the first `bytes` must have.
inline uint64_t MappingLength(const Mappable& of, uint64_t bytes) {
  return (bytes + of.alignment - 1) / of.alignment * of.alignment;
}

}  // namespace whale

#endif  // WHALE_COMMON_MAPPABLE_H_

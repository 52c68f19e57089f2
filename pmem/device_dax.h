// Bytes of persistent memory that is a character device (device-dax), which can
// only be mapped. Each call maps what it needs and unmaps it.
//
// Thread-safety: safe on disjoint ranges. Durability: WriteDevice returns when
// the bytes are in the persistence domain.
#ifndef WHALE_PMEM_DEVICE_DAX_H_
#define WHALE_PMEM_DEVICE_DAX_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mappable.h"

namespace whale::pmem {

// Whether `path` leads to such a device, by a symbolic link too.
bool IsDeviceDax(const std::string& path);

// Errors of all: kInvalidArgument (beyond the device), kUnavailable (mmap).
absl::Status ReadDevice(int fd, const Mappable& device, uint64_t offset,
                        void* to, size_t bytes);
absl::Status WriteDevice(int fd, const Mappable& device, uint64_t offset,
                         const void* from, size_t bytes);
// Whether nobody seems to use it: its first and last MiB are zeros.
absl::StatusOr<bool> IsBlankDevice(int fd, const Mappable& device);

}  // namespace whale::pmem

#endif  // WHALE_PMEM_DEVICE_DAX_H_

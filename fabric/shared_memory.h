// Memory that can be registered with any fabric: staging buffers, the buffers
// of clients. Not for pools, which live in files.
//
// Create gives a memfd that can never shrink, with the fabric's guard in
// front, so that even a peer that trusts nobody may map it. CreatePrivate
// gives plain anonymous memory for local buffers that nobody is granted.
// Either way the kernel frees it when the last process that maps it is gone.
//
// Thread-safety: plain memory. Ownership: unmaps with the object; Deregister
// its regions first.
#ifndef WHALE_FABRIC_SHARED_MEMORY_H_
#define WHALE_FABRIC_SHARED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "fabric/fabric.h"

namespace whale::fabric {

class SharedMemory {
 public:
  // `name` shows in /proc/PID/maps only. The bytes are zero; `prefault` takes
  // the pages now rather than at the first touch of each.
  // Errors: kInvalidArgument (0 bytes), kResourceExhausted (memory,
  // descriptors).
  static absl::StatusOr<SharedMemory> Create(size_t length_bytes,
                                             const std::string& name,
                                             bool prefault = false);
  static absl::StatusOr<SharedMemory> CreatePrivate(size_t length_bytes,
                                                    bool prefault = false);

  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  std::byte* data() const { return base_ + guard_bytes_; }
  size_t size() const { return mapped_bytes_ - guard_bytes_; }
  std::span<std::byte> span() const { return {data(), size()}; }
  // What Register takes. CreatePrivate: only with an Access of nothing.
  Memory memory() const {
    return {.base = data(),
            .length_bytes = size(),
            .fd = fd_,
            .fd_offset = guard_bytes_};
  }

 private:
  std::byte* base_ = nullptr;
  size_t mapped_bytes_ = 0;
  size_t guard_bytes_ = 0;
  int fd_ = -1;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_SHARED_MEMORY_H_

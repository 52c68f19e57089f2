// Shared memory by descriptor: making it, checking what a peer handed over,
// and mapping it.
//
// What a peer hands over may be made to kill us: memory that shrinks raises
// SIGBUS in whoever touches what is gone. Memory of a client must therefore be
// a memfd on which the kernel forbids shrinking (F_SEAL_SHRINK), and no huge
// page file (whose pages may be missing). Servers may hand over pool files,
// which are never truncated while a cluster lives.
//
// Thread-safety: none. Ownership: a Mapping unmaps itself.
#ifndef WHALE_FABRIC_SHM_MAPPING_H_
#define WHALE_FABRIC_SHM_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"

namespace whale::fabric::shm {

// `what`: errno's text, for the end of a message.
absl::Status ErrnoStatus(absl::StatusCode code, const std::string& what,
                         int error);

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Maps [0, length_bytes) of `fd`, shared. `populate`: enters all pages that
  // exist into the page table now rather than one fault each later.
  // Errors: kResourceExhausted (address space), kInvalidArgument.
  static absl::StatusOr<Mapping> Map(int fd, uint64_t length_bytes,
                                     bool writable, bool populate = false);

  std::byte* base() const { return base_; }
  uint64_t length_bytes() const { return length_bytes_; }

 private:
  std::byte* base_ = nullptr;
  uint64_t length_bytes_ = 0;
};

// A memfd of `length_bytes` zeros whose size can never change again.
// Errors: kResourceExhausted (descriptors, memory).
absl::StatusOr<FileDescriptor> CreateSealedMemory(const std::string& name,
                                                  uint64_t length_bytes);

// Forbids new writable mappings; the existing ones stay writable.
absl::Status SealAgainstWriters(int fd);

// Whether `fd` is a memfd that cannot shrink.
bool IsSealedMemory(int fd);

// Whether `fd` may be mapped from 0 to `length_bytes` without risk; `file_ok`:
// from a peer that may hand over pool files.
// Errors: kInvalidArgument, says what is wrong with it.
absl::Status CheckMappable(int fd, uint64_t length_bytes, bool file_ok);

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_MAPPING_H_

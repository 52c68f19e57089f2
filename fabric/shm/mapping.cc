#include "fabric/shm/mapping.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/huge_pages.h"
#include "common/mappable.h"
#include "common/status_macros.h"

namespace whale::fabric::shm {

absl::Status ErrnoStatus(absl::StatusCode code, const std::string& what,
                         int error) {
  return absl::Status(code, absl::StrCat(what, ": ", std::strerror(error)));
}

Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      length_bytes_(std::exchange(other.length_bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(length_bytes_, other.length_bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (base_ != nullptr) munmap(base_, length_bytes_);
}

absl::StatusOr<Mapping> Mapping::Map(int fd, uint64_t length_bytes,
                                     bool writable, bool populate) {
  WHALE_ASSIGN_OR_RETURN(const Mappable mappable, ExamineMappable(fd));
  length_bytes = MappingLength(mappable, length_bytes);
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const int flags = MAP_SHARED | (populate ? MAP_POPULATE : 0);
  // A device wants its own alignment, and the kernel sees to it.
  void* base = length_bytes < kHugePageBytes || mappable.is_device_dax
                   ? mmap(nullptr, length_bytes, protection, flags, fd, 0)
                   : MapAligned(length_bytes, protection, flags, fd);
  if (base == MAP_FAILED) {
    return ErrnoStatus(errno == ENOMEM ? absl::StatusCode::kResourceExhausted
                                       : absl::StatusCode::kInvalidArgument,
                       absl::StrCat("mmap of ", length_bytes, " bytes"), errno);
  }
  Mapping mapping;
  mapping.base_ = static_cast<std::byte*>(base);
  mapping.length_bytes_ = length_bytes;
  return mapping;
}

absl::StatusOr<FileDescriptor> CreateSealedMemory(const std::string& name,
                                                  uint64_t length_bytes) {
  FileDescriptor fd(
      memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return ErrnoStatus(absl::StatusCode::kResourceExhausted, "memfd_create",
                       errno);
  }
  if (ftruncate(fd.get(), static_cast<off_t>(length_bytes)) != 0) {
    return ErrnoStatus(absl::StatusCode::kResourceExhausted,
                       absl::StrCat("memfd of ", length_bytes, " bytes"),
                       errno);
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return ErrnoStatus(absl::StatusCode::kInternal, "F_ADD_SEALS", errno);
  }
  return fd;
}

absl::Status SealAgainstWriters(int fd) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return ErrnoStatus(absl::StatusCode::kInternal,
                       "F_ADD_SEALS (needs Linux 5.1)", errno);
  }
  return absl::OkStatus();
}

bool IsSealedMemory(int fd) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return false;
  struct statfs filesystem;
  return fstatfs(fd, &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC;
}

absl::Status CheckMappable(int fd, uint64_t length_bytes, bool file_ok) {
  WHALE_ASSIGN_OR_RETURN(const Mappable mappable, ExamineMappable(fd));
  if (mappable.bytes < length_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the descriptor has ", mappable.bytes, " bytes, not the ",
                     length_bytes, " promised"));
  }
  if (!file_ok && !IsSealedMemory(fd)) {
    return absl::InvalidArgumentError(
        "the descriptor is no memfd sealed with F_SEAL_SHRINK; clients must "
        "register memory of fabric::SharedMemory");
  }
  return absl::OkStatus();
}

}  // namespace whale::fabric::shm

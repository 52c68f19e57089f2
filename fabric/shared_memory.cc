#include "fabric/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::fabric {
namespace {

absl::Status Exhausted(const char* verb, size_t length_bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("shared memory: ", verb, " of ", length_bytes,
                   " bytes: ", std::strerror(errno)));
}

absl::StatusOr<std::byte*> MapPages(int fd, size_t length_bytes,
                                    bool prefault) {
  const int flags = (fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) |
                    (prefault ? MAP_POPULATE : 0);
  void* base =
      mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (base == MAP_FAILED) return Exhausted("mmap", length_bytes);
  return static_cast<std::byte*>(base);
}

}  // namespace

absl::StatusOr<SharedMemory> SharedMemory::Create(size_t length_bytes,
                                                  const std::string& name,
                                                  bool prefault) {
  if (length_bytes == 0) {
    return absl::InvalidArgumentError("shared memory: 0 bytes asked for");
  }
  SharedMemory memory;
  memory.guard_bytes_ = kGuardBytes;
  const size_t total_bytes = kGuardBytes + length_bytes;
  memory.fd_ = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory.fd_ < 0 ||
      ftruncate(memory.fd_, static_cast<off_t>(total_bytes)) != 0 ||
      fcntl(memory.fd_, F_ADD_SEALS,
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Exhausted("memfd", total_bytes);
  }
  auto base = MapPages(memory.fd_, total_bytes, prefault);
  if (!base.ok()) return base.status();
  memory.base_ = *base;
  memory.mapped_bytes_ = total_bytes;
  return memory;
}

absl::StatusOr<SharedMemory> SharedMemory::CreatePrivate(size_t length_bytes,
                                                         bool prefault) {
  if (length_bytes == 0) {
    return absl::InvalidArgumentError("shared memory: 0 bytes asked for");
  }
  SharedMemory memory;
  auto base = MapPages(-1, length_bytes, prefault);
  if (!base.ok()) return base.status();
  memory.base_ = *base;
  memory.mapped_bytes_ = length_bytes;
  return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_bytes_(std::exchange(other.mapped_bytes_, 0)),
      guard_bytes_(std::exchange(other.guard_bytes_, 0)),
      fd_(std::exchange(other.fd_, -1)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(guard_bytes_, other.guard_bytes_);
  std::swap(fd_, other.fd_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (base_ != nullptr) munmap(base_, mapped_bytes_);
  if (fd_ >= 0) close(fd_);
}

}  // namespace whale::fabric

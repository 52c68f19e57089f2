#include "pmem/allocate.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/huge_pages.h"
#include "common/units.h"
#include "pmem/memory_errors.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace whale::pmem {
namespace {

constexpr uint64_t kStepBytes = 64 * kMiB;
constexpr uint64_t kTouchBytes = 4096;
constexpr char kSuffix[] = ".creating.";

// Whether `path` still names the file that is open as `fd`.
bool IsNamed(int fd, const std::string& path) {
  struct stat open_file, named;
  return fstat(fd, &open_file) == 0 && lstat(path.c_str(), &named) == 0 &&
         open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

std::string DirectoryOf(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? "." : directory;
}

void SyncDirectory(const std::string& directory) {
  FileDescriptor handle(
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.valid()) fsync(handle.get());
}

// Bytes that the file could still grow by; UINT64_MAX if there is no limit.
uint64_t AvailableBytes(int fd) {
  struct statvfs info;
  if (fstatvfs(fd, &info) != 0 || info.f_blocks == 0) return UINT64_MAX;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

uint64_t AllocatedBytes(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? uint64_t(info.st_blocks) * 512 : 0;
}

absl::Status Lengthen(int fd, const std::string& path, uint64_t bytes) {
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError("examine", path);
  if (static_cast<uint64_t>(info.st_size) < bytes &&
      ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return FileError("lengthen", path);
  }
  return absl::OkStatus();
}

void Touch(std::byte* map, uint64_t bytes) {
  for (uint64_t at = 0; at < bytes; at += kTouchBytes) {
    __atomic_fetch_or(reinterpret_cast<uint8_t*>(map + at), 0,
                      __ATOMIC_RELAXED);
  }
}

int Populate(std::byte* map, uint64_t bytes) {
  return madvise(map, bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
}

bool IsDamage(int error) {
  return error == EFAULT || error == EHWPOISON || error == EIO;
}

// The first page of a range that cannot be entered as a whole.
uint64_t FirstDamaged(std::byte* map, uint64_t bytes) {
  uint64_t begin = 0;
  while (bytes > kTouchBytes) {
    const uint64_t half = RoundUp(bytes / 2, kTouchBytes);
    if (IsDamage(Populate(map + begin, half))) {
      bytes = half;
    } else {
      begin += half;
      bytes -= half;
    }
  }
  return begin;
}

}  // namespace

absl::Status NoRoom(const std::string& path, uint64_t needed,
                    uint64_t available) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "no room for ", path, ": needed ", needed, " bytes, available ",
      available, "; free some, choose another directory or a smaller pool"));
}

absl::Status FileError(const char* verb, const std::string& path) {
  const std::string message =
      absl::StrCat("cannot ", verb, " ", path, ": ", strerror(errno));
  switch (errno) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

bool TryLock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }

absl::StatusOr<TemporaryFile> CreateTemporary(const std::string& path) {
  for (;;) {
    std::string name = absl::StrCat(path, kSuffix, "XXXXXX");
    FileDescriptor file(mkostemp(name.data(), O_CLOEXEC));
    if (!file.valid()) return FileError("create", name);
    // Between these two steps another process may take it for a left-over.
    if (TryLock(file.get()) && IsNamed(file.get(), name)) {
      return TemporaryFile{std::move(file), std::move(name)};
    }
  }
}

absl::Status Publish(const TemporaryFile& temporary, const std::string& path) {
  if (renameat2(AT_FDCWD, temporary.path.c_str(), AT_FDCWD, path.c_str(),
                RENAME_NOREPLACE) != 0) {
    return FileError("create", path);
  }
  SyncDirectory(DirectoryOf(path));
  return absl::OkStatus();
}

void RemoveLeftovers(const std::string& path) {
  const std::string prefix =
      absl::StrCat(std::filesystem::path(path).filename().string(), kSuffix);
  std::error_code error;
  for (std::filesystem::directory_iterator it(DirectoryOf(path), error), end;
       !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (!absl::StartsWith(name, prefix) || name.size() != prefix.size() + 6) {
      continue;
    }
    const std::string found = it->path();
    FileDescriptor file(open(found.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (file.valid() && TryLock(file.get()) && IsNamed(file.get(), found)) {
      unlink(found.c_str());
    }
  }
}

absl::Status Allocate(int fd, const std::string& path, uint64_t bytes,
                      const StepProgress& progress) {
  const uint64_t there = std::min(AllocatedBytes(fd), bytes);
  if (const uint64_t available = AvailableBytes(fd);
      bytes - there > available) {
    return NoRoom(path, bytes - there, available);
  }
  if (absl::Status status = Lengthen(fd, path, bytes); !status.ok()) {
    return status;
  }
  bool huge = true;
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t step = std::min(kStepBytes, bytes - at);
    // Five times as fast as small pages, where it can be done.
    huge = huge && BackWithHugePages(fd, at, step);
    errno =
        posix_fallocate(fd, static_cast<off_t>(at), static_cast<off_t>(step));
    if (errno == EINTR) continue;
    if (errno == ENOSPC) {
      const uint64_t available = AvailableBytes(fd);
      return NoRoom(path, bytes - at, available);
    }
    if (errno != 0) return FileError("allocate", path);
    at += step;
    if (progress) progress(at);
  }
  return absl::OkStatus();
}

absl::Status Prefault(std::byte* map, uint64_t bytes, const std::string& path,
                      const StepProgress& progress) {
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t step = std::min(kStepBytes, bytes - at);
    const int error = Populate(map + at, step);
    if (error == EINTR || error == EAGAIN) continue;
    if (IsDamage(error)) {
      return DamagedMemory(path, at + FirstDamaged(map + at, step),
                           kTouchBytes);
    }
    if (error == EINVAL) {
      Touch(map + at, step);  // a kernel before 5.14, or a medium without it
    } else if (error != 0) {
      errno = error;
      return FileError("prefault", path);
    }
    at += step;
    if (progress) progress(at);
  }
  return absl::OkStatus();
}

}  // namespace whale::pmem

#include "common/huge_pages.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace whale {

void* MapAligned(size_t bytes, int protection, int flags, int fd,
                 uint64_t offset) {
  const size_t reserved = bytes + kHugePageBytes;
  void* const range = mmap(nullptr, reserved, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return MAP_FAILED;
  auto* const begin = static_cast<std::byte*>(range);
  auto* const aligned = reinterpret_cast<std::byte*>(
      RoundUp(reinterpret_cast<uintptr_t>(begin), kHugePageBytes));
  void* const mapped = mmap(aligned, bytes, protection, flags | MAP_FIXED, fd,
                            static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    munmap(begin, reserved);
    return MAP_FAILED;
  }
  if (aligned != begin) munmap(begin, aligned - begin);
  // The kernel maps whole pages.
  auto* const end = aligned + RoundUp(bytes, 4 * kKiB);
  if (end != begin + reserved) munmap(end, begin + reserved - end);
  return mapped;
}

bool BackWithHugePages(int fd, uint64_t offset, uint64_t bytes) {
  // A file system with blocks would be made to scatter them.
  struct statfs medium;
  if (fstatfs(fd, &medium) != 0 || medium.f_type != TMPFS_MAGIC) return false;
  bytes -= bytes % kHugePageBytes;
  if (bytes == 0) return true;
  void* const mapped =
      MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (mapped == MAP_FAILED) return false;
  auto* const base = static_cast<std::byte*>(mapped);
  bool done = true;
  for (uint64_t at = 0; done && at < bytes; at += kHugePageBytes) {
    // The kernel takes only what has a page already. Populating, unlike a
    // store, fails without a signal where there is no room.
    done = madvise(base + at, 4 * kKiB, MADV_POPULATE_WRITE) == 0 &&
           madvise(base + at, kHugePageBytes, MADV_COLLAPSE) == 0;
  }
  munmap(mapped, bytes);
  return done;
}

void MoveToHugePages(void* base, size_t bytes) {
  madvise(base, bytes, MADV_HUGEPAGE);
  madvise(base, bytes, MADV_COLLAPSE);
}

}  // namespace whale

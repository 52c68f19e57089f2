// Mappings that the kernel can back with huge pages. A store jumps all over
// its log and index; with pages of 4 KiB most jumps miss the TLB.
//
// Thread-safety: safe from any thread.
#ifndef WHALE_COMMON_HUGE_PAGES_H_
#define WHALE_COMMON_HUGE_PAGES_H_

#include <cstddef>
#include <cstdint>

#include "common/units.h"

namespace whale {

inline constexpr uint64_t kHugePageBytes = 2 * kMiB;

// As mmap with no wished address, but aligned to huge pages. MAP_FAILED and
// errno as mmap. The caller unmaps [result, result + bytes).
void* MapAligned(size_t bytes, int protection, int flags, int fd,
                 uint64_t offset = 0);

// Gives the whole huge pages in [offset, offset + bytes) of a file in shared
// memory their memory in one piece each (MADV_COLLAPSE, Linux 6.1): everyone
// who maps the file aligned then does so by huge pages. What the file holds
// stays as it is. False where the kernel does not do it, or not all of it.
// REQUIRES: the file is that long; offset is a multiple of a huge page.
bool BackWithHugePages(int fd, uint64_t offset, uint64_t bytes);

// Moves a process's own memory, which is in use, to huge pages: at once where
// the kernel can (Linux 6.1), else some time.
// REQUIRES: both are multiples of a huge page.
void MoveToHugePages(void* base, size_t bytes);

}  // namespace whale

#endif  // WHALE_COMMON_HUGE_PAGES_H_

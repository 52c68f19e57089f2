#include "common/huge_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace whale {
namespace {

constexpr uint64_t kBytes = 3 * kHugePageBytes + 12345;

class HugePages : public ::testing::Test {
 protected:
  HugePages() : fd_(memfd_create("huge_pages_test", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(fd_, kBytes), 0);
  }
  ~HugePages() override { close(fd_); }

  const int fd_;
};

TEST_F(HugePages, MappingsAreAlignedAndShowTheFile) {
  const char text[] = "from the second huge page on";
  ASSERT_EQ(pwrite(fd_, text, sizeof(text), kHugePageBytes),
            static_cast<ssize_t>(sizeof(text)));
  for (const uint64_t offset : {uint64_t{0}, kHugePageBytes}) {
    const uint64_t bytes = kBytes - offset;
    void* const mapped =
        MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, offset);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped) % kHugePageBytes, 0u);
    const auto* const base = static_cast<const char*>(mapped);
    EXPECT_STREQ(base + kHugePageBytes - offset, text);
    EXPECT_EQ(base[bytes - 1], 0);
    EXPECT_EQ(munmap(mapped, bytes), 0);
  }
}

TEST_F(HugePages, WhatCannotBeMappedSaysWhy) {
  EXPECT_EQ(MapAligned(kBytes, PROT_READ, MAP_SHARED, -1), MAP_FAILED);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(HugePages, BackingKeepsWhatTheFileHolds) {
  std::string data(kBytes, 'x');
  for (size_t i = 0; i < data.size(); i += 4096) data[i] = char('a' + i % 23);
  ASSERT_EQ(pwrite(fd_, data.data(), kBytes / 2, 0),
            static_cast<ssize_t>(kBytes / 2));
  std::memset(&data[kBytes / 2], 0, kBytes - kBytes / 2);
  BackWithHugePages(fd_, 0, kBytes);  // whether it can is the kernel's affair
  std::string now(kBytes, '?');
  ASSERT_EQ(pread(fd_, now.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
  EXPECT_TRUE(now == data);
  struct stat info;
  ASSERT_EQ(fstat(fd_, &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kBytes);
}

TEST_F(HugePages, WhatIsNoSharedMemoryIsLeftAlone) {
  const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_FALSE(BackWithHugePages(fd, 0, kHugePageBytes));
  close(fd);
}

}  // namespace
}  // namespace whale

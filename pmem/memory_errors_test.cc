#include "pmem/memory_errors.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

namespace whale::pmem {
namespace {

constexpr uint64_t kBytes = 3 * 4096;

// Memory whose last page raises SIGBUS, as damaged memory does.
std::byte* MapWithHole() {
  FILE* file = tmpfile();
  if (file == nullptr || ftruncate(fileno(file), 2 * 4096) != 0) return nullptr;
  void* map = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                   fileno(file), 0);
  fclose(file);
  return map == MAP_FAILED ? nullptr : static_cast<std::byte*>(map);
}

TEST(MemoryErrorsDeathTest, SignalNamesFileAndOffset) {
  std::byte* map = MapWithHole();
  ASSERT_NE(map, nullptr);
  const NamedMapping named(map, kBytes, "/mnt/pm/pool");
  volatile std::byte* at = map + 2 * 4096 + 77;
  EXPECT_EXIT(*at = std::byte{1}, ::testing::KilledBySignal(SIGBUS),
              "/mnt/pm/pool cannot be used at offset 8269 ");
  munmap(map, kBytes);
}

TEST(MemoryErrorsDeathTest, PlacesAreGivenBack) {
  std::byte* map = MapWithHole();
  ASSERT_NE(map, nullptr);
  for (int i = 0; i < 100; ++i) {
    NamedMapping first(map, kBytes, "/first");
    NamedMapping moved = std::move(first);
  }
  const NamedMapping named(map, kBytes, "/second");
  volatile std::byte* at = map + 2 * 4096;
  EXPECT_EXIT(*at = std::byte{1}, ::testing::KilledBySignal(SIGBUS),
              "memory under /second cannot be used at offset 8192 ");
  munmap(map, kBytes);
}

TEST(MemoryErrorsTest, StatusNamesFileOffsetAndCure) {
  const absl::Status status = DamagedMemory("/mnt/pm/pool", 8192, 4096);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  const std::string message(status.message());
  EXPECT_NE(message.find("/mnt/pm/pool"), std::string::npos);
  EXPECT_NE(message.find("offset 8192"), std::string::npos);
  EXPECT_NE(message.find("remove the file"), std::string::npos);
}

}  // namespace
}  // namespace whale::pmem

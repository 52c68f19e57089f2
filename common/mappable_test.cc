#include "common/mappable.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

namespace whale {
namespace {

TEST(MappableTest, FileHasItsLength) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(ftruncate(fileno(file), 5000), 0);
  const auto mappable = ExamineMappable(fileno(file));
  ASSERT_TRUE(mappable.ok()) << mappable.status();
  EXPECT_EQ(mappable->bytes, 5000);
  EXPECT_FALSE(mappable->is_device_dax);
  EXPECT_EQ(MappingLength(*mappable, 5000), 8192);
  fclose(file);
}

TEST(MappableTest, OtherDevicesAreNoMemory) {
  const int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ExamineMappable(fd).status().code(),
            absl::StatusCode::kInvalidArgument);
  close(fd);
  EXPECT_EQ(ExamineMappable(-1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace whale

// Pools on real DAX memory, by which tests/guest runs this:
//   WHALE_TEST_DAX_DIRECTORY  a directory on fs-dax
//   WHALE_TEST_DAX_DEVICE     a device-dax that may be overwritten
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "pmem/device_dax.h"
#include "pmem/pmem_domain.h"
#include "pmem/pool_file.h"

namespace whale::pmem {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kBytes = 4 << 20;

void ExpectPowerDomain(const PoolFile& file) {
  auto& domain = static_cast<PmemDomain&>(file.domain());
  EXPECT_TRUE(domain.is_dax());
  EXPECT_EQ(domain.survives(), Survives::kPower);
  EXPECT_FALSE(domain.persist_is_free());
}

class FsDaxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* directory = getenv("WHALE_TEST_DAX_DIRECTORY");
    if (directory == nullptr) GTEST_SKIP() << "no fs-dax; see tests/guest";
    path_ = std::string(directory) + "/dax_pool_test";
  }
  void TearDown() override { unlink(path_.c_str()); }

  std::string path_;
};

TEST_F(FsDaxTest, KeepsWhatWasPersisted) {
  {
    auto file = PoolFile::Create(path_, kBytes, DomainKind::kPmem);
    ASSERT_TRUE(file.ok()) << file.status();
    ExpectPowerDomain(**file);
    std::memcpy((*file)->base() + 100, "kept", 4);
    (*file)->domain().Persist((*file)->base() + 100, 4);
  }
  auto file = PoolFile::Open(path_, {.boot_id = "another boot"});
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectPowerDomain(**file);
  EXPECT_EQ(std::memcmp((*file)->base() + 100, "kept", 4), 0);
  EXPECT_TRUE((*file)->CloseClean().ok());
}

class DeviceDaxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* device = getenv("WHALE_TEST_DAX_DEVICE");
    if (device == nullptr) GTEST_SKIP() << "no device-dax; see tests/guest";
    path_ = device;
    ASSERT_TRUE(IsDeviceDax(path_));
    Wipe();
  }
  void TearDown() override {
    if (!path_.empty()) Wipe();
  }

  // Both ends, which decide what a device is taken for.
  void Wipe() { Fill(0, 1 << 20, 0); }
  void Fill(uint64_t from_end, size_t bytes, int value) {
    const FileDescriptor file(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    const auto device = ExamineMappable(file.get());
    ASSERT_TRUE(device.ok()) << device.status();
    const std::vector<char> what(bytes, static_cast<char>(value));
    for (const uint64_t at : {from_end, device->bytes - from_end - bytes}) {
      ASSERT_TRUE(
          WriteDevice(file.get(), *device, at, what.data(), bytes).ok());
    }
  }

  std::string path_;
};

TEST_F(DeviceDaxTest, IsTakenWholeAndKeepsWhatWasPersisted) {
  EXPECT_TRUE(absl::IsNotFound(PoolFile::Open(path_).status()));
  const uint64_t bytes = PoolFile::StoreBytesOnDevice(path_);
  ASSERT_GT(bytes, kBytes);
  {
    auto file = PoolFile::Create(path_, kBytes, DomainKind::kPmem);
    ASSERT_TRUE(file.ok()) << file.status();
    ExpectPowerDomain(**file);
    EXPECT_EQ((*file)->length(), bytes);
    std::memcpy((*file)->base() + bytes - 4, "kept", 4);
    (*file)->domain().Persist((*file)->base() + bytes - 4, 4);
  }
  auto file = PoolFile::Open(path_, {.boot_id = "another boot"});
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectPowerDomain(**file);
  ASSERT_EQ((*file)->length(), bytes);
  EXPECT_EQ(std::memcmp((*file)->base() + bytes - 4, "kept", 4), 0);
  // Nobody else while it is open.
  EXPECT_TRUE(absl::IsFailedPrecondition(PoolFile::Open(path_).status()));
  EXPECT_TRUE((*file)->CloseClean().ok());
}

TEST_F(DeviceDaxTest, SomebodyElsesIsRefused) {
  Fill(4096, 1, 7);
  const auto created = PoolFile::Create(path_, kBytes, DomainKind::kPmem);
  EXPECT_TRUE(absl::IsAlreadyExists(created.status())) << created.status();
  EXPECT_THAT(std::string(created.status().message()), HasSubstr("daxio"));
  EXPECT_TRUE(absl::IsDataLoss(PoolFile::Open(path_).status()));
}

TEST_F(DeviceDaxTest, TooSmallAndWrongDomainAreRefused) {
  const uint64_t bytes = PoolFile::StoreBytesOnDevice(path_);
  EXPECT_TRUE(absl::IsResourceExhausted(
      PoolFile::Create(path_, bytes + 1, DomainKind::kPmem).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      PoolFile::Create(path_, kBytes, DomainKind::kShm).status()));
  // Nothing was written.
  EXPECT_TRUE(absl::IsNotFound(PoolFile::Open(path_).status()));
}

}  // namespace
}  // namespace whale::pmem

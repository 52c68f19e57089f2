#include "pmem/dax_platform.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace whale::pmem {
namespace {

namespace fs = std::filesystem;

// A tree as the kernel shows it.
class DaxPlatformTest : public ::testing::Test {
 protected:
  DaxPlatformTest() {
    std::string pattern = fs::temp_directory_path() / "whale_sysfs_XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~DaxPlatformTest() override { fs::remove_all(root_); }

  void Write(const fs::path& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text << "\n";
  }
  // A bus with one region; gives the region's directory.
  fs::path Region(const std::string& bus, const std::string& provider,
                  const std::string& persistence) {
    const fs::path region = fs::path("devices") / bus / "region3";
    Write(region.parent_path() / "provider", provider);
    Write(region / "persistence_domain", persistence);
    Write(region / "numa_node", "1");
    return region;
  }
  fs::path BlockDevice(const fs::path& region) {
    const fs::path device = region / "namespace3.0/block/pmem3";
    fs::create_directories(root_ / device);
    return root_ / device;
  }

  fs::path root_;
};

TEST_F(DaxPlatformTest, NamesTheRegion) {
  const auto regions = DaxRegionsAt(
      BlockDevice(Region("ndbus0", "ACPI.NFIT", "memory_controller")));
  ASSERT_EQ(regions.size(), 1);
  EXPECT_EQ(regions[0].name, "region3");
  EXPECT_EQ(regions[0].provider, "ACPI.NFIT");
  EXPECT_EQ(regions[0].persistence_domain, "memory_controller");
  EXPECT_EQ(regions[0].numa_node, 1);
}

TEST_F(DaxPlatformTest, OnlyWhatIsKnownToPersistSurvivesPower) {
  const struct {
    const char* provider;
    const char* persistence;
    Survives survives;
  } kCases[] = {{"ACPI.NFIT", "memory_controller", Survives::kPower},
                {"ACPI.NFIT", "cpu_cache", Survives::kPower},
                {"ACPI.NFIT", "unknown", Survives::kPower},
                {"CXL", "", Survives::kPower},
                {"e820", "unknown", Survives::kProcess},
                {"e820", "memory_controller", Survives::kPower},
                {"of_pmem", "", Survives::kProcess}};
  int bus = 0;
  for (const auto& c : kCases) {
    const auto regions = DaxRegionsAt(BlockDevice(
        Region("ndbus" + std::to_string(bus++), c.provider, c.persistence)));
    EXPECT_EQ(WeakestOf(regions), c.survives) << c.provider << c.persistence;
  }
  EXPECT_EQ(WeakestOf({}), Survives::kProcess);
}

TEST_F(DaxPlatformTest, VolumeIsAsWeakAsItsWeakestPart) {
  const fs::path good =
      BlockDevice(Region("ndbus0", "ACPI.NFIT", "memory_controller"));
  const fs::path bad = BlockDevice(Region("ndbus1", "e820", "unknown"));
  const fs::path volume = root_ / "devices/virtual/block/dm-0";
  fs::create_directories(volume / "slaves");
  fs::create_directory_symlink(good, volume / "slaves/pmem0");
  EXPECT_EQ(WeakestOf(DaxRegionsAt(volume)), Survives::kPower);
  fs::create_directory_symlink(bad, volume / "slaves/pmem1");
  EXPECT_EQ(DaxRegionsAt(volume).size(), 2);
  EXPECT_EQ(WeakestOf(DaxRegionsAt(volume)), Survives::kProcess);
}

TEST_F(DaxPlatformTest, DamageIsWithinTheDevice) {
  const fs::path region = Region("ndbus0", "ACPI.NFIT", "memory_controller");
  Write(region / "resource", "0x100000000");
  // Before, across the beginning of, within, across the end of, and behind.
  Write(region / "badblocks", "0 8\n4092 8\n8192 1\n12280 16\n20000 8");
  const fs::path device = region / "dax3.1/dax3.0";
  Write(device / "resource", "0x100200000");
  Write(device / "size", "4194304");
  const std::vector<ByteRange> expected = {
      {0, 2048}, {2097152, 512}, {4190208, 4096}};
  EXPECT_EQ(DamagedRangesAt(root_ / device), expected);
}

TEST_F(DaxPlatformTest, WhatIsNotThereIsNoDamage) {
  const fs::path region = Region("ndbus0", "ACPI.NFIT", "memory_controller");
  const fs::path device = region / "dax3.1/dax3.0";
  Write(device / "size", "4194304");
  EXPECT_TRUE(DamagedRangesAt(root_ / device).empty());
  EXPECT_TRUE(DamagedRangesAt(root_ / "nowhere").empty());
  EXPECT_TRUE(DaxRegionsAt(root_ / "nowhere").empty());
  EXPECT_TRUE(DaxRegionsOf(-1).empty());
}

}  // namespace
}  // namespace whale::pmem

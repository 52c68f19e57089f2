#include "pmem/dax_platform.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace whale::pmem {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSectorBytes = 512;

std::string LineIn(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Decimal, or hexadecimal after 0x. Only root may read addresses.
std::optional<uint64_t> NumberIn(const fs::path& path) {
  const std::string text = LineIn(path);
  uint64_t number = 0;
  const bool hexadecimal = absl::StartsWith(text, "0x");
  if (hexadecimal ? absl::SimpleHexAtoi(text, &number)
                  : absl::SimpleAtoi(text, &number)) {
    return number;
  }
  return std::nullopt;
}

// The directory regionN above `device`, whose parent is the bus; empty: none.
fs::path RegionAbove(const fs::path& device) {
  std::error_code error;
  for (fs::path at = device; at.has_relative_path(); at = at.parent_path()) {
    const std::string name = at.filename();
    if (absl::StartsWith(name, "region") &&
        fs::exists(at.parent_path() / "provider", error)) {
      return at;
    }
  }
  return {};
}

std::string DirectoryOfDevice(int fd, const std::string& sysfs) {
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) return "";
  const bool is_device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
  const dev_t device = is_device ? info.st_rdev : info.st_dev;
  return absl::StrCat(sysfs, "/dev/",
                      S_ISCHR(info.st_mode) ? "char/" : "block/", major(device),
                      ":", minor(device));
}

}  // namespace

Survives DaxRegion::survives() const {
  if (!persistence_domain.empty()) return Survives::kPower;
  // By the firmware's table of NVDIMMs, or by a CXL device that says so; the
  // rest (e820) may be ordinary memory.
  return provider == "ACPI.NFIT" || provider == "CXL" ? Survives::kPower
                                                      : Survives::kProcess;
}

Survives WeakestOf(const std::vector<DaxRegion>& regions) {
  if (regions.empty()) return Survives::kProcess;
  Survives weakest = Survives::kPower;
  for (const DaxRegion& region : regions) {
    weakest = std::min(weakest, region.survives());
  }
  return weakest;
}

std::vector<DaxRegion> DaxRegionsAt(const std::string& device_directory) {
  std::vector<DaxRegion> regions;
  std::error_code error;
  const fs::path device = fs::canonical(device_directory, error);
  if (error) return regions;
  if (const fs::path at = RegionAbove(device); !at.empty()) {
    DaxRegion region;
    region.name = at.filename();
    region.provider = LineIn(at.parent_path() / "provider");
    region.persistence_domain = LineIn(at / "persistence_domain");
    if (region.persistence_domain == "unknown") {
      region.persistence_domain.clear();
    }
    int node = -1;
    if (absl::SimpleAtoi(LineIn(at / "numa_node"), &node)) {
      region.numa_node = node;
    }
    regions.push_back(std::move(region));
  }
  // Of a volume (device mapper): what it is made of.
  for (fs::directory_iterator it(device / "slaves", error), end;
       !error && it != end; it.increment(error)) {
    for (DaxRegion& region : DaxRegionsAt(it->path())) {
      regions.push_back(std::move(region));
    }
  }
  return regions;
}

std::vector<DaxRegion> DaxRegionsOf(int fd, const std::string& sysfs) {
  const std::string directory = DirectoryOfDevice(fd, sysfs);
  return directory.empty() ? std::vector<DaxRegion>() : DaxRegionsAt(directory);
}

std::vector<ByteRange> DamagedRangesAt(const std::string& device_directory) {
  std::vector<ByteRange> damaged;
  std::error_code error;
  const fs::path device = fs::canonical(device_directory, error);
  if (error) return damaged;
  const fs::path region = RegionAbove(device);
  const auto region_start = NumberIn(region / "resource");
  const auto start = NumberIn(device / "resource");
  const auto bytes = NumberIn(device / "size");
  if (!region_start || !start || !bytes || *start < *region_start) {
    return damaged;
  }
  std::ifstream list(region / "badblocks");
  for (uint64_t sector = 0, sectors = 0; list >> sector >> sectors;) {
    const uint64_t from = *region_start + sector * kSectorBytes;
    const uint64_t first = std::max(from, *start);
    const uint64_t last =
        std::min(from + sectors * kSectorBytes, *start + *bytes);
    if (first < last) damaged.push_back({first - *start, last - first});
  }
  return damaged;
}

std::vector<ByteRange> DamagedRangesOfDevice(int fd, const std::string& sysfs) {
  const std::string directory = DirectoryOfDevice(fd, sysfs);
  return directory.empty() ? std::vector<ByteRange>()
                           : DamagedRangesAt(directory);
}

}  // namespace whale::pmem

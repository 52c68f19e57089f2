// What the kernel says of the persistent memory under a file or device: whether
// it is persistent at all, and what of it is damaged. Read from sysfs.
//
// libpmem tells whether memory is mapped without page cache (DAX), not whether
// it outlives the machine: ordinary memory that the kernel was told to set
// aside (memmap=, hmem) maps in the same way.
//
// Thread-safety: safe from any thread.
#ifndef WHALE_PMEM_DAX_PLATFORM_H_
#define WHALE_PMEM_DAX_PLATFORM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pmem/domain.h"

namespace whale::pmem {

struct ByteRange {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

// A range of NVDIMMs; a striped volume lies on several.
struct DaxRegion {
  std::string name;      // "region0"
  std::string provider;  // of its bus: "ACPI.NFIT", "CXL", "e820", ...
  // "memory_controller", "cpu_cache"; empty where the platform does not say.
  std::string persistence_domain;
  int numa_node = -1;

  Survives survives() const;
};

// The regions under an open file, block device or device-dax. Empty: on no
// persistent memory that the kernel knows. `sysfs`: for tests.
std::vector<DaxRegion> DaxRegionsOf(int fd, const std::string& sysfs = "/sys");

// The weakest of them; `process` without any.
Survives WeakestOf(const std::vector<DaxRegion>& regions);

// Damaged ranges that the kernel knows of within a device-dax. Those of a file
// show when its pages are entered (Prefault).
std::vector<ByteRange> DamagedRangesOfDevice(int fd,
                                             const std::string& sysfs = "/sys");

// As for an open one, by the device's directory in sysfs.
std::vector<DaxRegion> DaxRegionsAt(const std::string& device_directory);
std::vector<ByteRange> DamagedRangesAt(const std::string& device_directory);

}  // namespace whale::pmem

#endif  // WHALE_PMEM_DAX_PLATFORM_H_

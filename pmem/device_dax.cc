#include "pmem/device_dax.h"

#include <fcntl.h>
#include <libpmem.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/file_descriptor.h"
#include "common/status_macros.h"
#include "common/units.h"

namespace whale::pmem {
namespace {

// Calls `use` with the address of `offset` while it is mapped.
template <typename Use>
absl::Status WithMapped(int fd, const Mappable& device, uint64_t offset,
                        size_t bytes, Use use) {
  if (bytes > device.bytes || offset > device.bytes - bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("[", offset, ", +", bytes, ") is not within the device's ",
                     device.bytes, " bytes"));
  }
  const uint64_t start = offset / device.alignment * device.alignment;
  const uint64_t length = MappingLength(device, offset + bytes - start);
  void* map = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   static_cast<off_t>(start));
  if (map == MAP_FAILED) {
    return absl::UnavailableError(
        absl::StrCat("mmap of device-dax: ", std::strerror(errno)));
  }
  use(static_cast<std::byte*>(map) + (offset - start));
  munmap(map, length);
  return absl::OkStatus();
}

}  // namespace

bool IsDeviceDax(const std::string& path) {
  // Neither opens nor waits for what is no device.
  const FileDescriptor file(
      open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  const auto mappable = ExamineMappable(file.get());
  return mappable.ok() && mappable->is_device_dax;
}

absl::Status ReadDevice(int fd, const Mappable& device, uint64_t offset,
                        void* to, size_t bytes) {
  return WithMapped(fd, device, offset, bytes,
                    [&](const std::byte* at) { std::memcpy(to, at, bytes); });
}

absl::Status WriteDevice(int fd, const Mappable& device, uint64_t offset,
                         const void* from, size_t bytes) {
  return WithMapped(fd, device, offset, bytes, [&](std::byte* at) {
    pmem_memcpy_persist(at, from, bytes);
  });
}

absl::StatusOr<bool> IsBlankDevice(int fd, const Mappable& device) {
  const size_t bytes = std::min<uint64_t>(kMiB, device.bytes);
  std::vector<char> ends(2 * bytes);
  WHALE_RETURN_IF_ERROR(ReadDevice(fd, device, 0, ends.data(), bytes));
  WHALE_RETURN_IF_ERROR(
      ReadDevice(fd, device, device.bytes - bytes, ends.data() + bytes, bytes));
  return std::all_of(ends.begin(), ends.end(), [](char c) { return c == 0; });
}

}  // namespace whale::pmem

#include "common/mappable.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace whale {
namespace {

std::optional<uint64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

}  // namespace

absl::StatusOr<Mappable> ExamineMappable(int fd) {
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    return absl::InvalidArgumentError("there is no descriptor");
  }
  if (S_ISREG(info.st_mode)) {
    return Mappable{.bytes = static_cast<uint64_t>(info.st_size)};
  }
  if (!S_ISCHR(info.st_mode)) {
    return absl::InvalidArgumentError("the descriptor is no memory");
  }
  const std::string device = absl::StrCat("/sys/dev/char/", major(info.st_rdev),
                                          ":", minor(info.st_rdev));
  std::error_code error;
  const auto subsystem =
      std::filesystem::canonical(device + "/subsystem", error);
  const auto bytes = NumberIn(device + "/size");
  // Not there before Linux 5.10; then it is that of huge pages.
  const auto alignment = NumberIn(device + "/align").value_or(2 << 20);
  if (error || subsystem.filename() != "dax" || !bytes || alignment == 0) {
    return absl::InvalidArgumentError(
        "the descriptor is a device that is no memory (device-dax)");
  }
  return Mappable{
      .bytes = *bytes, .alignment = alignment, .is_device_dax = true};
}

}  // namespace whale

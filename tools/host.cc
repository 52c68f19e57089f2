#include "tools/host.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "tools/status_text.h"

namespace whale::tools {

absl::StatusOr<Space> SpaceAt(const std::string& path) {
  struct statfs info;
  if (statfs(path.c_str(), &info) != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot examine ", path, ": ", std::strerror(errno)));
  }
  const uint64_t block = static_cast<uint64_t>(info.f_bsize);
  return Space{info.f_blocks * block, info.f_bavail * block,
               info.f_type == TMPFS_MAGIC};
}

std::optional<uint64_t> AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    absl::string_view rest = line;
    uint64_t kib = 0;
    if (!absl::ConsumePrefix(&rest, "MemAvailable:")) continue;
    if (absl::SimpleAtoi(absl::StripSuffix(rest, "kB"), &kib)) {
      return kib * 1024;
    }
  }
  return std::nullopt;
}

absl::Status CheckSpace(const std::string& path, uint64_t needed_bytes) {
  WHALE_ASSIGN_OR_RETURN(const Space space, SpaceAt(path));
  const auto exhausted = [&](const std::string& where, uint64_t available,
                             const std::string& cure) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the pools need ", HumanBytes(needed_bytes), " (", needed_bytes,
        " bytes) in ", path, ", but ", where, " has ", HumanBytes(available),
        " (", available, " bytes) left; give a smaller --pool-bytes, ", cure));
  };
  if (space.available_bytes < needed_bytes) {
    return exhausted(
        "its file system", space.available_bytes,
        space.in_memory
            ? "a --dir on a disk, or enlarge it: mount -o remount,size=SIZE "
              "/dev/shm (containers: --shm-size)"
            : "or a --dir on a larger file system");
  }
  const std::optional<uint64_t> memory = AvailableMemory();
  if (space.in_memory && memory && *memory < needed_bytes) {
    return exhausted("the machine's memory", *memory, "or a --dir on a disk");
  }
  return absl::OkStatus();
}

std::string KernelText() {
  utsname name;
  if (uname(&name) != 0) return "unknown kernel";
  return absl::StrCat(name.sysname, " ", name.release);
}

std::string ProcessorText() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "model name")) continue;
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    return parts.second;
  }
  return "unknown processor";
}

std::string HostText() {
  struct sysinfo info;
  const uint64_t memory =
      sysinfo(&info) == 0 ? uint64_t{info.totalram} * info.mem_unit : 0;
  return absl::StrCat(KernelText(), ", ", sysconf(_SC_NPROCESSORS_ONLN), " x ",
                      ProcessorText(), ", ", HumanBytes(memory));
}

}  // namespace whale::tools

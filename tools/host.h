// What this host offers: memory, file systems, limits, processor.
#ifndef WHALE_TOOLS_HOST_H_
#define WHALE_TOOLS_HOST_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::tools {

struct Space {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;
  bool in_memory = false;  // tmpfs
};
// Of the file system that holds `path`. Errors: kNotFound.
absl::StatusOr<Space> SpaceAt(const std::string& path);

// MemAvailable of /proc/meminfo; nullopt when it cannot be read.
std::optional<uint64_t> AvailableMemory();

// OK when `needed_bytes` more fit into the file system at `path`, and into
// memory when it is one in memory. Errors: kResourceExhausted, with what is
// needed, what there is, and the cure.
absl::Status CheckSpace(const std::string& path, uint64_t needed_bytes);

// "Linux 6.1.0, 2 x <processor>, 24 GiB".
std::string HostText();
std::string KernelText();
std::string ProcessorText();

}  // namespace whale::tools

#endif  // WHALE_TOOLS_HOST_H_

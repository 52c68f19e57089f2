// A server's pool: opened, or made when there is none yet.
#ifndef WHALE_TOOLS_POOL_OPEN_H_
#define WHALE_TOOLS_POOL_OPEN_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "logstore/pool.h"
#include "pmem/pool_file.h"
#include "tools/serve_flags.h"

namespace whale::tools {

// The name of the pool in a server's directory.
inline constexpr const char* kPoolName = "pool";

struct OpenedPool {
  std::unique_ptr<pmem::PoolFile> file;
  std::unique_ptr<logstore::Pool> pool;  // in `file`
  bool created = false;
};

// Opens DIR/pool; makes it by `flags` and `shards` when it is not there.
// Errors: as PoolFile and Pool; kFailedPrecondition (the pool is another
// server's); kInvalidArgument (domain; too small for the shards).
absl::StatusOr<OpenedPool> OpenPool(const std::string& dir, ServerId server,
                                    uint32_t shards, const ServeFlags& flags);

// The largest geometry that fits into `pool_bytes`. Errors: kInvalidArgument,
// naming the least size that would do.
absl::StatusOr<logstore::Geometry> GeometryFor(uint64_t pool_bytes,
                                               ServerId server, uint32_t shards,
                                               const ServeFlags& flags);

// From the system's random source.
uint64_t RandomNumber();

}  // namespace whale::tools

#endif  // WHALE_TOOLS_POOL_OPEN_H_

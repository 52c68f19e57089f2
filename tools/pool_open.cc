#include "tools/pool_open.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "logstore/pool_mapping.h"
#include "tools/logging.h"
#include "tools/value_parse.h"

namespace whale::tools {
namespace {

// A shard needs the segment it appends to and those granted ahead of it.
constexpr uint32_t kLeastSegmentsPerShard = 4;

void FillRandom(void* to, size_t bytes) {
  auto* position = static_cast<uint8_t*>(to);
  while (bytes > 0) {
    const ssize_t got = getrandom(position, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    WHALE_CHECK_MSG(got > 0, "the kernel gives no random numbers");
    position += got;
    bytes -= static_cast<size_t>(got);
  }
}

absl::StatusOr<pmem::DomainKind> DomainByName(const std::string& name) {
  if (name == "shm") return pmem::DomainKind::kShm;
  if (name == "pmem") return pmem::DomainKind::kPmem;
  return absl::InvalidArgumentError(absl::StrCat(
      "--domain: \"", name, "\" is no memory; there are shm and pmem"));
}

absl::StatusOr<OpenedPool> CreatePool(const std::string& path, ServerId server,
                                      uint32_t shards, const ServeFlags& flags,
                                      const pmem::PoolFileOptions& options) {
  WHALE_ASSIGN_OR_RETURN(const pmem::DomainKind domain,
                         DomainByName(flags.domain));
  // A device is taken whole.
  const uint64_t device_bytes = pmem::PoolFile::StoreBytesOnDevice(path);
  const uint64_t pool_bytes =
      device_bytes != 0 ? device_bytes : flags.pool_bytes;
  WHALE_ASSIGN_OR_RETURN(const logstore::Geometry geometry,
                         GeometryFor(pool_bytes, server, shards, flags));
  const uint64_t bytes = logstore::Pool::BytesNeeded(geometry);
  Log(LogLevel::kInfo, "making a pool",
      {{"path", path}, {"bytes", absl::StrCat(bytes)}});
  OpenedPool opened;
  WHALE_ASSIGN_OR_RETURN(opened.file,
                         pmem::PoolFile::Create(path, bytes, domain, options));
  WHALE_ASSIGN_OR_RETURN(
      opened.pool,
      logstore::Pool::Format(logstore::MappingOf(*opened.file), geometry));
  opened.created = true;
  return opened;
}

}  // namespace

uint64_t RandomNumber() {
  uint64_t number = 0;
  FillRandom(&number, sizeof(number));
  return number;
}

absl::StatusOr<logstore::Geometry> GeometryFor(uint64_t pool_bytes,
                                               ServerId server, uint32_t shards,
                                               const ServeFlags& flags) {
  logstore::Geometry geometry;
  FillRandom(geometry.pool_uuid.data(), geometry.pool_uuid.size());
  geometry.server = server;
  geometry.shard_count = shards;
  geometry.segment_bytes = flags.segment_bytes;
  geometry.ring_slots = flags.ring_slots;
  if (flags.segment_bytes < 8 * kMiB ||
      (flags.segment_bytes & (flags.segment_bytes - 1)) != 0 ||
      (flags.ring_slots & (flags.ring_slots - 1)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--segment-bytes must be a power of two from 8MiB and --ring-slots a "
        "power of two; they are ",
        FormatBytes(flags.segment_bytes), " and ", flags.ring_slots));
  }
  const uint32_t least = kLeastSegmentsPerShard * shards;
  geometry.segment_slots = least;
  const uint64_t least_bytes = logstore::Pool::BytesNeeded(geometry);
  if (pool_bytes < least_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--pool-bytes ", FormatBytes(pool_bytes), " is too small for ", shards,
        " shards; give at least ", FormatBytes(RoundUp(least_bytes, kMiB)),
        " or fewer --shards"));
  }
  geometry.segment_slots = static_cast<uint32_t>(std::min<uint64_t>(
      least + (pool_bytes - least_bytes) / flags.segment_bytes, UINT32_MAX));
  // The segment table grows with the slots.
  while (logstore::Pool::BytesNeeded(geometry) > pool_bytes) {
    --geometry.segment_slots;
  }
  return geometry;
}

absl::StatusOr<OpenedPool> OpenPool(const std::string& dir, ServerId server,
                                    uint32_t shards, const ServeFlags& flags) {
  const std::string path = absl::StrCat(dir, "/", kPoolName);
  pmem::PoolFileOptions options;
  options.allow_non_dax = flags.allow_non_dax;
  OpenedPool opened;
  auto file = pmem::PoolFile::Open(path, options);
  if (absl::IsNotFound(file.status())) {
    return CreatePool(path, server, shards, flags, options);
  }
  if (!file.ok()) return file.status();
  opened.file = *std::move(file);
  const logstore::Mapping mapping = logstore::MappingOf(*opened.file);
  auto pool = logstore::Pool::Open(mapping);
  if (absl::IsNotFound(pool.status())) {
    // Killed between making the file and formatting it.
    WHALE_ASSIGN_OR_RETURN(
        const logstore::Geometry geometry,
        GeometryFor(mapping.length_bytes, server, shards, flags));
    pool = logstore::Pool::Format(mapping, geometry);
    opened.created = true;
  }
  if (!pool.ok()) {
    return absl::Status(pool.status().code(),
                        absl::StrCat(path, ": ", pool.status().message()));
  }
  opened.pool = *std::move(pool);
  const ServerId owner = opened.pool->geometry().server;
  if (owner != server) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is the pool of server ", owner.value(), ", not of server ",
        server.value(), "; check --id and --dir"));
  }
  return opened;
}

}  // namespace whale::tools

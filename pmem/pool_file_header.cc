#include "pmem/pool_file_header.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/mappable.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "pmem/device_dax.h"

namespace whale::pmem {
namespace {

uint32_t Checksum(const PoolFileHeader& header) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  constexpr size_t kAt = offsetof(PoolFileHeader, checksum);
  const uint32_t crc = ExtendCrc32c(0, bytes, kAt);
  return ExtendCrc32c(crc, bytes + kAt + 4, sizeof(header) - kAt - 4);
}

// `copy` 0 or 1 of a file of `file_bytes`.
off_t OffsetOfCopy(uint64_t file_bytes, int copy) {
  return static_cast<off_t>(file_bytes - (2 - copy) * kPageBytes);
}

absl::Status IoError(const char* verb, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", verb, " ", path, ": ", strerror(errno)));
}

std::optional<PoolFileHeader> ReadCopy(int fd, const Mappable& file, int copy) {
  PoolFileHeader header;
  const off_t offset = OffsetOfCopy(file.bytes, copy);
  const bool read =
      file.is_device_dax
          ? ReadDevice(fd, file, offset, &header, sizeof(header)).ok()
          : pread(fd, &header, sizeof(header), offset) ==
                ssize_t{sizeof(header)};
  if (!read) return std::nullopt;
  if (header.magic != kPoolFileMagic || header.checksum != Checksum(header)) {
    return std::nullopt;
  }
  return header;
}

absl::Status WriteCopy(int fd, const std::string& path,
                       const PoolFileHeader& header, const Mappable& file,
                       int copy) {
  const off_t offset = OffsetOfCopy(header.file_bytes, copy);
  if (file.is_device_dax) {
    return WriteDevice(fd, file, offset, &header, sizeof(header));
  }
  if (pwrite(fd, &header, sizeof(header), offset) != ssize_t{sizeof(header)} ||
      fdatasync(fd) != 0) {
    return IoError("write the header of", path);
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t PoolFileBytes(uint64_t store_bytes) {
  return kGuardBytes + RoundUp(store_bytes, kPageBytes) + 2 * kPageBytes;
}

absl::StatusOr<PoolFileHeader> ReadPoolFileHeader(int fd,
                                                  const std::string& path) {
  WHALE_ASSIGN_OR_RETURN(const Mappable file, ExamineMappable(fd));
  const uint64_t file_bytes = file.bytes;
  std::optional<PoolFileHeader> best;
  if (file_bytes >= PoolFileBytes(0) && file_bytes % kPageBytes == 0) {
    for (int copy = 0; copy < 2; ++copy) {
      const auto header = ReadCopy(fd, file, copy);
      if (!header.has_value()) continue;
      if (!best.has_value() || header->generation > best->generation) {
        best = header;
      }
    }
  }
  if (!best.has_value()) {
    return absl::DataLossError(absl::StrCat(
        path, " (", file_bytes,
        " bytes) does not end with a pool file's "
        "header: it is no pool file, or was cut off or damaged; restore it, "
        "or remove it and let the server be refilled from the others"));
  }
  if (best->format_version != kPoolFileVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is a pool file of format version ", best->format_version,
        ", this program reads version ", kPoolFileVersion,
        "; use the release that wrote it, or another file"));
  }
  if (best->file_bytes != file_bytes) {
    return absl::DataLossError(absl::StrCat(
        path, " has ", file_bytes, " bytes and should have ", best->file_bytes,
        "; restore it, or remove it and let the server be "
        "refilled from the others"));
  }
  return *best;
}

absl::Status WritePoolFileHeader(int fd, const std::string& path,
                                 PoolFileHeader* header) {
  header->magic = kPoolFileMagic;
  header->format_version = kPoolFileVersion;
  ++header->generation;
  header->checksum = Checksum(*header);
  WHALE_ASSIGN_OR_RETURN(const Mappable file, ExamineMappable(fd));
  for (int copy = 0; copy < 2; ++copy) {
    WHALE_RETURN_IF_ERROR(WriteCopy(fd, path, *header, file, copy));
  }
  return absl::OkStatus();
}

std::string CurrentBootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.substr(0, sizeof(PoolFileHeader::boot_id) - 1);
}

}  // namespace whale::pmem

#include "pmem/pool_file.h"

#include <fcntl.h>
#include <libpmem.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/huge_pages.h"
#include "common/mappable.h"
#include "common/status_macros.h"
#include "pmem/allocate.h"
#include "pmem/dax_platform.h"
#include "pmem/device_dax.h"
#include "pmem/pmem_domain.h"
#include "pmem/shm_domain.h"

namespace whale::pmem {
namespace {

std::string BootId(const PoolFileOptions& options) {
  return options.boot_id.empty() ? CurrentBootId() : options.boot_id;
}

void SetBootId(const std::string& boot_id, PoolFileHeader* header) {
  std::memset(header->boot_id, 0, sizeof(header->boot_id));
  std::memcpy(header->boot_id, boot_id.data(),
              std::min(boot_id.size(), sizeof(header->boot_id) - 1));
}

// What an msync on this file system survives.
Survives MediumSurvives(int fd) {
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return Survives::kProcess;
  const auto type = static_cast<uint64_t>(info.f_type);
  const bool is_memory =
      type == TMPFS_MAGIC || type == RAMFS_MAGIC || type == HUGETLBFS_MAGIC;
  return is_memory ? Survives::kProcess : Survives::kPower;
}

StepProgress Step(const PoolFileOptions& options, uint64_t done_before,
                  uint64_t total) {
  if (!options.progress) return nullptr;
  return [&options, done_before, total](uint64_t done) {
    options.progress(done_before + done, total);
  };
}

absl::Status InUse(int fd, const std::string& path) {
  const auto header = ReadPoolFileHeader(fd, path);
  return absl::FailedPreconditionError(
      absl::StrCat("the pool ", path, " is in use by process ",
                   header.ok() ? absl::StrCat(header->process) : "(unknown)",
                   "; stop that server first, or give this one another "
                   "directory"));
}

absl::StatusOr<Mappable> Examine(int fd, const std::string& path) {
  auto mappable = ExamineMappable(fd);
  if (mappable.ok()) return mappable;
  return absl::InvalidArgumentError(absl::StrCat(
      path,
      " is neither a regular file nor a device-dax; name one, or none that "
      "exists, for the pool"));
}

// What the kernel knows of already, before anything touches it.
absl::Status CheckDamage(int fd, const std::string& path) {
  const auto damaged = DamagedRangesOfDevice(fd);
  if (damaged.empty()) return absl::OkStatus();
  return DamagedMemory(path, damaged[0].offset, damaged[0].bytes);
}

}  // namespace

PoolFile::PoolFile(const std::string& path, FileDescriptor lock)
    : path_(path), lock_(std::move(lock)) {}

PoolFile::~PoolFile() {
  if (map_ == nullptr) return;
  if (mapped_by_libpmem_) {
    pmem_unmap(map_, header_.file_bytes);
  } else {
    munmap(map_, header_.file_bytes);
  }
}

absl::StatusOr<std::unique_ptr<PoolFile>> PoolFile::Create(
    const std::string& path, uint64_t bytes, DomainKind domain,
    const PoolFileOptions& options) {
  if (IsDeviceDax(path)) return CreateOnDevice(path, bytes, domain, options);
  RemoveLeftovers(path);
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(absl::StrCat(
        path, " exists already; open it, or remove it if it is not needed"));
  }
  WHALE_ASSIGN_OR_RETURN(TemporaryFile temporary, CreateTemporary(path));
  PoolFileHeader header{.file_bytes = PoolFileBytes(bytes), .domain = domain};
  SetBootId(BootId(options), &header);
  const auto fill = [&]() -> absl::Status {
    WHALE_RETURN_IF_ERROR(Allocate(temporary.file.get(), path,
                                   header.file_bytes,
                                   Step(options, 0, 2 * header.file_bytes)));
    WHALE_RETURN_IF_ERROR(
        WritePoolFileHeader(temporary.file.get(), path, &header));
    return Publish(temporary, path);
  };
  if (absl::Status status = fill(); !status.ok()) {
    unlink(temporary.path.c_str());
    return status;
  }
  auto file =
      std::unique_ptr<PoolFile>(new PoolFile(path, std::move(temporary.file)));
  if (absl::Status status = file->Start(header, header.file_bytes, options);
      !status.ok()) {
    unlink(path.c_str());
    return status;
  }
  return file;
}

absl::StatusOr<std::unique_ptr<PoolFile>> PoolFile::CreateOnDevice(
    const std::string& path, uint64_t bytes, DomainKind domain,
    const PoolFileOptions& options) {
  if (domain != DomainKind::kPmem) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is a device-dax; its pool must be of the domain pmem"));
  }
  FileDescriptor device(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.valid()) return FileError("open", path);
  WHALE_ASSIGN_OR_RETURN(const Mappable mappable, Examine(device.get(), path));
  if (!TryLock(device.get())) return InUse(device.get(), path);
  WHALE_RETURN_IF_ERROR(CheckDamage(device.get(), path));
  WHALE_ASSIGN_OR_RETURN(const bool blank,
                         IsBlankDevice(device.get(), mappable));
  if (!blank) {
    return absl::AlreadyExistsError(absl::StrCat(
        path,
        " holds something already; open it, or, if it is not needed, wipe it: "
        "daxio -z -o ",
        path));
  }
  if (PoolFileBytes(bytes) > mappable.bytes) {
    return NoRoom(path, PoolFileBytes(bytes), mappable.bytes);
  }
  PoolFileHeader header{.file_bytes = mappable.bytes, .domain = domain};
  SetBootId(BootId(options), &header);
  WHALE_RETURN_IF_ERROR(WritePoolFileHeader(device.get(), path, &header));
  auto file = std::unique_ptr<PoolFile>(new PoolFile(path, std::move(device)));
  WHALE_RETURN_IF_ERROR(file->Start(header, header.file_bytes, options));
  return file;
}

uint64_t PoolFile::StoreBytesOnDevice(const std::string& path) {
  const FileDescriptor file(
      open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  const auto mappable = ExamineMappable(file.get());
  if (!mappable.ok() || !mappable->is_device_dax) return 0;
  const uint64_t overhead = PoolFileBytes(0);
  return mappable->bytes > overhead ? mappable->bytes - overhead : 0;
}

absl::StatusOr<std::unique_ptr<PoolFile>> PoolFile::Open(
    const std::string& path, const PoolFileOptions& options) {
  RemoveLeftovers(path);
  FileDescriptor lock(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!lock.valid()) return FileError("open the pool", path);
  WHALE_ASSIGN_OR_RETURN(const Mappable mappable, Examine(lock.get(), path));
  if (!TryLock(lock.get())) return InUse(lock.get(), path);
  if (mappable.is_device_dax) {
    WHALE_RETURN_IF_ERROR(CheckDamage(lock.get(), path));
    WHALE_ASSIGN_OR_RETURN(const bool blank,
                           IsBlankDevice(lock.get(), mappable));
    if (blank) {
      return absl::NotFoundError(absl::StrCat(path, " holds no pool yet"));
    }
  }
  WHALE_ASSIGN_OR_RETURN(const PoolFileHeader header,
                         ReadPoolFileHeader(lock.get(), path));
  WHALE_RETURN_IF_ERROR(Check(path, header, BootId(options)));
  if (!mappable.is_device_dax) {
    // A copy may be sparse.
    WHALE_RETURN_IF_ERROR(Allocate(lock.get(), path, header.file_bytes,
                                   Step(options, 0, 2 * header.file_bytes)));
  }
  auto file = std::unique_ptr<PoolFile>(new PoolFile(path, std::move(lock)));
  WHALE_RETURN_IF_ERROR(file->Start(header, header.file_bytes, options));
  return file;
}

absl::Status PoolFile::Check(const std::string& path,
                             const PoolFileHeader& header,
                             const std::string& boot_id) {
  switch (header.domain) {
    case DomainKind::kPmem:
      return absl::OkStatus();
    case DomainKind::kShm:
      if (header.closed_cleanly != 0 || boot_id == header.boot_id) {
        return absl::OkStatus();
      }
      return absl::DataLossError(absl::StrCat(
          "the pool ", path,
          " was in use when this machine stopped, and its "
          "memory survives a crash of the process only: what it holds cannot "
          "be trusted; remove the file and let the server be refilled from "
          "the others"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      path, " names persistence domain ", static_cast<int>(header.domain),
      ", which this program does not know; use the release that wrote it"));
}

absl::Status PoolFile::Start(const PoolFileHeader& header, uint64_t done_before,
                             const PoolFileOptions& options) {
  header_ = header;
  file_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  if (!file_.valid()) return FileError("open the pool", path_);
  WHALE_RETURN_IF_ERROR(Map(options));
  named_ = NamedMapping(map_, header_.file_bytes, path_.c_str());
  WHALE_RETURN_IF_ERROR(
      Prefault(map_, header_.file_bytes, path_,
               Step(options, done_before, 2 * header_.file_bytes)));
  header_.process = static_cast<uint32_t>(getpid());
  header_.closed_cleanly = 0;
  SetBootId(BootId(options), &header_);
  return WritePoolFileHeader(file_.get(), path_, &header_);
}

absl::Status PoolFile::Map(const PoolFileOptions& options) {
  if (header_.domain == DomainKind::kPmem) {
    return MapPmem(options.allow_non_dax);
  }
  domain_ = std::make_unique<ShmDomain>();
  return MapShared();
}

absl::Status PoolFile::MapShared() {
  void* mapped = MapAligned(header_.file_bytes, PROT_READ | PROT_WRITE,
                            MAP_SHARED, file_.get());
  if (mapped == MAP_FAILED) return FileError("map", path_);
  map_ = static_cast<std::byte*>(mapped);
  return absl::OkStatus();
}

absl::Status PoolFile::MapPmem(bool allow_non_dax) {
  size_t mapped_bytes = 0;
  int is_pmem = 0;
  void* mapped = pmem_map_file(path_.c_str(), 0, 0, 0, &mapped_bytes, &is_pmem);
  if (mapped == nullptr) return FileError("map", path_);
  map_ = static_cast<std::byte*>(mapped);
  mapped_by_libpmem_ = true;
  if (mapped_bytes != header_.file_bytes) {
    return absl::UnavailableError(
        absl::StrCat(path_, " changed its length while it was opened"));
  }
  const Survives medium = is_pmem != 0 ? WeakestOf(DaxRegionsOf(file_.get()))
                                       : MediumSurvives(file_.get());
  if (is_pmem == 0 && !allow_non_dax) {
    return absl::FailedPreconditionError(absl::StrCat(
        path_,
        " is not on persistent memory (DAX); mount it with -o dax, "
        "use the domain shm, or allow msync instead, which on this medium "
        "survives a stop of: ",
        std::string(SurvivesName(medium))));
  }
  is_dax_ = is_pmem != 0;
  domain_ = std::make_unique<PmemDomain>(is_dax_, medium);
  return absl::OkStatus();
}

absl::Status PoolFile::CloseClean() {
  // Down to the memory itself, past what a loss of power alone would move.
  if ((is_dax_ ? pmem_deep_persist(map_, header_.file_bytes)
               : msync(map_, header_.file_bytes, MS_SYNC)) != 0) {
    return FileError("write back", path_);
  }
  header_.closed_cleanly = 1;
  return WritePoolFileHeader(file_.get(), path_, &header_);
}

}  // namespace whale::pmem

// A pool's file: created whole, allocated in full, mapped, locked.
//
// Lies in any directory, on tmpfs or disk, or is a device-dax (or a symbolic
// link to one), which is taken whole. What of it is still true after a crash
// depends on its domain, chosen when it is created. The store inside is
// logstore's (logstore/pool_mapping.h joins the two).
//
// Thread-safety: none. Ownership: owns file, lock and mapping; all end with it.
// Failure: a process that dies leaves the file as it was written, and at most a
// temporary file that the next Create or Open of the same path removes.
#ifndef WHALE_PMEM_POOL_FILE_H_
#define WHALE_PMEM_POOL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"
#include "pmem/domain.h"
#include "pmem/memory_errors.h"
#include "pmem/pool_file_header.h"

namespace whale::pmem {

struct PoolFileOptions {
  // Domain pmem on a path that is not DAX: persists by msync instead of
  // refusing.
  bool allow_non_dax = false;
  // Told how far allocating and prefaulting has come, in bytes of `total`.
  std::function<void(uint64_t done, uint64_t total)> progress;
  // Identifies the time since the machine was started; empty: as the system
  // says.
  std::string boot_id;
};

class PoolFile {
 public:
  // Makes a file with room for a store of `bytes` (zeros). It appears under
  // `path` only when it is complete. A device must be blank at both ends; what
  // lies between is left as it is.
  // Errors: kAlreadyExists; kResourceExhausted (names path, needed and
  // available bytes); kFailedPrecondition (pmem on a path that is not DAX);
  // kInvalidArgument (device, and not pmem); kDataLoss (damaged memory);
  // kNotFound, kPermissionDenied, kUnavailable (the directory; I/O).
  static absl::StatusOr<std::unique_ptr<PoolFile>> Create(
      const std::string& path, uint64_t bytes, DomainKind domain,
      const PoolFileOptions& options = {});
  // Errors: kNotFound (also: a blank device); kFailedPrecondition (in use by
  // another process; format version; pmem, not DAX); kDataLoss (no pool file,
  // cut off, damaged, names the offset of memory that is; or its bytes were
  // lost with the machine's last stop); as Create.
  static absl::StatusOr<std::unique_ptr<PoolFile>> Open(
      const std::string& path, const PoolFileOptions& options = {});
  // The largest store that fits on the device-dax `path`; 0 if it is none.
  static uint64_t StoreBytesOnDevice(const std::string& path);
  // Without CloseClean before: as if the process were killed.
  ~PoolFile();
  PoolFile(const PoolFile&) = delete;
  PoolFile& operator=(const PoolFile&) = delete;

  // The store's memory: behind the fabric's guard, before the header. Page
  // aligned.
  std::byte* base() const { return map_ + kGuardBytes; }
  uint64_t length() const {
    return header_.file_bytes - kGuardBytes - 2 * kPageBytes;
  }
  // Of the file, to be handed to peers. The lock does not go with it.
  int fd() const { return file_.get(); }
  // Of base() in fd().
  uint64_t fd_offset() const { return kGuardBytes; }
  PersistenceDomain& domain() const { return *domain_; }
  DomainKind domain_kind() const { return header_.domain; }
  const std::string& path() const { return path_; }

  // Writes everything to the medium and marks the file as closed cleanly: it
  // then outlives a restart of the machine, whatever the domain. REQUIRES:
  // nobody writes to it any more.
  absl::Status CloseClean();

 private:
  PoolFile(const std::string& path, FileDescriptor lock);

  static absl::StatusOr<std::unique_ptr<PoolFile>> CreateOnDevice(
      const std::string& path, uint64_t bytes, DomainKind domain,
      const PoolFileOptions& options);
  static absl::Status Check(const std::string& path,
                            const PoolFileHeader& header,
                            const std::string& boot_id);
  absl::Status Map(const PoolFileOptions& options);
  absl::Status MapShared();
  absl::Status MapPmem(bool allow_non_dax);
  absl::Status Start(const PoolFileHeader& header, uint64_t done_before,
                     const PoolFileOptions& options);

  const std::string path_;
  // Two descriptions of one file: the lock must end with this process, even
  // while peers hold the other.
  FileDescriptor lock_;
  FileDescriptor file_;
  PoolFileHeader header_{};
  std::byte* map_ = nullptr;
  NamedMapping named_;
  bool mapped_by_libpmem_ = false;
  bool is_dax_ = false;
  std::unique_ptr<PersistenceDomain> domain_;
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_POOL_FILE_H_

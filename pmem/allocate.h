// Files that are allocated in full before they are used, so that a write to
// their mapping can never fail, and that appear only when they are complete.
//
// Thread-safety: safe from any thread and process.
#ifndef WHALE_PMEM_ALLOCATE_H_
#define WHALE_PMEM_ALLOCATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"

namespace whale::pmem {

// Told so many bytes are done of the step at hand.
using StepProgress = std::function<void(uint64_t done)>;

// The status for `errno` after `verb` on `path` failed.
absl::Status FileError(const char* verb, const std::string& path);

// Whether the calling description got the file's lock.
bool TryLock(int fd);

// A new file beside `path`, locked, under a name that RemoveLeftovers(path)
// recognises.
struct TemporaryFile {
  FileDescriptor file;
  std::string path;
};
absl::StatusOr<TemporaryFile> CreateTemporary(const std::string& path);

// Gives the file its final name. Errors: kAlreadyExists, I/O.
absl::Status Publish(const TemporaryFile& temporary, const std::string& path);

// Removes what CreateTemporary(path) made in processes that are gone.
void RemoveLeftovers(const std::string& path);

// Reserves room for all of [0, bytes). Errors: kResourceExhausted (names path,
// needed and available bytes), I/O.
absl::Status Allocate(int fd, const std::string& path, uint64_t bytes,
                      const StepProgress& progress);

// kResourceExhausted, with the cure.
absl::Status NoRoom(const std::string& path, uint64_t needed_bytes,
                    uint64_t available_bytes);

// Makes all pages of a mapping present and writable, changing nothing.
// Errors: kResourceExhausted; kDataLoss (names the offset of memory that the
// kernel knows to be damaged).
absl::Status Prefault(std::byte* map, uint64_t bytes, const std::string& path,
                      const StepProgress& progress);

}  // namespace whale::pmem

#endif  // WHALE_PMEM_ALLOCATE_H_

// A directory in shared memory that belongs to one run of `whale dev`.
//
// Named whale-dev-PID-XXXXXX, mode 0700, locked while its owner lives, removed
// by the destructor. What killed runs left behind is recognised by name, owner,
// dead pid and free lock together, and removed at the next start; nothing else
// is ever touched.
#ifndef WHALE_TOOLS_PRIVATE_DIRECTORY_H_
#define WHALE_TOOLS_PRIVATE_DIRECTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::tools {

// Makes `path` and its missing parents for this user alone (mode 0700); one
// that exists stays as it is. Errors: kUnavailable (errno).
absl::Status MakeDirectory(const std::string& path);

// An exclusive lock on the file DIR/lock, for the process's life; also given
// up by kill -9.
class DirectoryLock {
 public:
  // Errors: kFailedPrecondition (another process has it, named if known),
  // kUnavailable (errno).
  static absl::StatusOr<std::unique_ptr<DirectoryLock>> Take(
      const std::string& directory);
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

class PrivateDirectory {
 public:
  // Errors: kUnavailable (errno).
  static absl::StatusOr<std::unique_ptr<PrivateDirectory>> Create(
      const std::string& parent);
  ~PrivateDirectory();

  const std::string& path() const { return path_; }

  // Removes what killed runs of this user left in `parent`; returns the names.
  static std::vector<std::string> RemoveLeftOvers(const std::string& parent);

 private:
  PrivateDirectory(std::string path, std::unique_ptr<DirectoryLock> lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  std::unique_ptr<DirectoryLock> lock_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_PRIVATE_DIRECTORY_H_

#include "tools/private_directory.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace whale::tools {
namespace {

constexpr std::string_view kPrefix = "whale-dev-";
constexpr size_t kRandomLetters = 6;

// The pid in a name of ours; 0 for other names.
pid_t PidOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos ||
      name.size() != dash + 1 + kRandomLetters)
    return 0;
  for (const char c : name.substr(dash + 1)) {
    if (!absl::ascii_isalnum(c)) return 0;
  }
  pid_t pid = 0;
  return absl::SimpleAtoi(absl::string_view(name.data(), dash), &pid) && pid > 0
             ? pid
             : 0;
}

bool IsOurDirectory(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         info.st_uid == geteuid() && (info.st_mode & 0777) == 0700;
}

bool IsGone(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

void RemoveTree(const std::string& path) {
  std::error_code ignored;  // what cannot be removed is tried again next time
  std::filesystem::remove_all(path, ignored);
}

}  // namespace

absl::Status MakeDirectory(const std::string& path) {
  const mode_t others = umask(077);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  umask(others);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot make ", path, ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> DirectoryLock::Take(
    const std::string& directory) {
  const std::string path = directory + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  char owner[32] = {};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const ssize_t length = pread(fd, owner, sizeof(owner) - 1, 0);
    close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is in use by another process",
                     length > 0 ? absl::StrCat(" (pid ", owner, ")") : "",
                     "; stop that one or give another --dir"));
  }
  const std::string pid = absl::StrCat(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) !=
                                   static_cast<ssize_t>(pid.size())) {
    const std::string error = std::strerror(errno);
    close(fd);
    return absl::UnavailableError(
        absl::StrCat("cannot write ", path, ": ", error));
  }
  return std::unique_ptr<DirectoryLock>(new DirectoryLock(fd));
}

DirectoryLock::~DirectoryLock() { close(fd_); }

absl::StatusOr<std::unique_ptr<PrivateDirectory>> PrivateDirectory::Create(
    const std::string& parent) {
  std::string path = absl::StrCat(parent, "/", std::string(kPrefix), getpid(),
                                  "-", std::string(kRandomLetters, 'X'));
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot make a directory in ", parent, ": ",
                     std::strerror(errno), "; give --dir instead"));
  }
  auto lock = DirectoryLock::Take(path);
  if (!lock.ok()) {
    RemoveTree(path);
    return lock.status();
  }
  return std::unique_ptr<PrivateDirectory>(
      new PrivateDirectory(std::move(path), *std::move(lock)));
}

PrivateDirectory::~PrivateDirectory() { RemoveTree(path_); }

std::vector<std::string> PrivateDirectory::RemoveLeftOvers(
    const std::string& parent) {
  std::vector<std::string> removed;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename().string();
    const std::string path = entry.path().string();
    const pid_t pid = PidOf(name);
    if (pid == 0 || !IsOurDirectory(path) || !IsGone(pid)) continue;
    // In another pid namespace the owner may live all the same.
    const auto lock = DirectoryLock::Take(path);
    if (!lock.ok()) continue;
    RemoveTree(path);
    removed.push_back(name);
  }
  return removed;
}

}  // namespace whale::tools

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "fabric/shm/mapping.h"
#include "fabric/shm/socket.h"

namespace whale::fabric::shm {
namespace {

constexpr int kBacklog = 256;

absl::StatusOr<sockaddr_un> SocketAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shm: socket path '", path, "' has ", path.size(),
        " bytes; the system allows 1 to ", sizeof(address.sun_path) - 1,
        ": use a shorter directory"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::Status PathError(const std::string& path, const char* verb, int error) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  if (error == ENOENT || error == ENOTDIR) code = absl::StatusCode::kNotFound;
  if (error == EACCES || error == EPERM || error == EROFS) {
    code = absl::StatusCode::kPermissionDenied;
  }
  return ErrnoStatus(code, absl::StrCat("shm: ", verb, " '", path, "'"), error);
}

// Whether `fd` is still what lies at `path` (its last owner may just have
// removed it).
bool IsAt(int fd, const std::string& path) {
  struct stat held, there;
  return fstat(fd, &held) == 0 && stat(path.c_str(), &there) == 0 &&
         held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

absl::StatusOr<FileDescriptor> Lock(const std::string& socket_path) {
  const std::string path = absl::StrCat(socket_path, ".lock");
  for (;;) {
    FileDescriptor fd(
        open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) return PathError(path, "open", errno);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      char pid[32] = {};
      if (pread(fd.get(), pid, sizeof(pid) - 1, 0) <= 0) pid[0] = '?';
      return absl::FailedPreconditionError(
          absl::StrCat("shm: address in use: process ", pid, " listens at '",
                       socket_path, "'; stop it or choose another directory"));
    }
    if (!IsAt(fd.get(), path)) continue;
    const std::string pid = absl::StrCat(getpid());
    if (ftruncate(fd.get(), 0) != 0 ||
        pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
      return PathError(path, "write", errno);
    }
    return fd;
  }
}

// REQUIRES: the lock is held, so whoever made the socket is gone.
absl::Status RemoveStaleSocket(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return absl::OkStatus();
  if (!S_ISSOCK(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shm: '", path, "' exists and is no socket; choose another path"));
  }
  if (unlink(path.c_str()) != 0) return PathError(path, "remove", errno);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Listener> Listener::Create(const std::string& path) {
  Listener listener;
  std::error_code error;
  listener.path_ = std::filesystem::absolute(path, error).lexically_normal();
  WHALE_ASSIGN_OR_RETURN(const sockaddr_un address,
                         SocketAddress(listener.path_));
  const std::string directory =
      std::filesystem::path(listener.path_).parent_path();
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return PathError(directory, "make directory", errno);
  }
  WHALE_ASSIGN_OR_RETURN(listener.lock_, Lock(listener.path_));
  WHALE_RETURN_IF_ERROR(RemoveStaleSocket(listener.path_));
  FileDescriptor fd(
      socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return PathError(listener.path_, "socket", errno);
  // Before bind: there is no moment at which others could connect.
  if (fchmod(fd.get(), 0600) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0) {
    return PathError(listener.path_, "bind", errno);
  }
  if (chmod(listener.path_.c_str(), 0600) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return PathError(listener.path_, "listen", errno);
  }
  listener.socket_ = std::move(fd);
  return listener;
}

Listener::~Listener() {
  if (!socket_.valid()) return;
  unlink(path_.c_str());
  unlink(absl::StrCat(path_, ".lock").c_str());
}

FileDescriptor Listener::Accept() const {
  return FileDescriptor(
      accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

absl::StatusOr<FileDescriptor> Dial(const std::string& path) {
  WHALE_ASSIGN_OR_RETURN(const sockaddr_un address, SocketAddress(path));
  FileDescriptor fd(
      socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return PathError(path, "socket for", errno);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0) {
    return fd;
  }
  if (errno == EAGAIN) {
    return absl::ResourceExhaustedError(
        absl::StrCat("shm: too many wait to connect to '", path, "'"));
  }
  if (errno == ENOENT || errno == ECONNREFUSED) {
    return absl::UnavailableError(absl::StrCat("shm: connect to '", path,
                                               "': ", std::strerror(errno),
                                               "; no server runs there"));
  }
  return PathError(path, "connect to", errno);
}

}  // namespace whale::fabric::shm

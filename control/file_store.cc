#include "control/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/status_macros.h"

namespace whale::control {
namespace {

constexpr std::string_view kMagic = "WHALECFG";
constexpr size_t kHeaderBytes = 24;
constexpr size_t kChecksumAt = 12;
constexpr size_t kLengthAt = 16;
// A state is a few hundred bytes per shard; more than this is not one.
constexpr off_t kMaxFileBytes = 256 << 20;

template <typename T>
void Put(std::string* bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes->push_back(static_cast<char>(value >> (8 * i)));
  }
}

template <typename T>
T Get(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the configuration store is damaged: ",
                   absl::string_view(what.data(), what.size())));
}

absl::Status SystemError(std::string_view verb, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", absl::string_view(verb.data(), verb.size()), " ",
                   path, ": ", strerror(errno)));
}

// Closes when it goes out of scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return SystemError("stat", path);
  if (info.st_size > kMaxFileBytes) return Damaged("it is far too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("read", path);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

// Creates each missing directory of the path.
absl::Status MakeDirectories(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (mkdir(prefix.c_str(), 0700) != 0 && errno != EEXIST) {
      return SystemError("create directory", prefix);
    }
    if (slash == std::string::npos) return absl::OkStatus();
  }
}

absl::Status SyncDirectory(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return SystemError("open directory", path);
  if (fsync(fd.get()) != 0) return SystemError("persist directory", path);
  return absl::OkStatus();
}

absl::Status HeldByAnother(int fd, const std::string& directory) {
  char pid[32] = {};
  const ssize_t got = pread(fd, pid, sizeof(pid) - 1, 0);
  return absl::FailedPreconditionError(
      absl::StrCat("another coordinator (process ", got > 0 ? pid : "unknown",
                   ") leads on the configuration store ", directory,
                   ": stop it first, or use another directory"));
}

absl::Status NameHolder(int fd, const std::string& path) {
  const std::string pid = absl::StrCat(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) !=
                                   static_cast<ssize_t>(pid.size())) {
    return SystemError("write", path);
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeStateFile(const proto::StoredState& state) {
  const std::string body = state.SerializeAsString();
  std::string checked;
  Put<uint64_t>(&checked, body.size());
  checked += body;
  std::string bytes(kMagic);
  Put<uint32_t>(&bytes, kStoredFormatVersion);
  Put<uint32_t>(&bytes, ExtendCrc32c(0, checked.data(), checked.size()));
  return bytes + checked;
}

absl::StatusOr<proto::StoredState> DecodeStateFile(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return Damaged("it is too short");
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return Damaged("it does not begin like one");
  }
  const uint32_t version = Get<uint32_t>(bytes, kMagic.size());
  if (version != kStoredFormatVersion) {
    return absl::UnimplementedError(
        absl::StrCat("the configuration store has format version ", version,
                     "; this program knows ", kStoredFormatVersion,
                     ": use the version of whale that wrote it"));
  }
  const std::string_view checked = bytes.substr(kLengthAt);
  if (ExtendCrc32c(0, checked.data(), checked.size()) !=
      Get<uint32_t>(bytes, kChecksumAt)) {
    return Damaged("its checksum is wrong");
  }
  if (Get<uint64_t>(bytes, kLengthAt) != bytes.size() - kHeaderBytes) {
    return Damaged("its length is wrong");
  }
  proto::StoredState state;
  if (!state.ParseFromArray(bytes.data() + kHeaderBytes,
                            static_cast<int>(bytes.size() - kHeaderBytes))) {
    return Damaged("its content cannot be read");
  }
  return state;
}

absl::StatusOr<std::unique_ptr<FileStore>> FileStore::Open(
    std::string directory) {
  if (directory.empty()) {
    return absl::InvalidArgumentError(
        "the configuration store needs a directory: file:DIR");
  }
  WHALE_RETURN_IF_ERROR(MakeDirectories(directory));
  const std::string path = directory + "/lock";
  Descriptor lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.ok()) return SystemError("open", path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return HeldByAnother(lock.get(), directory);
    return SystemError("lock", path);
  }
  WHALE_RETURN_IF_ERROR(NameHolder(lock.get(), path));
  // What a crash left before its rename was never accepted.
  const std::string unfinished = directory + "/state.new";
  if (unlink(unfinished.c_str()) != 0 && errno != ENOENT) {
    return SystemError("remove", unfinished);
  }
  return std::unique_ptr<FileStore>(
      new FileStore(std::move(directory), lock.Release()));
}

FileStore::~FileStore() { close(lock_fd_); }

absl::StatusOr<std::optional<proto::StoredState>> FileStore::Load() {
  const std::string path = directory_ + "/state";
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok() && errno == ENOENT) return std::nullopt;
  if (!fd.ok()) return SystemError("open", path);
  WHALE_ASSIGN_OR_RETURN(const std::string bytes, ReadAll(fd.get(), path));
  absl::StatusOr<proto::StoredState> state = DecodeStateFile(bytes);
  if (!state.ok()) {
    return absl::Status(
        state.status().code(),
        absl::StrCat(path, ": ", std::string(state.status().message()),
                     ". It is left as it is; put its newest undamaged copy in "
                     "its place"));
  }
  return std::optional<proto::StoredState>(*std::move(state));
}

absl::Status FileStore::CompareAndSwap(uint64_t expected_revision,
                                       const proto::StoredState& next) {
  WHALE_CHECK(next.revision() == expected_revision + 1);
  WHALE_ASSIGN_OR_RETURN(const std::optional<proto::StoredState> now, Load());
  const uint64_t revision = now ? now->revision() : 0;
  const bool repeated =
      now && now->SerializeAsString() == next.SerializeAsString();
  if (revision != expected_revision && !repeated) {
    return absl::AbortedError(absl::StrCat(directory_, "/state has revision ",
                                           revision, ", not ",
                                           expected_revision));
  }
  // Even if it is there already: it may not be durable yet.
  return Replace(EncodeStateFile(next));
}

absl::Status FileStore::Replace(const std::string& bytes) {
  const std::string path = directory_ + "/state.new";
  {
    Descriptor fd(
        open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.ok()) return SystemError("create", path);
    WHALE_RETURN_IF_ERROR(WriteAll(fd.get(), bytes, path));
    if (fsync(fd.get()) != 0) return SystemError("persist", path);
  }
  if (rename(path.c_str(), (directory_ + "/state").c_str()) != 0) {
    return SystemError("rename", path);
  }
  return SyncDirectory(directory_);
}

}  // namespace whale::control

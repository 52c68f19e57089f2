// Owns a file descriptor.
#ifndef WHALE_PMEM_FILE_HANDLE_H_
#define WHALE_PMEM_FILE_HANDLE_H_

#include <unistd.h>

#include <utility>

namespace whale::pmem {

class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileHandle() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_FILE_HANDLE_H_

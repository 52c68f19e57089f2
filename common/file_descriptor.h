// A file descriptor that is closed with its owner.
//
// Thread-safety: none. Ownership: exactly one owner; moves, never copies.
#ifndef WHALE_COMMON_FILE_DESCRIPTOR_H_
#define WHALE_COMMON_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace whale {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace whale

#endif  // WHALE_COMMON_FILE_DESCRIPTOR_H_

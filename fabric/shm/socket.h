// The Unix socket of a connection: how peers find each other, prove who they
// are, and hand over descriptors. Nothing of the data path goes through it.
//
// Thread-safety: none. Failure: a socket in use, a path too long, a stale
// socket of a dead process are told apart; packets that are not ours are
// errors of the peer.
#ifndef WHALE_FABRIC_SHM_SOCKET_H_
#define WHALE_FABRIC_SHM_SOCKET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/process.h"

namespace whale::fabric::shm {

// A listening socket at a path, mode 0600. A lock file beside it, held as long
// as the process lives, tells a living listener from what a killed one left.
class Listener {
 public:
  Listener() = default;
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = default;
  ~Listener();

  // Makes the directory (mode 0700) when only that is missing.
  // Errors: kInvalidArgument (path too long for a socket, or something else
  // lies there), kFailedPrecondition (in use), kNotFound (no such directory),
  // kPermissionDenied.
  static absl::StatusOr<Listener> Create(const std::string& path);

  bool valid() const { return socket_.valid(); }
  int fd() const { return socket_.get(); }
  const std::string& path() const { return path_; }
  // The next waiting peer; an invalid descriptor when there is none.
  FileDescriptor Accept() const;

 private:
  FileDescriptor lock_;
  FileDescriptor socket_;
  std::string path_;  // absolute
};

// Connects. Errors: kResourceExhausted (the listener is busy, try again),
// kUnavailable (nobody listens), kInvalidArgument (path), kPermissionDenied.
absl::StatusOr<FileDescriptor> Dial(const std::string& path);

// The process at the other end.
// Errors: kPermissionDenied (another user's, or it cannot be seen from here).
absl::StatusOr<Process> PeerOf(int socket);

enum class SendResult { kSent, kFull, kBroken };
// One packet: header, `head`, `tail`, descriptors. Never blocks.
SendResult SendPacket(int socket, PacketType type,
                      std::span<const std::byte> head,
                      std::span<const std::byte> tail,
                      std::span<const int> descriptors);

struct Packet {
  PacketType type = PacketType::kRing;
  size_t body_bytes = 0;
  std::array<std::byte, kMaxPacketBytes> body;
  std::array<FileDescriptor, kMaxPacketDescriptors> descriptors;
};
enum class ReceiveResult { kPacket, kNone, kClosed, kGarbage };
ReceiveResult ReceivePacket(int socket, Packet* packet);

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_SOCKET_H_

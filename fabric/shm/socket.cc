#include "fabric/shm/socket.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::fabric::shm {

absl::StatusOr<Process> PeerOf(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return absl::PermissionDeniedError("shm: the peer does not say who it is");
  }
  if (credentials.uid != geteuid() && credentials.uid != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        "shm: the peer, process ", credentials.pid, ", belongs to user ",
        credentials.uid, "; only user ", geteuid(), " and root may connect"));
  }
  const Process peer = ProcessByPid(static_cast<uint64_t>(credentials.pid));
  if (peer.pid == 0 || peer.start == 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("shm: the peer, process ", credentials.pid,
                     ", is gone, or in another process namespace, where it "
                     "cannot be told whether it lives"));
  }
  return peer;
}

SendResult SendPacket(int socket, PacketType type,
                      std::span<const std::byte> head,
                      std::span<const std::byte> tail,
                      std::span<const int> descriptors) {
  PacketHeader header{
      .magic = kPacketMagic, .version = kProtocolVersion, .type = type};
  iovec parts[3] = {
      {&header, sizeof(header)},
      {const_cast<std::byte*>(head.data()), head.size()},
      {const_cast<std::byte*>(tail.data()), tail.size()},
  };
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 3;
  alignas(cmsghdr) char
      control[CMSG_SPACE(sizeof(int) * kMaxPacketDescriptors)] = {};
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(),
                descriptors.size_bytes());
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      return SendResult::kSent;
    }
    if (errno == EINTR) continue;
    // ETOOMANYREFS: descriptors in flight that the receiver has not taken.
    return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS
               ? SendResult::kFull
               : SendResult::kBroken;
  }
}

namespace {

// Takes over every descriptor that came along. False: more than there may be.
bool TakeDescriptors(const msghdr& message, Packet* packet) {
  size_t count = 0;
  bool fits = (message.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t received = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < received; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      FileDescriptor owned(fd);
      if (count < kMaxPacketDescriptors) {
        packet->descriptors[count++] = std::move(owned);
      } else {
        fits = false;
      }
    }
  }
  return fits;
}

}  // namespace

ReceiveResult ReceivePacket(int socket, Packet* packet) {
  PacketHeader header{};
  iovec parts[2] = {{&header, sizeof(header)},
                    {packet->body.data(), packet->body.size()}};
  alignas(
      cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxPacketDescriptors)];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  for (FileDescriptor& fd : packet->descriptors) fd.Reset();
  ssize_t received = 0;
  // ECONNRESET is told once, when the peer closed before it read everything;
  // what it had sent before that (why it refuses, say) comes after.
  bool reset = false;
  do {
    reset = received < 0 && errno == ECONNRESET;
    received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received < 0 && (errno == EINTR || (errno == ECONNRESET && !reset)));
  if (received < 0) {
    return errno == EAGAIN ? ReceiveResult::kNone : ReceiveResult::kClosed;
  }
  if (received == 0) return ReceiveResult::kClosed;
  const bool descriptors_ok = TakeDescriptors(message, packet);
  if (!descriptors_ok || (message.msg_flags & MSG_TRUNC) != 0 ||
      static_cast<size_t>(received) < sizeof(header) ||
      header.magic != kPacketMagic || header.version != kProtocolVersion) {
    return ReceiveResult::kGarbage;
  }
  packet->type = header.type;
  packet->body_bytes = static_cast<size_t>(received) - sizeof(header);
  return ReceiveResult::kPacket;
}

}  // namespace whale::fabric::shm

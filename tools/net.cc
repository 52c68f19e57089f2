#include "tools/net.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "tools/value_parse.h"

namespace whale::tools {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Closes on the way out.
class Socket {
 public:
  explicit Socket(const addrinfo& address)
      : fd_(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<AddressList> Resolve(const std::string& host, uint16_t port,
                                    int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error =
      getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &list);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve ", host, ": ", gai_strerror(error)));
  }
  return AddressList(list, &freeaddrinfo);
}

void SetTimeout(int fd, absl::Duration timeout) {
  const timeval t = absl::ToTimeval(timeout);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

absl::Status IoError(const HostPort& server) {
  const std::string text =
      absl::StrCat(server.host, ":", server.port, ": ", std::strerror(errno));
  return errno == EAGAIN || errno == EINPROGRESS
             ? absl::DeadlineExceededError(text)
             : absl::UnavailableError(text);
}

absl::StatusOr<HttpAnswer> ParseAnswer(const std::string& text) {
  const size_t space = text.find(' ');
  const size_t body = text.find("\r\n\r\n");
  HttpAnswer answer;
  if (!text.starts_with("HTTP/1.") || body == std::string_view::npos ||
      !absl::SimpleAtoi(text.substr(space + 1, 3), &answer.status)) {
    return absl::UnavailableError("the answer is not HTTP");
  }
  answer.body = text.substr(body + 4);
  return answer;
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string_view host =
      text.substr(0, colon == std::string_view::npos ? 0 : colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  const auto port = ParseCount(
      colon == std::string_view::npos ? "" : text.substr(colon + 1), 1, 65535);
  if (host.empty() || !port.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", std::string(text), "\" is not HOST:PORT, as in 127.0.0.1:7400"));
  }
  return HostPort{std::string(host), static_cast<uint16_t>(*port)};
}

absl::Status CheckPortIsFree(const std::string& host, uint16_t port) {
  WHALE_ASSIGN_OR_RETURN(const AddressList list,
                         Resolve(host, port, AI_PASSIVE));
  const Socket socket(*list);
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket.fd(), list->ai_addr, list->ai_addrlen) == 0 &&
      listen(socket.fd(), 1) == 0) {
    return absl::OkStatus();
  }
  if (errno == EADDRINUSE) {
    return absl::FailedPreconditionError(
        absl::StrCat("port ", port, " of ", host,
                     " is in use; stop who listens there or choose another "
                     "port"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot listen on ", host, ":", port, ": ", std::strerror(errno)));
}

absl::Status CheckReachable(const HostPort& server, absl::Duration timeout) {
  WHALE_ASSIGN_OR_RETURN(const AddressList list,
                         Resolve(server.host, server.port, 0));
  const Socket socket(*list);
  SetTimeout(socket.fd(), timeout);
  return connect(socket.fd(), list->ai_addr, list->ai_addrlen) == 0
             ? absl::OkStatus()
             : IoError(server);
}

absl::StatusOr<HttpAnswer> HttpGet(const HostPort& server,
                                   const std::string& path,
                                   absl::Duration timeout) {
  WHALE_ASSIGN_OR_RETURN(const AddressList list,
                         Resolve(server.host, server.port, 0));
  const Socket socket(*list);
  SetTimeout(socket.fd(), timeout);
  if (connect(socket.fd(), list->ai_addr, list->ai_addrlen) != 0) {
    return IoError(server);
  }
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", server.host,
                   "\r\nConnection: close\r\n\r\n");
  if (send(socket.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return IoError(server);
  }
  std::string text;
  char buffer[4096];
  while (text.size() < kMiB) {
    const ssize_t got = recv(socket.fd(), buffer, sizeof(buffer), 0);
    if (got < 0) return IoError(server);
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return ParseAnswer(text);
}

}  // namespace whale::tools

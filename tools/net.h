// Small questions to the network of this machine.
#ifndef WHALE_TOOLS_NET_H_
#define WHALE_TOOLS_NET_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace whale::tools {

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// "host:port" or "[v6]:port". Errors: kInvalidArgument.
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

// OK when a listener on this address and port would be the only one.
// Errors: kFailedPrecondition (in use), kInvalidArgument (no such address).
// gRPC alone would share the port with another coordinator and say nothing.
absl::Status CheckPortIsFree(const std::string& host, uint16_t port);

// OK when somebody accepts a connection there. Errors: as HttpGet.
absl::Status CheckReachable(const HostPort& server, absl::Duration timeout);

struct HttpAnswer {
  int status = 0;
  std::string body;
};
// One GET. Errors: kUnavailable (nobody answers), kDeadlineExceeded.
absl::StatusOr<HttpAnswer> HttpGet(const HostPort& server,
                                   const std::string& path,
                                   absl::Duration timeout);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_NET_H_

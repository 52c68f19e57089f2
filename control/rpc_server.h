// The gRPC services of a coordinator, in front of a CoordinatorLoop.
//
// Without a loop this coordinator stands by: every call is answered with
// kUnavailable and where the leader is (channel.h). A caller without the
// role that a call needs is refused (security.h).
//
// Of several streams of one server process the newest counts. A stream that
// cannot take its directives as fast as they come gets the newest.
//
// Thread-safety: all functions from any thread. gRPC stays behind this header.
#ifndef WHALE_CONTROL_RPC_SERVER_H_
#define WHALE_CONTROL_RPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "control/coordinator_loop.h"
#include "control/effects.h"
#include "control/security.h"

namespace whale::control {

class RpcServer {
 public:
  // Stands by. kUnavailable: the address cannot be listened on;
  // kInvalidArgument: security that makes no sense.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Listen(
      const std::string& address, const ServerSecurity& security);
  ~RpcServer();

  // From now on calls go to `loop`; null: to nobody, and `leader` is who leads,
  // as far as is known. Streams of another loop end.
  void Serve(std::shared_ptr<CoordinatorLoop> loop, std::string leader);

  int port() const;
  // To the process named, or nowhere.
  void Send(const SendDirective& directive);
  void Shutdown();

 private:
  class Impl;
  explicit RpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_RPC_SERVER_H_

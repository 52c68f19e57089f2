// The gRPC services of a coordinator, in front of a CoordinatorLoop.
//
// Of several streams of one server process the newest counts. A stream that
// cannot take its directives as fast as they come gets the newest.
//
// Thread-safety: Send and Shutdown from any thread. Ownership: `loop` outlives
// the server. gRPC stays behind this header.
#ifndef WHALE_CONTROL_RPC_SERVER_H_
#define WHALE_CONTROL_RPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "control/coordinator_loop.h"
#include "control/effects.h"

namespace whale::control {

class RpcServer {
 public:
  // Accepts calls at once; they wait for the loop to be started. kUnavailable:
  // the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Listen(
      const std::string& address, CoordinatorLoop* loop);
  ~RpcServer();

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

// A coordinator as a process runs it: configuration store, core, and the gRPC
// services Control, Cluster and Admin.
//
// Thread-safety: Stop may be called from any thread, once; it is part of the
// destructor. Failure: hostile connections and messages are answered with an
// error or cut off.
#ifndef WHALE_CONTROL_COORDINATOR_SERVER_H_
#define WHALE_CONTROL_COORDINATOR_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "control/coordinator_loop.h"
#include "control/options.h"

namespace whale::control {

class RpcServer;

struct CoordinatorServerOptions {
  std::string listen = "127.0.0.1:7400";  // port 0: any free one
  std::string store;                      // "file:DIR"
  ClusterOptions cluster;                 // for a cluster that is to be formed
  std::string version;                    // of this program, for status
};

class CoordinatorServer {
 public:
  // Errors: as OpenConfigStore and ConfigStore::Load; kInvalidArgument:
  // options or address; kUnavailable: the port is in use.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(
      const CoordinatorServerOptions& options);
  ~CoordinatorServer();

  int port() const;
  // Ends all streams and waits for them.
  void Stop();

 private:
  CoordinatorServer() = default;

  BootClock clock_;
  std::unique_ptr<CoordinatorLoop> loop_;
  std::unique_ptr<RpcServer> rpc_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_COORDINATOR_SERVER_H_

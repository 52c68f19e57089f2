// A coordinator as a process runs it: configuration store, core, and the gRPC
// services Control, Cluster and Admin.
//
// On a store that several coordinators share it stands by until it leads, and
// again when it has lost the leadership.
//
// Thread-safety: Stop may be called from any thread, once; it is part of the
// destructor. Failure: hostile connections and messages are answered with an
// error or cut off.
#ifndef WHALE_CONTROL_COORDINATOR_SERVER_H_
#define WHALE_CONTROL_COORDINATOR_SERVER_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "control/config_store.h"
#include "control/coordinator_loop.h"
#include "control/options.h"
#include "control/security.h"

namespace whale::control {

class RpcServer;

struct CoordinatorServerOptions {
  std::string listen = "127.0.0.1:7400";  // port 0: any free one
  std::string store;      // "file:DIR" or "etcd:http://HOST:PORT,..."
  std::string advertise;  // where clients reach it; empty: `listen`
  ServerSecurity security;
  TlsFiles store_tls;      // for https to etcd
  ClusterOptions cluster;  // for a cluster that is to be formed
  std::string version;     // of this program, for status
  // Told of every change that is over, on a thread of the coordinator's; must
  // not block.
  std::function<void(const ChangeRecord&)> on_change;
};

class CoordinatorServer {
 public:
  // On a store of its own it leads when this returns; errors: as
  // OpenConfigStore and ConfigStore::Load; kInvalidArgument: options, address
  // or security; kUnavailable: the port is in use.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(
      const CoordinatorServerOptions& options);
  ~CoordinatorServer();

  int port() const;
  // Errors: kUnavailable: this coordinator does not lead; kDeadlineExceeded: it
  // gave no answer within `timeout`.
  absl::StatusOr<proto::ClusterStatus> Status(absl::Duration timeout);
  // Ends all streams and waits for them.
  void Stop();

 private:
  explicit CoordinatorServer(const CoordinatorServerOptions& options);
  // Leads once this returns ok.
  absl::Status Lead();
  void StepDown(const std::string& leader);
  std::shared_ptr<CoordinatorLoop> loop() const;
  // Stands by and leads in turn, until Stop.
  void Run();
  bool Pause(absl::Duration time);
  bool stopping() const;

  const CoordinatorServerOptions options_;
  BootClock clock_;
  CoreOptions core_;
  std::shared_ptr<ConfigStore> store_;
  std::unique_ptr<RpcServer> rpc_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<CoordinatorLoop> loop_;  // while it leads; guarded by mutex_
  absl::Status last_error_;                // of the store; guarded by mutex_
  bool stopping_ = false;                  // guarded by mutex_
  std::thread thread_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_COORDINATOR_SERVER_H_

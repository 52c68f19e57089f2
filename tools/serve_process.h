// One server as a process: pool, fabric, link to the coordinator, worker
// thread, HTTP port, and their orderly end.
//
// The main thread only waits; everything of the data path belongs to the
// worker; gRPC and HTTP have threads of their own and talk to the worker by
// queue and snapshot.
#ifndef WHALE_TOOLS_SERVE_PROCESS_H_
#define WHALE_TOOLS_SERVE_PROCESS_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "control/control_link.h"
#include "fabric/fabric.h"
#include "node/server.h"
#include "tools/fabric_open.h"
#include "tools/http_endpoint.h"
#include "tools/pool_open.h"
#include "tools/private_directory.h"
#include "tools/security_flags.h"
#include "tools/serve_flags.h"
#include "tools/worker_loop.h"

namespace whale::tools {

struct ServeOptions {
  ServeFlags flags;
  uint32_t id = 0;
  std::string dir;
  std::vector<std::string> coordinators;
  SecurityFlags security;
  std::string http_host = "127.0.0.1";
  uint16_t http_port = 7410;
  uint32_t shards = 0;  // of a pool that is made
};

class ServeProcess {
 public:
  // Recovers and starts. Block the signals before. Errors: whatever stands in
  // the way, with cause and cure.
  static absl::StatusOr<std::unique_ptr<ServeProcess>> Start(
      const ServeOptions& options);
  ~ServeProcess();

  // Waits for SIGINT or SIGTERM, or until the coordinator refuses the server.
  // Then ends: shuts the server down, closes the pool. Errors: why it was
  // refused; what went wrong in closing.
  absl::Status RunToEnd();

 private:
  // Hands reports to gRPC.
  class Link final : public node::ControlLink {
   public:
    explicit Link(control::ControlClient* client) : client_(client) {}
    void Send(const proto::ServerReport& report) override {
      client_->Send(report);
    }

   private:
    control::ControlClient* client_;
  };

  explicit ServeProcess(const ServeOptions& options) : options_(options) {}
  absl::Status OpenStore();
  absl::Status OpenFabric();
  absl::Status StartServer();
  absl::Status StartHttp();
  HttpResponse Health();
  HttpResponse Readiness();
  HttpResponse Metrics();

  const ServeOptions options_;
  BootClock clock_;
  std::unique_ptr<DirectoryLock> lock_;
  OpenedPool store_;
  OpenedFabric fabric_;
  std::unique_ptr<WorkerLoop> loop_;
  std::unique_ptr<control::ControlClient> control_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<node::Server> server_;
  std::unique_ptr<HttpEndpoint> http_;
  std::string refused_;  // the worker's until it has ended
  std::thread worker_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SERVE_PROCESS_H_

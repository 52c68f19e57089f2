#include "control/coordinator_server.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/refusals.h"
#include "control/rpc_server.h"

namespace whale::control {
namespace {

// Random, of the usual version 4.
absl::StatusOr<std::string> NewUuid() {
  std::string bytes(kUuidBytes, '\0');
  if (getrandom(bytes.data(), bytes.size(), 0) !=
      static_cast<ssize_t>(bytes.size())) {
    return absl::InternalError(
        absl::StrCat("cannot get random bytes: ", strerror(errno)));
  }
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    const CoordinatorServerOptions& options) {
  WHALE_ASSIGN_OR_RETURN(std::unique_ptr<ConfigStore> store,
                         OpenConfigStore(options.store));
  CoreOptions core;
  core.cluster = options.cluster;
  core.description =
      absl::StrCat("whale ", options.version, ", store ", store->Name());
  WHALE_ASSIGN_OR_RETURN(core.new_cluster_uuid, NewUuid());

  std::unique_ptr<CoordinatorServer> server(new CoordinatorServer());
  WHALE_ASSIGN_OR_RETURN(
      server->loop_,
      CoordinatorLoop::Create(core, std::move(store), &server->clock_));
  WHALE_ASSIGN_OR_RETURN(
      server->rpc_, RpcServer::Listen(options.listen, server->loop_.get()));
  RpcServer* rpc = server->rpc_.get();
  server->loop_->Start(
      [rpc](const SendDirective& directive) { rpc->Send(directive); });
  return server;
}

CoordinatorServer::~CoordinatorServer() { Stop(); }

int CoordinatorServer::port() const { return rpc_->port(); }

void CoordinatorServer::Stop() {
  // First nobody waits any more, then nobody is connected.
  if (loop_) loop_->Stop();
  if (rpc_) rpc_->Shutdown();
}

}  // namespace whale::control

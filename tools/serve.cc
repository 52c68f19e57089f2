// whale serve: one server.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/options.h"
#include "tools/cluster_flags.h"
#include "tools/formation_flags.h"
#include "tools/program.h"
#include "tools/serve_process.h"
#include "tools/signals.h"

namespace whale::tools {
namespace {

absl::Status Serve(const ServeOptions& options) {
  if (options.id == 0 || options.dir.empty()) {
    return absl::InvalidArgumentError(
        "a server needs --id (1, 2, ..) and --dir (where its pool lies)");
  }
  WHALE_RETURN_IF_ERROR(CheckAddresses(options.coordinators));
  // Before a pool is made.
  WHALE_RETURN_IF_ERROR(ClientSecurityOf(options.security).status());
  WHALE_RETURN_IF_ERROR(
      StartLogging(options.flags.log, absl::StrCat("server ", options.id)));
  BlockSignals();
  WHALE_ASSIGN_OR_RETURN(const auto process, ServeProcess::Start(options));
  return process->RunToEnd();
}

int Run(const ServeOptions& options) {
  const absl::Status status = Serve(options);
  return status.ok() ? kExitOk : PrintError(status);
}

}  // namespace

void RegisterServe(Program& program) {
  Command& command = program.Add(
      "serve", "Runs one server",
      "Opens the pool in --dir, or makes one, and registers with the "
      "coordinator. Ends with exit\ncode 2 when that refuses it.");
  auto flags = std::make_shared<ServeOptions>();
  flags->coordinators = {"127.0.0.1:7400"};
  flags->shards = kDefaultShards;
  Options& options = command.options;
  options.AddCount("id", &flags->id, "number of this server, from 1");
  options.AddString("dir", &flags->dir, "of the server's files");
  options.AddList("coordinator", &flags->coordinators, "HOST:PORT with commas");
  options.AddString("http-host", &flags->http_host,
                    "address of /metrics, /healthz, /readyz");
  options.AddCount("http-port", &flags->http_port, "their port", 1);
  options.AddCount("shards", &flags->shards,
                   "of the cluster, when a pool is made", 1,
                   control::kMaxShards);
  AddSecurityFlags(&options, &flags->security);
  AddServeFlags(&options, &flags->flags);
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

// whale coordinator: issues configurations and leases, tells clients the map.
#include <signal.h>
#include <string.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/coordinator_server.h"
#include "tools/formation_flags.h"
#include "tools/logging.h"
#include "tools/net.h"
#include "tools/program.h"
#include "tools/signals.h"
#include "tools/version.h"

namespace whale::tools {
namespace {

struct Flags {
  std::string store;
  std::string host = "127.0.0.1";
  uint16_t port = 7400;
  control::ClusterOptions cluster;
  LogFlags log;
};

absl::Status Serve(const Flags& flags) {
  if (flags.store.empty()) {
    return absl::InvalidArgumentError(
        "no configuration store is named; give --store file:DIR");
  }
  WHALE_RETURN_IF_ERROR(StartLogging(flags.log, "coordinator"));
  WHALE_RETURN_IF_ERROR(CheckPortIsFree(flags.host, flags.port));
  BlockSignals();
  control::CoordinatorServerOptions options;
  options.listen = absl::StrCat(flags.host, ":", flags.port);
  options.store = flags.store;
  options.cluster = flags.cluster;
  options.version = Version();
  WHALE_ASSIGN_OR_RETURN(const auto server,
                         control::CoordinatorServer::Start(options));
  Log(LogLevel::kInfo, "serving",
      {{"address", options.listen},
       {"store", flags.store},
       {"version", VersionText()}});
  int signal = 0;
  while (signal != SIGINT && signal != SIGTERM) {
    signal = WaitForSignal(absl::InfiniteDuration());
  }
  Log(LogLevel::kInfo, "stopping", {{"signal", strsignal(signal)}});
  server->Stop();
  return absl::OkStatus();
}

int Run(const Flags& flags) {
  const absl::Status status = Serve(flags);
  return status.ok() ? kExitOk : PrintError(status);
}

}  // namespace

void RegisterCoordinator(Program& program) {
  Command& command = program.Add(
      "coordinator", "Runs one coordinator",
      "Forms a cluster when servers 1 to --replicas with empty pools have "
      "registered; from then\non the configuration store says what the cluster "
      "is, and the flags on its shape are not used.");
  auto flags = std::make_shared<Flags>();
  command.options.AddString("store", &flags->store,
                            "configuration store: file:DIR");
  command.options.AddString("host", &flags->host, "address to listen on");
  command.options.AddCount("port", &flags->port, "port to listen on", 1);
  AddFormationFlags(&command.options, &flags->cluster);
  AddLogFlags(&command.options, &flags->log);
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

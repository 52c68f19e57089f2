// whale coordinator: issues configurations and leases, tells clients the map.
#include <signal.h>
#include <string.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "control/coordinator_server.h"
#include "tools/coordinator_metrics.h"
#include "tools/formation_flags.h"
#include "tools/http_endpoint.h"
#include "tools/logging.h"
#include "tools/net.h"
#include "tools/program.h"
#include "tools/security_flags.h"
#include "tools/signals.h"
#include "tools/status_text.h"
#include "tools/version.h"

namespace whale::tools {
namespace {

constexpr absl::Duration kStatusTimeout = absl::Seconds(1);

struct Flags {
  std::string store;
  std::string host = "127.0.0.1";
  uint16_t port = 7400;
  std::string advertise;
  control::ServerSecurity security;
  std::string http_host = "127.0.0.1";
  uint16_t http_port = 0;
  control::ClusterOptions cluster;
  LogFlags log;
};

// One line for each change of configuration that is over.
void LogChange(const control::ChangeRecord& record) {
  const auto number = [](uint64_t value) { return absl::StrCat(value); };
  const auto servers = [](const std::vector<uint32_t>& ids) {
    return absl::StrJoin(ids, ",");
  };
  std::string steps;
  for (size_t i = 0; i < control::kChangeSteps; ++i) {
    absl::StrAppend(&steps, i == 0 ? "" : " ",
                    std::string(control::kChangeStepNames[i]), ":",
                    record.step_ns[i] / 1000);
  }
  Log(LogLevel::kInfo,
      record.abandoned ? "change given up, begins again" : "change",
      {{"shard", number(record.shard)},
       {"epoch", number(record.epoch)},
       {"reason", record.reason},
       {"members", servers(record.members)},
       {"joined", servers(record.joined)},
       {"left_out", servers(record.left_out)},
       {"committed", number(record.committed)},
       {"start", number(record.start)},
       {"us", number(record.TotalNs() / 1000)},
       {"steps_us", steps}});
}

HttpResponse Metrics(control::CoordinatorServer& server,
                     const CoordinatorMetrics& metrics) {
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = metrics.Text(server.Status(kStatusTimeout))};
}

// Alive, whether it leads or stands by.
HttpResponse Health(control::CoordinatorServer& server) {
  const auto status = server.Status(kStatusTimeout);
  if (absl::IsDeadlineExceeded(status.status())) {
    return {.status = 503, .body = "the coordinator's loop hangs\n"};
  }
  return {.body = "ok\n"};
}

// Leads, and all shards serve.
HttpResponse Readiness(control::CoordinatorServer& server) {
  const auto status = server.Status(kStatusTimeout);
  std::string why_not;
  if (!status.ok()) {
    why_not = std::string(status.status().message());
  } else if (!AllActive(*status)) {
    why_not = status->warnings().empty() ? "not all shards serve"
                                         : status->warnings(0);
  }
  if (why_not.empty()) return {.body = "ok\n"};
  return {.status = 503, .body = why_not + "\n"};
}

absl::StatusOr<std::unique_ptr<HttpEndpoint>> StartHttp(
    const Flags& flags, control::CoordinatorServer* server,
    const CoordinatorMetrics* metrics) {
  if (flags.http_port == 0) return nullptr;
  return HttpEndpoint::Start(
      flags.http_host, flags.http_port,
      {{"/metrics", [=] { return Metrics(*server, *metrics); }},
       {"/healthz", [=] { return Health(*server); }},
       {"/readyz", [=] { return Readiness(*server); }}});
}

absl::Status Serve(const Flags& flags) {
  if (flags.store.empty()) {
    return absl::InvalidArgumentError(
        "no configuration store is named; give --store file:DIR or "
        "--store etcd:http://HOST:PORT,...");
  }
  WHALE_RETURN_IF_ERROR(StartLogging(flags.log, "coordinator"));
  WHALE_RETURN_IF_ERROR(CheckPortIsFree(flags.host, flags.port));
  BlockSignals();
  control::CoordinatorServerOptions options;
  options.listen = absl::StrCat(flags.host, ":", flags.port);
  options.store = flags.store;
  options.advertise = flags.advertise;
  options.security = flags.security;
  options.store_tls = flags.security.tls;
  options.cluster = flags.cluster;
  options.version = Version();
  CoordinatorMetrics metrics;
  options.on_change = [&metrics](const control::ChangeRecord& record) {
    metrics.Note(record);
    LogChange(record);
  };
  WHALE_ASSIGN_OR_RETURN(const auto server,
                         control::CoordinatorServer::Start(options));
  WHALE_ASSIGN_OR_RETURN(auto http, StartHttp(flags, server.get(), &metrics));
  Log(LogLevel::kInfo, "serving",
      {{"address", options.listen},
       {"store", flags.store},
       {"version", VersionText()}});
  int signal = 0;
  while (signal != SIGINT && signal != SIGTERM) {
    signal = WaitForSignal(absl::InfiniteDuration());
  }
  Log(LogLevel::kInfo, "stopping", {{"signal", strsignal(signal)}});
  http.reset();
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
                            "configuration store: file:DIR, or "
                            "etcd:http(s)://HOST:PORT,... for several "
                            "coordinators");
  command.options.AddString("advertise", &flags->advertise,
                            "HOST:PORT where others reach it; as it listens");
  AddServerSecurityFlags(&command.options, &flags->security);
  command.options.AddString("host", &flags->host, "address to listen on");
  command.options.AddCount("port", &flags->port, "port to listen on", 1);
  command.options.AddString("http-host", &flags->http_host,
                            "address of /metrics, /healthz, /readyz");
  command.options.AddCount("http-port", &flags->http_port,
                           "their port; 0: none");
  AddFormationFlags(&command.options, &flags->cluster);
  AddLogFlags(&command.options, &flags->log);
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

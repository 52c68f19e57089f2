#include "tools/serve_process.h"

#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/logging.h"
#include "tools/server_metrics.h"
#include "tools/signals.h"

namespace whale::tools {
namespace {

constexpr absl::Duration kSnapshotTimeout = absl::Seconds(1);

// Differs from all earlier lives; never 0.
Incarnation NewIncarnation() { return Incarnation(RandomNumber() | 1); }

}  // namespace

absl::StatusOr<std::unique_ptr<ServeProcess>> ServeProcess::Start(
    const ServeOptions& options) {
  auto process = std::unique_ptr<ServeProcess>(new ServeProcess(options));
  WHALE_RETURN_IF_ERROR(process->OpenStore());
  WHALE_RETURN_IF_ERROR(process->OpenFabric());
  WHALE_RETURN_IF_ERROR(process->StartServer());
  WHALE_RETURN_IF_ERROR(process->StartHttp());
  return process;
}

ServeProcess::~ServeProcess() {
  if (worker_.joinable()) {
    loop_->Stop();
    worker_.join();
  }
}

absl::Status ServeProcess::OpenStore() {
  WHALE_RETURN_IF_ERROR(MakeDirectory(options_.dir));
  WHALE_ASSIGN_OR_RETURN(lock_, DirectoryLock::Take(options_.dir));
  WHALE_ASSIGN_OR_RETURN(store_, OpenPool(options_.dir, ServerId(options_.id),
                                          options_.shards, options_.flags));
  Log(LogLevel::kInfo, "pool open",
      {{"path", store_.file->path()},
       {"bytes", absl::StrCat(store_.file->length())},
       {"segments", absl::StrCat(store_.pool->geometry().segment_slots)},
       {"domain", std::string(store_.pool->domain().name())},
       {"survives",
        std::string(pmem::SurvivesName(store_.pool->domain().survives()))}});
  return absl::OkStatus();
}

absl::Status ServeProcess::OpenFabric() {
  WHALE_ASSIGN_OR_RETURN(const control::ClientSecurity security,
                         ClientSecurityOf(options_.security));
  WHALE_ASSIGN_OR_RETURN(
      fabric_, OpenServerFabric(options_.flags, options_.dir + "/run",
                                options_.id, security, &store_.pool->domain()));
  return absl::OkStatus();
}

absl::Status ServeProcess::StartServer() {
  loop_ = std::make_unique<WorkerLoop>(
      fabric_.fabric.get(), &clock_,
      absl::ToInt64Nanoseconds(options_.flags.spin));
  loop_->snapshots().set_verbs(fabric_.verbs);
  control::ControlClientOptions control;
  control.coordinators = options_.coordinators;
  control.jitter_seed = RandomNumber();
  WHALE_ASSIGN_OR_RETURN(control.security, ClientSecurityOf(options_.security));
  // Before anything is started, not once in a while in the log.
  WHALE_RETURN_IF_ERROR(
      control::CheckChannels(control.security, control.coordinators));
  control_ = std::make_unique<control::ControlClient>(
      control, [this](const proto::Directive& d) { loop_->Post(d); });
  link_ = std::make_unique<Link>(control_.get());
  node::ServerOptions server;
  server.id = ServerId(options_.id);
  server.incarnation = NewIncarnation();
  server.http_address =
      absl::StrCat(options_.http_host, ":", options_.http_port);
  if (fabric_.verbs != nullptr) {
    server.fabric_detail = fabric_.verbs->description();
  }
  server.measure_stages = true;
  if (fabric_.flush_is_unsafe) {
    server.survives_at_most = pmem::Survives::kProcess;
  }
  server.warn = [](std::string_view text) { Log(LogLevel::kWarning, text); };
  const int64_t start_ns = clock_.NowNs();
  WHALE_ASSIGN_OR_RETURN(
      server_, node::Server::Create(server, fabric_.fabric.get(),
                                    store_.pool.get(), &clock_, link_.get()));
  Log(LogLevel::kInfo, "recovered",
      {{"ms", absl::StrCat((clock_.NowNs() - start_ns) / 1'000'000)},
       {"incarnation", absl::StrCat(server.incarnation.value())}});
  return absl::OkStatus();
}

absl::Status ServeProcess::StartHttp() {
  WHALE_ASSIGN_OR_RETURN(
      http_,
      HttpEndpoint::Start(options_.http_host, options_.http_port,
                          {{"/metrics", [this] { return Metrics(); }},
                           {"/healthz", [this] { return Health(); }},
                           {"/readyz", [this] { return Readiness(); }}}));
  return absl::OkStatus();
}

HttpResponse ServeProcess::Health() {
  return loop_->snapshots().Get(kSnapshotTimeout)
             ? HttpResponse{.body = "ok\n"}
             : HttpResponse{.status = 503, .body = "the worker hangs\n"};
}

HttpResponse ServeProcess::Readiness() {
  const auto snapshot = loop_->snapshots().Get(kSnapshotTimeout);
  if (!snapshot) return {.status = 503, .body = "the worker hangs\n"};
  std::string why_not = WhyNotReady(snapshot->report);
  if (why_not.empty()) return {.body = "ok\n"};
  if (!control_->connected()) {
    absl::StrAppend(&why_not, "; not connected to a coordinator",
                    control_->last_error().empty() ? "" : ": ",
                    control_->last_error());
  }
  return {.status = 503, .body = why_not + "\n"};
}

HttpResponse ServeProcess::Metrics() {
  const auto snapshot = loop_->snapshots().Get(kSnapshotTimeout);
  if (!snapshot) return {.status = 503, .body = "the worker hangs\n"};
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = MetricsText(*snapshot)};
}

absl::Status ServeProcess::RunToEnd() {
  worker_ = std::thread([this] {
    refused_ = loop_->Run(server_.get());
    if (!refused_.empty()) RequestStop();
  });
  Log(LogLevel::kInfo, "serving",
      {{"fabric", fabric_.fabric->address()},
       {"http", absl::StrCat(options_.http_host, ":", options_.http_port)}});
  int signal = 0;
  while (signal != SIGINT && signal != SIGTERM) {
    signal = WaitForSignal(absl::InfiniteDuration());
  }
  Log(LogLevel::kInfo, "stopping", {{"signal", strsignal(signal)}});
  http_.reset();
  loop_->Stop();
  worker_.join();
  if (refused_.empty()) control_->Flush(absl::Milliseconds(500));
  control_.reset();
  server_.reset();
  fabric_.fabric.reset();
  store_.pool.reset();
  const absl::Status closed = store_.file->CloseClean();
  if (!refused_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("refused by the coordinator: ", refused_));
  }
  return closed;
}

}  // namespace whale::tools

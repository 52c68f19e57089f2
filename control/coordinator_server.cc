#include "control/coordinator_server.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/policy.h"
#include "control/refusals.h"
#include "control/rpc_server.h"

namespace whale::control {
namespace {

// How soon a lost leadership is noticed, and another's.
constexpr absl::Duration kLook = absl::Milliseconds(100);
constexpr absl::Duration kCampaign = absl::Seconds(1);

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
  std::unique_ptr<CoordinatorServer> server(new CoordinatorServer(options));
  StoreOptions store;
  store.clock = &server->clock_;
  store.advertise =
      options.advertise.empty() ? options.listen : options.advertise;
  store.security.tls = options.store_tls;
  // etcd's own addresses are its operator's affair.
  store.security.allow_plaintext = true;
  WHALE_RETURN_IF_ERROR(CheckOptions(options.cluster));
  WHALE_ASSIGN_OR_RETURN(server->store_, OpenConfigStore(options.store, store));
  server->core_.cluster = options.cluster;
  server->core_.description = absl::StrCat("whale ", options.version,
                                           ", store ", server->store_->Name());
  WHALE_ASSIGN_OR_RETURN(server->core_.new_cluster_uuid, NewUuid());
  WHALE_ASSIGN_OR_RETURN(server->rpc_,
                         RpcServer::Listen(options.listen, options.security));
  const bool shared = server->store_->LeadershipEndNs() != INT64_MAX;
  if (!shared) WHALE_RETURN_IF_ERROR(server->Lead());
  server->thread_ = std::thread([s = server.get()] { s->Run(); });
  return server;
}

absl::Status CoordinatorServer::Lead() {
  WHALE_ASSIGN_OR_RETURN(std::shared_ptr<CoordinatorLoop> loop,
                         CoordinatorLoop::Create(core_, store_, &clock_));
  RpcServer* const rpc = rpc_.get();
  loop->Start([rpc](const SendDirective& directive) { rpc->Send(directive); },
              [this](const ChangeRecord& record) {
                if (options_.on_change) options_.on_change(record);
              });
  rpc->Serve(loop, "");
  const std::lock_guard lock(mutex_);
  loop_ = std::move(loop);
  return absl::OkStatus();
}

void CoordinatorServer::StepDown(const std::string& leader) {
  std::shared_ptr<CoordinatorLoop> old;
  {
    const std::lock_guard lock(mutex_);
    old = std::exchange(loop_, nullptr);
  }
  rpc_->Serve(nullptr, leader);
  if (old != nullptr) old->Stop();
}

void CoordinatorServer::Run() {
  while (!stopping()) {
    if (const auto leading = loop(); leading != nullptr) {
      if (leading->Leads()) {
        Pause(kLook);
        continue;
      }
      StepDown("");
    }
    std::string leader;
    const auto leads = store_->Campaign(kCampaign, &leader);
    absl::Status status = leads.status();
    if (leads.ok() && *leads) {
      status = Lead();
    } else {
      rpc_->Serve(nullptr, leader);
    }
    {
      const std::lock_guard lock(mutex_);
      last_error_ = status;
    }
    if (!status.ok()) Pause(kCampaign);
  }
}

std::shared_ptr<CoordinatorLoop> CoordinatorServer::loop() const {
  const std::lock_guard lock(mutex_);
  return loop_;
}

bool CoordinatorServer::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

bool CoordinatorServer::Pause(absl::Duration time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, absl::ToChronoNanoseconds(time),
                           [this] { return stopping_; });
}

absl::StatusOr<proto::ClusterStatus> CoordinatorServer::Status(
    absl::Duration timeout) {
  const std::shared_ptr<CoordinatorLoop> leading = loop();
  if (leading == nullptr) {
    const std::lock_guard lock(mutex_);
    return last_error_.ok() ? absl::UnavailableError("stands by") : last_error_;
  }
  auto answer =
      std::make_shared<std::promise<absl::StatusOr<proto::ClusterStatus>>>();
  auto future = answer->get_future();
  leading->GetStatus([answer](absl::StatusOr<proto::ClusterStatus> status) {
    answer->set_value(std::move(status));
  });
  if (future.wait_for(absl::ToChronoNanoseconds(timeout)) ==
      std::future_status::ready) {
    return future.get();
  }
  return absl::DeadlineExceededError("the coordinator gives no answer");
}

CoordinatorServer::CoordinatorServer(const CoordinatorServerOptions& options)
    : options_(options) {}
CoordinatorServer::~CoordinatorServer() { Stop(); }

int CoordinatorServer::port() const { return rpc_->port(); }

void CoordinatorServer::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (rpc_ == nullptr) return;
  // First nobody waits any more, then nobody is connected.
  StepDown("");
  rpc_->Shutdown();
}

}  // namespace whale::control

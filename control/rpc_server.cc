#include "control/rpc_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/channel.h"
#include "control/credentials.h"
#include "control/plans.h"
#include "control/quiet_log.h"
#include "proto/control.grpc.pb.h"

namespace whale::control {
namespace {

// A report names every hole of every shard; more than this is no report.
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kMinPingIntervalMs = 1000;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()));
}

// Who works on calls, as long as this coordinator leads; else, who does lead.
class Desk {
 public:
  void Set(std::shared_ptr<CoordinatorLoop> loop, std::string leader) {
    const std::lock_guard lock(mutex_);
    loop_ = std::move(loop);
    leader_ = std::move(leader);
  }
  std::shared_ptr<CoordinatorLoop> loop() const {
    const std::lock_guard lock(mutex_);
    return loop_;
  }
  grpc::Status Redirect(grpc::CallbackServerContext* context) const {
    const std::lock_guard lock(mutex_);
    if (!leader_.empty()) context->AddTrailingMetadata(kLeaderHeader, leader_);
    return grpc::Status(
        grpc::StatusCode::UNAVAILABLE,
        leader_.empty()
            ? "this coordinator stands by; nobody leads yet"
            : absl::StrCat("this coordinator stands by; ", leader_, " leads"));
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<CoordinatorLoop> loop_;  // guarded by mutex_
  std::string leader_;                     // guarded by mutex_
};

// What all services share.
struct Front {
  explicit Front(Guard the_guard) : guard(std::move(the_guard)) {}

  // Why a call that needs this role is not worked on; ok: `*loop` does.
  grpc::Status Admit(grpc::CallbackServerContext* context, Role needed,
                     std::shared_ptr<CoordinatorLoop>* loop) const {
    const grpc::Status status = guard.Check(*context, needed);
    if (!status.ok()) return status;
    *loop = desk.loop();
    return *loop == nullptr ? desk.Redirect(context) : grpc::Status::OK;
  }
  // Calls `work(loop)`, which answers through the reactor that is returned, if
  // the caller may have it.
  template <typename Work>
  grpc::ServerUnaryReactor* Handle(grpc::CallbackServerContext* context,
                                   Role needed, Work work) const {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    std::shared_ptr<CoordinatorLoop> loop;
    const grpc::Status status = Admit(context, needed, &loop);
    if (status.ok()) {
      work(*loop, reactor);
    } else {
      reactor->Finish(status);
    }
    return reactor;
  }

  const Guard guard;
  Desk desk;
};

using ProcessKey = std::pair<ServerId, Incarnation>;

class AttachStream;

// The newest stream of each server process.
class Streams {
 public:
  void Add(const ProcessKey& process, std::shared_ptr<AttachStream> stream) {
    std::lock_guard lock(mutex_);
    streams_[process] = std::move(stream);
  }
  // False: it is not the newest any more.
  bool Remove(const ProcessKey& process, const AttachStream* stream) {
    std::lock_guard lock(mutex_);
    const auto it = streams_.find(process);
    if (it == streams_.end() || it->second.get() != stream) return false;
    streams_.erase(it);
    return true;
  }
  std::shared_ptr<AttachStream> Find(const ProcessKey& process) {
    std::lock_guard lock(mutex_);
    const auto it = streams_.find(process);
    return it == streams_.end() ? nullptr : it->second;
  }

 private:
  std::mutex mutex_;
  std::map<ProcessKey, std::shared_ptr<AttachStream>> streams_;
};

// One Attach call. Reads form one chain (read, let the loop work on it, read
// again), and only that chain finishes the call; a write that is under way puts
// the finish off until it is done. So neither is ever started on a call that
// is over.
class AttachStream final
    : public grpc::ServerBidiReactor<proto::ServerReport, proto::Directive>,
      public std::enable_shared_from_this<AttachStream> {
 public:
  AttachStream(const Front* front, std::shared_ptr<Streams> streams)
      : front_(front), streams_(std::move(streams)) {}

  // The stream owns itself until gRPC is done with it.
  void Begin(grpc::CallbackServerContext* context) {
    self_ = shared_from_this();
    const grpc::Status status = front_->Admit(context, Role::kServer, &loop_);
    if (!status.ok()) return Close(status);
    StartRead(&report_);
  }

  void Push(const proto::Directive& directive) {
    {
      std::lock_guard lock(mutex_);
      if (closing_ || broken_) return;
      waiting_ = directive;
      if (writing_) return;
      TakeWaiting();
    }
    StartWrite(&directive_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Close(grpc::Status::OK);
    if (front_->desk.loop() != loop_) {
      return Close(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                "this coordinator does not lead any more"));
    }
    const ProcessKey process(ServerId(report_.server_id()),
                             Incarnation(report_.incarnation()));
    if (!process_) {
      process_ = process;
      streams_->Add(process, self_);
    } else if (*process_ != process) {
      return Close(grpc::Status(
          grpc::StatusCode::INVALID_ARGUMENT,
          "a stream carries the reports of one server process only"));
    }
    loop_->Report(std::move(report_), [self = self_] {
      self->report_.Clear();
      self->StartRead(&self->report_);
    });
  }

  void OnWriteDone(bool ok) override {
    {
      std::unique_lock lock(mutex_);
      if (!ok) broken_ = true;
      if (closing_) {
        lock.unlock();
        Finish(status_);
        return;
      }
      if (broken_ || !waiting_) {
        writing_ = false;
        return;
      }
      TakeWaiting();
    }
    StartWrite(&directive_);
  }

  void OnDone() override { self_.reset(); }

 private:
  void TakeWaiting() {
    directive_ = *std::move(waiting_);
    waiting_.reset();
    writing_ = true;
  }

  void Close(const grpc::Status& status) {
    if (process_ && streams_->Remove(*process_, this)) {
      loop_->Gone(process_->first, process_->second);
    }
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
      status_ = status;
      if (writing_) return;
    }
    Finish(status);
  }

  const Front* const front_;
  std::shared_ptr<CoordinatorLoop> loop_;
  const std::shared_ptr<Streams> streams_;
  std::shared_ptr<AttachStream> self_;

  // Of the chain of reads.
  proto::ServerReport report_;
  std::optional<ProcessKey> process_;

  std::mutex mutex_;
  bool writing_ = false;                     // guarded by mutex_
  bool broken_ = false;                      // guarded by mutex_
  bool closing_ = false;                     // guarded by mutex_
  grpc::Status status_;                      // set when closing_ is
  std::optional<proto::Directive> waiting_;  // guarded by mutex_
  proto::Directive directive_;               // of the write under way
};

// Answers a call through its reactor, once.
template <typename T>
CoordinatorLoop::Callback<T> AnswerTo(grpc::ServerUnaryReactor* reactor,
                                      T* response) {
  return [reactor, response](absl::StatusOr<T> answer) {
    if (answer.ok()) *response = std::move(*answer);
    reactor->Finish(ToGrpc(answer.status()));
  };
}

class ControlService final : public proto::Control::CallbackService {
 public:
  ControlService(const Front* front, std::shared_ptr<Streams> streams)
      : front_(front), streams_(std::move(streams)) {}

  grpc::ServerBidiReactor<proto::ServerReport, proto::Directive>* Attach(
      grpc::CallbackServerContext* context) override {
    auto stream = std::make_shared<AttachStream>(front_, streams_);
    stream->Begin(context);
    return stream.get();
  }

 private:
  const Front* const front_;
  const std::shared_ptr<Streams> streams_;
};

class ClusterService final : public proto::Cluster::CallbackService {
 public:
  explicit ClusterService(const Front* front) : front_(front) {}

  grpc::ServerUnaryReactor* GetMap(grpc::CallbackServerContext* context,
                                   const proto::GetMapRequest* request,
                                   proto::ClusterMap* response) override {
    return front_->Handle(
        context, Role::kReadOnly, [=](CoordinatorLoop& loop, auto* reactor) {
          loop.GetMap(request->known_version(), request->wait_us(),
                      AnswerTo(reactor, response));
        });
  }
  grpc::ServerUnaryReactor* OpenSession(
      grpc::CallbackServerContext* context, const proto::OpenSessionRequest*,
      proto::OpenSessionReply* response) override {
    return front_->Handle(context, Role::kReadWrite,
                          [=](CoordinatorLoop& loop, auto* reactor) {
                            loop.OpenSession(AnswerTo(reactor, response));
                          });
  }
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const proto::GetStatusRequest*,
                                      proto::ClusterStatus* response) override {
    return front_->Handle(context, Role::kReadOnly,
                          [=](CoordinatorLoop& loop, auto* reactor) {
                            loop.GetStatus(AnswerTo(reactor, response));
                          });
  }

 private:
  const Front* const front_;
};

class AdminService final : public proto::Admin::CallbackService {
 public:
  explicit AdminService(const Front* front) : front_(front) {}

  grpc::ServerUnaryReactor* SetPolicy(grpc::CallbackServerContext* context,
                                      const proto::SetPolicyRequest* request,
                                      proto::AdminReply* response) override {
    return front_->Handle(
        context, Role::kAdmin, [=](CoordinatorLoop& loop, auto* reactor) {
          loop.SetPolicy(*request, AnswerTo(reactor, response));
        });
  }
  grpc::ServerUnaryReactor* AddServer(grpc::CallbackServerContext* context,
                                      const proto::ServerRequest* request,
                                      proto::AdminReply* response) override {
    return Change(context, PlanAddServer, request, response);
  }
  grpc::ServerUnaryReactor* RemoveServer(grpc::CallbackServerContext* context,
                                         const proto::ServerRequest* request,
                                         proto::AdminReply* response) override {
    return Change(context, PlanRemoveServer, request, response);
  }
  grpc::ServerUnaryReactor* ReplaceServer(
      grpc::CallbackServerContext* context,
      const proto::ReplaceServerRequest* request,
      proto::AdminReply* response) override {
    return Change(context, PlanReplaceServer, request, response);
  }
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const proto::ServerRequest* request,
                                  proto::AdminReply* response) override {
    return Change(context, PlanDrain, request, response);
  }
  grpc::ServerUnaryReactor* MoveShard(grpc::CallbackServerContext* context,
                                      const proto::MoveShardRequest* request,
                                      proto::AdminReply* response) override {
    return Change(context, PlanMoveShard, request, response);
  }
  grpc::ServerUnaryReactor* DeclareLost(
      grpc::CallbackServerContext* context,
      const proto::DeclareLostRequest* request,
      proto::AdminReply* response) override {
    return front_->Handle(
        context, Role::kAdmin, [=](CoordinatorLoop& loop, auto* reactor) {
          loop.DeclareLost(*request, AnswerTo(reactor, response));
        });
  }

 private:
  template <typename Request>
  grpc::ServerUnaryReactor* Change(
      grpc::CallbackServerContext* context,
      absl::StatusOr<std::string> (*plan)(const Request&, proto::StoredState*),
      const Request* request, proto::AdminReply* response) {
    return front_->Handle(
        context, Role::kAdmin, [=](CoordinatorLoop& loop, auto* reactor) {
          loop.Change(
              [plan, request = *request](proto::StoredState* state) {
                return plan(request, state);
              },
              AnswerTo(reactor, response));
        });
  }

  const Front* const front_;
};

}  // namespace

class RpcServer::Impl {
 public:
  explicit Impl(Guard guard)
      : front_(std::move(guard)),
        streams_(std::make_shared<Streams>()),
        control_(&front_, streams_),
        cluster_(&front_),
        admin_(&front_) {}

  absl::Status Listen(const std::string& address) {
    QuietLog();
    grpc::ServerBuilder builder;
    // Otherwise two coordinators could share one port unnoticed.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kMinPingIntervalMs);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.AddListeningPort(address, front_.guard.credentials(), &port_);
    builder.RegisterService(&control_);
    builder.RegisterService(&cluster_);
    builder.RegisterService(&admin_);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr && port_ != 0) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(
        "the coordinator cannot listen on ", address,
        ": the port is in use, or the address is not of this machine"));
  }

  int port() const { return port_; }

  void Serve(std::shared_ptr<CoordinatorLoop> loop, std::string leader) {
    front_.desk.Set(std::move(loop), std::move(leader));
  }

  void Send(const SendDirective& directive) {
    const auto stream =
        streams_->Find({directive.server, directive.incarnation});
    if (stream != nullptr) stream->Push(directive.directive);
  }

  void Shutdown() {
    if (server_ == nullptr) return;
    // Calls under way are cancelled at once.
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

 private:
  Front front_;
  const std::shared_ptr<Streams> streams_;
  ControlService control_;
  ClusterService cluster_;
  AdminService admin_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Listen(
    const std::string& address, const ServerSecurity& security) {
  WHALE_ASSIGN_OR_RETURN(Guard guard, Guard::Create(security, address));
  auto impl = std::make_unique<Impl>(std::move(guard));
  WHALE_RETURN_IF_ERROR(impl->Listen(address));
  return std::unique_ptr<RpcServer>(new RpcServer(std::move(impl)));
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RpcServer::~RpcServer() { Shutdown(); }
void RpcServer::Serve(std::shared_ptr<CoordinatorLoop> loop,
                      std::string leader) {
  impl_->Serve(std::move(loop), std::move(leader));
}
int RpcServer::port() const { return impl_->port(); }
void RpcServer::Send(const SendDirective& directive) { impl_->Send(directive); }
void RpcServer::Shutdown() { impl_->Shutdown(); }

}  // namespace whale::control

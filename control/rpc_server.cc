#include "control/rpc_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
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
  AttachStream(CoordinatorLoop* loop, std::shared_ptr<Streams> streams)
      : loop_(loop), streams_(std::move(streams)) {}

  // The stream owns itself until gRPC is done with it.
  void Begin() {
    self_ = shared_from_this();
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

  CoordinatorLoop* const loop_;
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
  ControlService(CoordinatorLoop* loop, std::shared_ptr<Streams> streams)
      : loop_(loop), streams_(std::move(streams)) {}

  grpc::ServerBidiReactor<proto::ServerReport, proto::Directive>* Attach(
      grpc::CallbackServerContext*) override {
    auto stream = std::make_shared<AttachStream>(loop_, streams_);
    stream->Begin();
    return stream.get();
  }

 private:
  CoordinatorLoop* const loop_;
  const std::shared_ptr<Streams> streams_;
};

class ClusterService final : public proto::Cluster::CallbackService {
 public:
  explicit ClusterService(CoordinatorLoop* loop) : loop_(loop) {}

  grpc::ServerUnaryReactor* GetMap(grpc::CallbackServerContext* context,
                                   const proto::GetMapRequest* request,
                                   proto::ClusterMap* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_->GetMap(request->known_version(), request->wait_us(),
                  AnswerTo(reactor, response));
    return reactor;
  }
  grpc::ServerUnaryReactor* OpenSession(
      grpc::CallbackServerContext* context, const proto::OpenSessionRequest*,
      proto::OpenSessionReply* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_->OpenSession(AnswerTo(reactor, response));
    return reactor;
  }
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const proto::GetStatusRequest*,
                                      proto::ClusterStatus* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_->GetStatus(AnswerTo(reactor, response));
    return reactor;
  }

 private:
  CoordinatorLoop* const loop_;
};

class AdminService final : public proto::Admin::CallbackService {
 public:
  explicit AdminService(CoordinatorLoop* loop) : loop_(loop) {}

  grpc::ServerUnaryReactor* SetPolicy(grpc::CallbackServerContext* context,
                                      const proto::SetPolicyRequest* request,
                                      proto::AdminReply* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_->SetPolicy(*request, AnswerTo(reactor, response));
    return reactor;
  }
  grpc::ServerUnaryReactor* AddServer(grpc::CallbackServerContext* context,
                                      const proto::ServerRequest*,
                                      proto::AdminReply*) override {
    return NotSupported(context, "adding a server");
  }
  grpc::ServerUnaryReactor* RemoveServer(grpc::CallbackServerContext* context,
                                         const proto::ServerRequest*,
                                         proto::AdminReply*) override {
    return NotSupported(context, "removing a server");
  }
  grpc::ServerUnaryReactor* ReplaceServer(grpc::CallbackServerContext* context,
                                          const proto::ReplaceServerRequest*,
                                          proto::AdminReply*) override {
    return NotSupported(context, "replacing a server");
  }
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const proto::ServerRequest*,
                                  proto::AdminReply*) override {
    return NotSupported(context, "draining a server");
  }
  grpc::ServerUnaryReactor* MoveShard(grpc::CallbackServerContext* context,
                                      const proto::MoveShardRequest*,
                                      proto::AdminReply*) override {
    return NotSupported(context, "moving a shard");
  }
  grpc::ServerUnaryReactor* DeclareLost(grpc::CallbackServerContext* context,
                                        const proto::DeclareLostRequest*,
                                        proto::AdminReply*) override {
    return NotSupported(context, "declaring values lost");
  }

 private:
  static grpc::ServerUnaryReactor* NotSupported(
      grpc::CallbackServerContext* context, const std::string& what) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(
        grpc::Status(grpc::StatusCode::UNIMPLEMENTED,
                     what + " is not supported yet by this version"));
    return reactor;
  }

  CoordinatorLoop* const loop_;
};

}  // namespace

class RpcServer::Impl {
 public:
  explicit Impl(CoordinatorLoop* loop)
      : streams_(std::make_shared<Streams>()),
        control_(loop, streams_),
        cluster_(loop),
        admin_(loop) {}

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
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                             &port_);
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
  const std::shared_ptr<Streams> streams_;
  ControlService control_;
  ClusterService cluster_;
  AdminService admin_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Listen(
    const std::string& address, CoordinatorLoop* loop) {
  auto impl = std::make_unique<Impl>(loop);
  const absl::Status status = impl->Listen(address);
  if (!status.ok()) return status;
  return std::unique_ptr<RpcServer>(new RpcServer(std::move(impl)));
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RpcServer::~RpcServer() { Shutdown(); }
int RpcServer::port() const { return impl_->port(); }
void RpcServer::Send(const SendDirective& directive) { impl_->Send(directive); }
void RpcServer::Shutdown() { impl_->Shutdown(); }

}  // namespace whale::control

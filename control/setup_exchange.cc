#include "control/setup_exchange.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/channel.h"
#include "control/credentials.h"
#include "control/quiet_log.h"
#include "proto/setup.grpc.pb.h"

namespace whale::control {
namespace {

using fabric::Exchange;
using proto::SetupFrame;

constexpr int kMostFrameBytes = 16 << 10;
// Set-up takes two messages of each side; who sends many more means no good.
constexpr int kMostMessagesOfACall = 8;
constexpr int kServerPingMs = 5000;
constexpr int kServerPingTimeoutMs = 3000;
constexpr int kLeastPingIntervalMs = 1000;

// One stream, whichever side opened it.
class SetupCall {
 public:
  virtual ~SetupCall() = default;
  virtual void Send(std::string message) = 0;
  virtual void End() = 0;
};

// What came and who is there; shared with the streams, which may outlive the
// exchange by a moment.
class SetupInbox {
 public:
  void SetWake(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }
  // The exchange is gone: nobody is woken any more.
  void Shut() { SetWake(nullptr); }

  uint64_t Add(std::shared_ptr<SetupCall> call) {
    const std::lock_guard lock(mutex_);
    const uint64_t id = next_call_++;
    calls_[id] = std::move(call);
    return id;
  }
  std::shared_ptr<SetupCall> Find(uint64_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(id);
    return found == calls_.end() ? nullptr : found->second;
  }
  std::shared_ptr<SetupCall> Forget(uint64_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return nullptr;
    std::shared_ptr<SetupCall> call = std::move(found->second);
    calls_.erase(found);
    return call;
  }
  std::vector<std::shared_ptr<SetupCall>> ForgetAll() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<SetupCall>> all;
    for (auto& [id, call] : calls_) all.push_back(std::move(call));
    calls_.clear();
    return all;
  }

  // Of a call that was forgotten nothing comes any more.
  void Push(Exchange::Event event) {
    const std::lock_guard lock(mutex_);
    if (!calls_.contains(event.call)) return;
    if (event.kind == Exchange::Kind::kEnded) calls_.erase(event.call);
    events_.push_back(std::move(event));
    if (wake_) wake_();
  }
  bool Take(Exchange::Event* event) {
    const std::lock_guard lock(mutex_);
    if (events_.empty()) return false;
    *event = std::move(events_.front());
    events_.pop_front();
    return true;
  }

  // Streams that gRPC is not done with.
  void BeginStream() {
    const std::lock_guard lock(mutex_);
    ++streams_;
  }
  void EndStream() {
    const std::lock_guard lock(mutex_);
    --streams_;
    streams_changed_.notify_all();
  }
  void WaitForStreams() {
    std::unique_lock lock(mutex_);
    streams_changed_.wait(lock, [this] { return streams_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable streams_changed_;
  // All guarded by mutex_.
  std::function<void()> wake_;
  std::deque<Exchange::Event> events_;
  std::map<uint64_t, std::shared_ptr<SetupCall>> calls_;
  uint64_t next_call_ = 1;
  int streams_ = 0;
};

// What both kinds of stream have in common. Reads form one chain. A stream is
// over (`Over`, once) when that chain has ended, or this side wants the end and
// has sent all it had; never while a write is under way.
class SetupStream : public SetupCall,
                    public std::enable_shared_from_this<SetupStream> {
 public:
  explicit SetupStream(std::shared_ptr<SetupInbox> inbox)
      : inbox_(std::move(inbox)) {
    inbox_->BeginStream();
  }

  void Send(std::string message) override {
    {
      const std::lock_guard lock(mutex_);
      if (ending_ || read_over_) return;
      outbox_.push_back(std::move(message));
    }
    Continue();
  }
  void End() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    Continue();
  }

 protected:
  virtual void StartWriting(const SetupFrame* frame) = 0;
  virtual void StartReading(SetupFrame* frame) = 0;
  virtual void Over() = 0;

  // From here on it lives until gRPC is done with it.
  void Enter() {
    self_ = shared_from_this();
    id_ = inbox_->Add(self_);
  }
  void BeginReading() { StartReading(&incoming_); }
  void OnRead(bool ok) {
    if (ok && ++messages_ <= kMostMessagesOfACall) {
      inbox_->Push({.kind = Exchange::Kind::kMessage,
                    .call = id_,
                    .text = incoming_.body()});
      StartReading(&incoming_);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      read_over_ = true;
    }
    Continue();
  }
  void OnWritten(bool ok) {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) outbox_.clear();
    }
    Continue();
  }
  // gRPC is done with it. It goes before the exchange may: it holds the
  // channel, and the last channel must not end in a thread of gRPC's own, which
  // it would wait for.
  void Ended(std::string why) {
    const std::shared_ptr<SetupInbox> inbox = inbox_;
    inbox->Push(
        {.kind = Exchange::Kind::kEnded, .call = id_, .text = std::move(why)});
    self_.reset();
    inbox->EndStream();
  }
  uint64_t id() const { return id_; }
  SetupInbox* inbox() { return inbox_.get(); }

 private:
  void Continue() {
    bool over = false;
    {
      const std::lock_guard lock(mutex_);
      if (writing_ || over_) return;
      if (read_over_ || (ending_ && outbox_.empty())) {
        over = over_ = true;
      } else if (!outbox_.empty()) {
        outgoing_.set_body(std::move(outbox_.front()));
        outbox_.pop_front();
        writing_ = true;
      } else {
        return;
      }
    }
    if (over) {
      Over();
    } else {
      StartWriting(&outgoing_);
    }
  }

  const std::shared_ptr<SetupInbox> inbox_;
  std::shared_ptr<SetupStream> self_;
  uint64_t id_ = 0;
  SetupFrame incoming_;  // of the chain of reads
  int messages_ = 0;

  std::mutex mutex_;
  std::deque<std::string> outbox_;  // guarded by mutex_
  bool ending_ = false;             // guarded by mutex_
  bool read_over_ = false;          // guarded by mutex_
  bool writing_ = false;            // guarded by mutex_
  bool over_ = false;               // guarded by mutex_; never reset
  SetupFrame outgoing_;             // of the write under way
};

// A stream that a peer has opened.
class CalledStream final
    : public grpc::ServerBidiReactor<SetupFrame, SetupFrame>,
      public SetupStream {
 public:
  using SetupStream::SetupStream;

  void Open(const std::string& peer, bool is_server) {
    Enter();
    inbox()->Push({.kind = Exchange::Kind::kCalled,
                   .call = id(),
                   .text = peer,
                   .is_server = is_server});
    BeginReading();
  }
  void OnReadDone(bool ok) override { OnRead(ok); }
  void OnWriteDone(bool ok) override { OnWritten(ok); }
  void OnDone() override { Ended("the peer closed the connection or died"); }

 private:
  void StartWriting(const SetupFrame* frame) override { StartWrite(frame); }
  void StartReading(SetupFrame* frame) override { StartRead(frame); }
  void Over() override { Finish(grpc::Status::OK); }
};

// A stream that this side has opened.
class CallingStream final
    : public grpc::ClientBidiReactor<SetupFrame, SetupFrame>,
      public SetupStream {
 public:
  using SetupStream::SetupStream;

  uint64_t Open(std::shared_ptr<grpc::Channel> channel,
                const ChannelMaker& maker) {
    maker.Authorize(&context_);
    stub_ = proto::FabricSetup::NewStub(std::move(channel));
    stub_->async()->Open(&context_, this);
    Enter();
    const uint64_t id = this->id();  // the call may end before this returns
    AddHold();                       // writes begin outside of gRPC's calls
    BeginReading();
    StartCall();
    return id;
  }
  void OnReadDone(bool ok) override { OnRead(ok); }
  void OnWriteDone(bool ok) override { OnWritten(ok); }
  void OnDone(const grpc::Status& status) override {
    Ended(status.ok() ? "the peer closed the connection"
                      : std::string(status.error_message()));
  }

 private:
  void StartWriting(const SetupFrame* frame) override { StartWrite(frame); }
  void StartReading(SetupFrame* frame) override { StartRead(frame); }
  // All that was sent has gone out; the peer sees the end of the stream.
  void Over() override {
    context_.TryCancel();
    RemoveHold();
  }

  grpc::ClientContext context_;
  std::unique_ptr<proto::FabricSetup::Stub> stub_;
};

class SetupService final : public proto::FabricSetup::CallbackService {
 public:
  // `token`: by which servers know each other; empty: they need none.
  SetupService(std::shared_ptr<SetupInbox> inbox, std::string token)
      : inbox_(std::move(inbox)), token_(std::move(token)) {}

  grpc::ServerBidiReactor<SetupFrame, SetupFrame>* Open(
      grpc::CallbackServerContext* context) override {
    auto stream = std::make_shared<CalledStream>(inbox_);
    stream->Open(context->peer(),
                 token_.empty() || ShowsToken(*context, token_));
    return stream.get();
  }

 private:
  const std::shared_ptr<SetupInbox> inbox_;
  const std::string token_;
};

class GrpcExchange final : public Exchange {
 public:
  GrpcExchange(ChannelMaker maker, std::string token)
      : maker_(std::move(maker)),
        inbox_(std::make_shared<SetupInbox>()),
        service_(inbox_, std::move(token)) {}
  ~GrpcExchange() override {
    inbox_->Shut();
    for (const auto& call : inbox_->ForgetAll()) call->End();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now());
      server_->Wait();
    }
    inbox_->WaitForStreams();
  }

  absl::Status Listen(const SetupExchangeOptions& options) {
    QuietLog();
    WHALE_RETURN_IF_ERROR(
        CheckSecurity(options.security, options.listen_address));
    WHALE_ASSIGN_OR_RETURN(const auto credentials,
                           ServerCredentialsOf(options.security.tls));
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kLeastPingIntervalMs);
    // A peer whose machine is gone closes nothing.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kServerPingMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               kServerPingTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.SetMaxReceiveMessageSize(kMostFrameBytes);
    int port = 0;
    builder.AddListeningPort(options.listen_address, credentials, &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat(
          "set-up of connections cannot listen on ", options.listen_address,
          ": the port is in use, or the address is not of this machine"));
    }
    const std::string host = !options.advertised_host.empty()
                                 ? options.advertised_host
                                 : options.listen_address.substr(
                                       0, options.listen_address.rfind(':'));
    address_ = absl::StrCat(host, ":", port);
    return absl::OkStatus();
  }

  std::string address() const override { return address_; }
  void SetWake(std::function<void()> wake) override {
    inbox_->SetWake(std::move(wake));
  }
  uint64_t Call(const std::string& address) override {
    std::shared_ptr<grpc::Channel>& channel = channels_[address];
    if (channel == nullptr) {
      auto opened = maker_.Open(address);
      // Calls on a channel without credentials fail, and say so.
      channel = opened.ok() ? *std::move(opened)
                            : OpenChannel(address, nullptr, kConnectMs);
    }
    return std::make_shared<CallingStream>(inbox_)->Open(channel, maker_);
  }
  void Send(uint64_t call, std::string message) override {
    if (const auto stream = inbox_->Find(call)) {
      stream->Send(std::move(message));
    }
  }
  void End(uint64_t call) override {
    if (const auto stream = inbox_->Forget(call)) stream->End();
  }
  bool Take(Event* event) override { return inbox_->Take(event); }

 private:
  const ChannelMaker maker_;
  const std::shared_ptr<SetupInbox> inbox_;
  SetupService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  // One for all connections to a server.
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<fabric::Exchange>> MakeSetupExchange(
    const SetupExchangeOptions& options) {
  WHALE_ASSIGN_OR_RETURN(ChannelMaker maker,
                         ChannelMaker::Create(options.security));
  auto exchange =
      std::make_unique<GrpcExchange>(std::move(maker), options.security.token);
  if (!options.listen_address.empty()) {
    const absl::Status status = exchange->Listen(options);
    if (!status.ok()) return status;
  }
  return exchange;
}

}  // namespace whale::control

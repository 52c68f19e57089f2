#include "control/control_link.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "control/channel.h"
#include "control/credentials.h"
#include "proto/control.grpc.pb.h"

namespace whale::control {
namespace {

// How long an open stream may take to end by itself when the client stops.
constexpr std::chrono::milliseconds kGracefulEnd{500};

}  // namespace

class ControlClient::Impl {
 public:
  Impl(const ControlClientOptions& options,
       absl::AnyInvocable<void(const proto::Directive&)> on_directive)
      : options_(options),
        maker_(ChannelMaker::Create(options.security)),
        on_directive_(std::move(on_directive)),
        backoff_(options.jitter_seed, options.min_pause, options.max_pause),
        thread_([this] { Run(); }) {}

  ~Impl() {
    {
      std::unique_lock lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
      changed_.wait_for(lock, kGracefulEnd, [this] { return ended_; });
      if (context_ != nullptr) context_->TryCancel();
    }
    thread_.join();
  }

  void Send(const proto::ServerReport& report) {
    std::lock_guard lock(mutex_);
    report_ = report;
    ++version_;
    changed_.notify_all();
  }

  bool Flush(absl::Duration timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                             [this] { return sent_version_ == version_; });
  }

  bool connected() const {
    std::lock_guard lock(mutex_);
    return connected_;
  }

  std::string last_error() const {
    std::lock_guard lock(mutex_);
    return last_error_;
  }

 private:
  using Stream =
      grpc::ClientReaderWriter<proto::ServerReport, proto::Directive>;

  void Run() {
    std::unique_lock lock(mutex_);
    // There is nothing to say before the first report.
    changed_.wait(lock, [this] { return stopping_ || version_ != 0; });
    for (size_t turn = 0; !stopping_ && !options_.coordinators.empty();
         ++turn) {
      const std::string address =
          leader_.empty()
              ? options_.coordinators[turn % options_.coordinators.size()]
              : std::exchange(leader_, "");
      lock.unlock();
      RunStream(address);
      lock.lock();
      const absl::Duration pause = backoff_.Next();
      changed_.wait_for(lock, absl::ToChronoNanoseconds(pause),
                        [this] { return stopping_; });
    }
    ended_ = true;
    changed_.notify_all();
  }

  void RunStream(const std::string& address) {
    const auto channel =
        maker_.ok()
            ? maker_->Open(address)
            : absl::StatusOr<std::shared_ptr<grpc::Channel>>(maker_.status());
    if (!channel.ok()) {
      std::lock_guard lock(mutex_);
      last_error_ = std::string(channel.status().message());
      return;
    }
    const auto stub = proto::Control::NewStub(*channel);
    grpc::ClientContext context;
    maker_->Authorize(&context);
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      context_ = &context;
      stream_over_ = false;
      sent_version_ = 0;  // the newest report is said again
    }
    const std::unique_ptr<Stream> stream = stub->Attach(&context);
    std::thread writer([&] { Write(stream.get()); });
    Read(stream.get());
    {
      std::lock_guard lock(mutex_);
      stream_over_ = true;
      connected_ = false;
      changed_.notify_all();
    }
    writer.join();
    const grpc::Status status = stream->Finish();
    std::lock_guard lock(mutex_);
    context_ = nullptr;
    const auto& metadata = context.GetServerTrailingMetadata();
    if (const auto it = metadata.find(kLeaderHeader); it != metadata.end()) {
      leader_ = std::string(it->second.data(), it->second.size());
    }
    last_error_ = absl::StrCat(
        "coordinator ", address, ": ",
        status.ok() ? "it ended the stream" : status.error_message());
  }

  void Read(Stream* stream) {
    proto::Directive directive;
    while (stream->Read(&directive)) {
      {
        std::lock_guard lock(mutex_);
        connected_ = true;
        backoff_.Reset();
      }
      on_directive_(directive);
    }
  }

  void Write(Stream* stream) {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] {
        return stream_over_ || stopping_ || sent_version_ != version_;
      });
      if (stream_over_) return;
      if (sent_version_ == version_) break;
      const proto::ServerReport report = report_;
      const uint64_t version = version_;
      lock.unlock();
      const bool written = stream->Write(report);
      lock.lock();
      if (!written) return;
      sent_version_ = version;
      changed_.notify_all();
    }
    lock.unlock();
    stream->WritesDone();
  }

  const ControlClientOptions options_;
  const absl::StatusOr<ChannelMaker> maker_;
  absl::AnyInvocable<void(const proto::Directive&)> on_directive_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  Backoff backoff_;
  proto::ServerReport report_;
  uint64_t version_ = 0;       // of report_; 0: there was none yet
  uint64_t sent_version_ = 0;  // on the stream that is open
  bool stopping_ = false;
  bool ended_ = false;
  bool stream_over_ = false;
  bool connected_ = false;
  std::string last_error_;
  std::string leader_;  // as one that stands by said; tried next
  grpc::ClientContext* context_ = nullptr;

  std::thread thread_;  // last: uses all of the above
};

ControlClient::ControlClient(
    const ControlClientOptions& options,
    absl::AnyInvocable<void(const proto::Directive&)> on_directive)
    : impl_(std::make_unique<Impl>(options, std::move(on_directive))) {}
ControlClient::~ControlClient() = default;
void ControlClient::Send(const proto::ServerReport& report) {
  impl_->Send(report);
}
bool ControlClient::Flush(absl::Duration timeout) {
  return impl_->Flush(timeout);
}
bool ControlClient::connected() const { return impl_->connected(); }
std::string ControlClient::last_error() const { return impl_->last_error(); }

}  // namespace whale::control

#include "control/cluster_client.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "control/channel.h"
#include "control/credentials.h"
#include "proto/control.grpc.pb.h"

namespace whale::control {
namespace {

constexpr absl::Duration kMinPause = absl::Milliseconds(20);
constexpr absl::Duration kMaxPause = absl::Milliseconds(500);

// Of several coordinators, one that does not answer at all must not use up the
// time for the others.
absl::Duration TimeForOne(absl::Duration left, absl::Duration wait,
                          size_t coordinators) {
  if (coordinators <= 1) return left;
  return std::min(left, wait + std::max(left / 4, absl::Seconds(1)));
}

}  // namespace

class ClusterClient::Impl {
 public:
  Impl(const std::vector<std::string>& coordinators,
       const ClientSecurity& security)
      : maker_(ChannelMaker::Create(security)), broken_(maker_.status()) {
    for (const std::string& address : coordinators) {
      if (broken_.ok()) broken_ = Open(address);
    }
  }

  // `Service`: Cluster or Admin; `method`: of its stub. `wait`: how long the
  // coordinator may take on purpose.
  template <typename Service, typename Request, typename Reply>
  absl::StatusOr<Reply> Call(grpc::Status (Service::Stub::*method)(
                                 grpc::ClientContext*, const Request&, Reply*),
                             const Request& request, absl::Duration wait,
                             absl::Duration timeout) {
    if (!broken_.ok()) return broken_;
    const absl::Time deadline = absl::Now() + timeout;
    Backoff backoff(static_cast<uint64_t>(absl::ToUnixNanos(deadline)),
                    kMinPause, kMaxPause);
    absl::Status last = absl::UnavailableError("no coordinator is named");
    for (;;) {
      // One that stands by may name another, which is asked next.
      for (size_t i = 0, n = size(); i < n; ++i) {
        const size_t at = Preferred(i);
        Reply reply;
        bool redirected = false;
        last = Try<Service>(at, method, request, &reply, wait, deadline,
                            &redirected);
        if (redirected) {
          last = Try<Service>(Preferred(0), method, request, &reply, wait,
                              deadline, &redirected);
        } else if (last.ok()) {
          Prefer(at);
        }
        if (last.ok()) return reply;
        if (!absl::IsUnavailable(last) && !absl::IsDeadlineExceeded(last)) {
          return last;
        }
        if (absl::Now() >= deadline) return NoAnswer(last);
      }
      const absl::Duration pause = backoff.Next();
      if (size() == 0 || absl::Now() + pause >= deadline) {
        return NoAnswer(last);
      }
      if (PauseOrCancelled(pause)) return Cancelled();
    }
  }

  void Cancel() {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
    changed_.notify_all();
  }

 private:
  template <typename Service, typename Method, typename Request, typename Reply>
  absl::Status Try(size_t at, Method method, const Request& request,
                   Reply* reply, absl::Duration wait, absl::Time deadline,
                   bool* redirected) {
    const auto stub = Service::NewStub(channel(at));
    grpc::ClientContext context;
    maker_->Authorize(&context);
    const absl::Duration time =
        TimeForOne(deadline - absl::Now(), wait, size());
    context.set_deadline(
        absl::ToChronoTime(std::min(deadline, absl::Now() + time)));
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) return Cancelled();
      contexts_.insert(&context);
    }
    const grpc::Status status = (stub.get()->*method)(&context, request, reply);
    {
      std::lock_guard lock(mutex_);
      contexts_.erase(&context);
      if (cancelled_) return Cancelled();
    }
    *redirected = !status.ok() && FollowLeader(context);
    return FromGrpc(status);
  }

  absl::Status Open(const std::string& address) {
    auto channel = maker_->Open(address);
    if (!channel.ok()) return channel.status();
    addresses_.push_back(address);
    channels_.push_back(*std::move(channel));
    return absl::OkStatus();
  }

  // Whether the answer named a leader, which is preferred from now on.
  bool FollowLeader(const grpc::ClientContext& context) {
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto it = metadata.find(kLeaderHeader);
    if (it == metadata.end()) return false;
    const std::string leader(it->second.data(), it->second.size());
    std::lock_guard lock(mutex_);
    const auto known = std::find(addresses_.begin(), addresses_.end(), leader);
    if (known == addresses_.end() && !Open(leader).ok()) return false;
    preferred_ = std::find(addresses_.begin(), addresses_.end(), leader) -
                 addresses_.begin();
    return true;
  }

  static absl::Status Cancelled() {
    return absl::CancelledError("the client is being closed");
  }

  absl::Status NoAnswer(const absl::Status& last) {
    std::lock_guard lock(mutex_);
    return absl::Status(
        last.code(),
        absl::StrCat("the coordinator at ", absl::StrJoin(addresses_, ", "),
                     " gives no answer: ", std::string(last.message())));
  }

  size_t size() {
    std::lock_guard lock(mutex_);
    return channels_.size();
  }
  std::shared_ptr<grpc::Channel> channel(size_t at) {
    std::lock_guard lock(mutex_);
    return channels_[at];
  }
  size_t Preferred(size_t turn) {
    std::lock_guard lock(mutex_);
    return (preferred_ + turn) % channels_.size();
  }
  void Prefer(size_t at) {
    std::lock_guard lock(mutex_);
    preferred_ = at;
  }
  bool PauseOrCancelled(absl::Duration pause) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, absl::ToChronoNanoseconds(pause),
                             [this] { return cancelled_; });
  }

  const absl::StatusOr<ChannelMaker> maker_;
  absl::Status broken_;  // constant after construction

  std::mutex mutex_;
  std::vector<std::string> addresses_;                    // guarded by mutex_
  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // guarded by mutex_
  std::condition_variable changed_;
  bool cancelled_ = false;                   // guarded by mutex_
  size_t preferred_ = 0;                     // guarded by mutex_
  std::set<grpc::ClientContext*> contexts_;  // guarded by mutex_
};

ClusterClient::ClusterClient(const std::vector<std::string>& coordinators,
                             const ClientSecurity& security)
    : impl_(std::make_unique<Impl>(coordinators, security)) {}
ClusterClient::~ClusterClient() = default;

absl::StatusOr<proto::ClusterMap> ClusterClient::GetMap(
    uint64_t known_version, absl::Duration wait, absl::Duration timeout) {
  wait = std::min(wait, timeout / 2);
  proto::GetMapRequest request;
  request.set_known_version(known_version);
  request.set_wait_us(static_cast<uint64_t>(
      std::max<int64_t>(0, absl::ToInt64Microseconds(wait))));
  return impl_->Call<proto::Cluster>(&proto::Cluster::Stub::GetMap, request,
                                     wait, timeout);
}

absl::StatusOr<proto::OpenSessionReply> ClusterClient::OpenSession(
    absl::Duration timeout) {
  return impl_->Call<proto::Cluster>(&proto::Cluster::Stub::OpenSession,
                                     proto::OpenSessionRequest(),
                                     absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::ClusterStatus> ClusterClient::GetStatus(
    absl::Duration timeout) {
  return impl_->Call<proto::Cluster>(&proto::Cluster::Stub::GetStatus,
                                     proto::GetStatusRequest(),
                                     absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::SetPolicy(
    const proto::SetPolicyRequest& request, absl::Duration timeout) {
  // The coordinator answers when the policy is in force, within 10 s.
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::SetPolicy, request,
                                   absl::Seconds(10), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::AddServer(
    const proto::ServerRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::AddServer, request,
                                   absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::RemoveServer(
    const proto::ServerRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::RemoveServer, request,
                                   absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::ReplaceServer(
    const proto::ReplaceServerRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::ReplaceServer, request,
                                   absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::Drain(
    const proto::ServerRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::Drain, request,
                                   absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::MoveShard(
    const proto::MoveShardRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::MoveShard, request,
                                   absl::ZeroDuration(), timeout);
}

absl::StatusOr<proto::AdminReply> ClusterClient::DeclareLost(
    const proto::DeclareLostRequest& request, absl::Duration timeout) {
  return impl_->Call<proto::Admin>(&proto::Admin::Stub::DeclareLost, request,
                                   absl::ZeroDuration(), timeout);
}

void ClusterClient::Cancel() { impl_->Cancel(); }

}  // namespace whale::control

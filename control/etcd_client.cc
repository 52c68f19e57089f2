#include "control/etcd_client.h"

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "control/channel.h"
#include "control/credentials.h"
#include "proto/etcd.grpc.pb.h"

namespace whale::control {
namespace {

using etcdserverpb::KV;
using etcdserverpb::Lease;

// A member that does not answer must not use up the time for the others.
constexpr absl::Duration kOneMember = absl::Milliseconds(700);
constexpr absl::Duration kPause = absl::Milliseconds(50);

bool MayTryAnother(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

}  // namespace

absl::StatusOr<EtcdAddress> ParseEtcdAddress(std::string_view text) {
  EtcdAddress address;
  int with_tls = 0;
  const std::vector<std::string> urls = absl::StrSplit(
      absl::string_view(text.data(), text.size()), ',', absl::SkipEmpty());
  for (const std::string& url : urls) {
    absl::string_view rest = url;
    const bool tls = absl::ConsumePrefix(&rest, "https://");
    if (!tls && !absl::ConsumePrefix(&rest, "http://")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", url, "' is no address of etcd; give http://HOST:PORT"));
    }
    absl::ConsumeSuffix(&rest, "/");
    if (rest.find(':') == absl::string_view::npos ||
        rest.find('/') != absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", url, "' must be http://HOST:PORT or https://HOST:PORT"));
    }
    with_tls += tls;
    address.endpoints.emplace_back(rest);
  }
  if (address.endpoints.empty()) {
    return absl::InvalidArgumentError(
        "no member of etcd is named; give etcd:http://HOST:PORT,...");
  }
  address.tls = with_tls > 0;
  if (with_tls != 0 && with_tls != static_cast<int>(urls.size())) {
    return absl::InvalidArgumentError(
        "all members of etcd must be http, or all https");
  }
  return address;
}

class EtcdClient::Impl {
 public:
  explicit Impl(std::vector<std::string> endpoints)
      : endpoints_(std::move(endpoints)) {}

  void Add(std::shared_ptr<grpc::Channel> channel) {
    channels_.push_back(std::move(channel));
  }

  using Try = absl::FunctionRef<grpc::Status(
      const std::shared_ptr<grpc::Channel>& channel,
      grpc::ClientContext* context)>;
  absl::Status Call(absl::Duration timeout, Try one) {
    const absl::Time deadline = absl::Now() + timeout;
    grpc::Status status;
    for (bool again = false;; again = true) {
      for (size_t i = 0; i < channels_.size(); ++i) {
        const size_t at = (preferred() + i) % channels_.size();
        grpc::ClientContext context;
        // A channel that has failed gets on with connecting only while a call
        // waits for it.
        context.set_wait_for_ready(again);
        context.set_deadline(
            absl::ToChronoTime(std::min(deadline, absl::Now() + kOneMember)));
        status = one(channels_[at], &context);
        if (status.ok()) Prefer(at);
        if (status.ok() || !MayTryAnother(status)) return FromGrpc(status);
        if (absl::Now() >= deadline) return NoAnswer(status);
      }
      if (absl::Now() + kPause >= deadline) return NoAnswer(status);
      absl::SleepFor(kPause);
    }
  }

 private:
  absl::Status NoAnswer(const grpc::Status& last) const {
    return absl::UnavailableError(
        absl::StrCat("etcd at ", absl::StrJoin(endpoints_, ", "),
                     " gives no answer: ", last.error_message()));
  }
  size_t preferred() {
    const std::lock_guard lock(mutex_);
    return preferred_;
  }
  void Prefer(size_t at) {
    const std::lock_guard lock(mutex_);
    preferred_ = at;
  }

  const std::vector<std::string> endpoints_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::mutex mutex_;
  size_t preferred_ = 0;  // guarded by mutex_
};

EtcdClient::EtcdClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EtcdClient::~EtcdClient() = default;

absl::StatusOr<std::unique_ptr<EtcdClient>> EtcdClient::Create(
    const EtcdAddress& address, const ClientSecurity& security) {
  ClientSecurity own = security;
  own.token.clear();
  if (!address.tls) own.tls = {};
  if (address.tls && own.tls.empty()) {
    return absl::InvalidArgumentError(
        "https needs --tls-ca, --tls-cert and --tls-key");
  }
  WHALE_ASSIGN_OR_RETURN(const ChannelMaker maker, ChannelMaker::Create(own));
  auto impl = std::make_unique<Impl>(address.endpoints);
  for (const std::string& endpoint : address.endpoints) {
    WHALE_ASSIGN_OR_RETURN(auto channel, maker.Open(endpoint));
    impl->Add(std::move(channel));
  }
  return std::unique_ptr<EtcdClient>(new EtcdClient(std::move(impl)));
}

absl::StatusOr<etcdserverpb::RangeResponse> EtcdClient::Range(
    const etcdserverpb::RangeRequest& request, absl::Duration timeout) {
  etcdserverpb::RangeResponse response;
  WHALE_RETURN_IF_ERROR(
      impl_->Call(timeout, [&](const auto& channel, auto* context) {
        return KV::NewStub(channel)->Range(context, request, &response);
      }));
  return response;
}

absl::StatusOr<etcdserverpb::TxnResponse> EtcdClient::Txn(
    const etcdserverpb::TxnRequest& request, absl::Duration timeout) {
  etcdserverpb::TxnResponse response;
  WHALE_RETURN_IF_ERROR(
      impl_->Call(timeout, [&](const auto& channel, auto* context) {
        return KV::NewStub(channel)->Txn(context, request, &response);
      }));
  return response;
}

absl::StatusOr<etcdserverpb::LeaseGrantResponse> EtcdClient::GrantLease(
    int64_t seconds, absl::Duration timeout) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(seconds);
  etcdserverpb::LeaseGrantResponse response;
  WHALE_RETURN_IF_ERROR(
      impl_->Call(timeout, [&](const auto& channel, auto* context) {
        return Lease::NewStub(channel)->LeaseGrant(context, request, &response);
      }));
  if (response.error().empty()) return response;
  return absl::UnavailableError("etcd gives no lease: " + response.error());
}

absl::StatusOr<int64_t> EtcdClient::KeepLease(int64_t id,
                                              absl::Duration timeout) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(id);
  etcdserverpb::LeaseKeepAliveResponse response;
  WHALE_RETURN_IF_ERROR(
      impl_->Call(timeout, [&](const auto& channel, auto* context) {
        const auto stub = Lease::NewStub(channel);
        const auto stream = stub->LeaseKeepAlive(context);
        const bool answered = stream->Write(request) && stream->Read(&response);
        stream->WritesDone();
        // The stream has done its work; how it ends does not matter.
        if (answered) context->TryCancel();
        const grpc::Status status = stream->Finish();
        return answered ? grpc::Status::OK : status;
      }));
  return response.ttl();
}

absl::Status EtcdClient::RevokeLease(int64_t id, absl::Duration timeout) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(id);
  etcdserverpb::LeaseRevokeResponse response;
  return impl_->Call(timeout, [&](const auto& channel, auto* context) {
    return Lease::NewStub(channel)->LeaseRevoke(context, request, &response);
  });
}

}  // namespace whale::control

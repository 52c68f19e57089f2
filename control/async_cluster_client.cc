#include <utility>

#include "control/cluster_client.h"

namespace whale::control {

AsyncClusterClient::Lane::Lane() : thread_([this] { Run(); }) {}

void AsyncClusterClient::Lane::Add(absl::AnyInvocable<void()> call) {
  {
    std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  added_.notify_one();
}

void AsyncClusterClient::Lane::Finish() {
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  added_.notify_one();
  thread_.join();
}

void AsyncClusterClient::Lane::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    added_.wait(lock, [this] { return finishing_ || !calls_.empty(); });
    if (calls_.empty()) return;
    absl::AnyInvocable<void()> call = std::move(calls_.front());
    calls_.pop_front();
    lock.unlock();
    call();
    lock.lock();
  }
}

AsyncClusterClient::AsyncClusterClient(
    const std::vector<std::string>& coordinators,
    const ClientSecurity& security)
    : client_(coordinators, security) {}

AsyncClusterClient::~AsyncClusterClient() {
  client_.Cancel();
  maps_.Finish();
  others_.Finish();
}

void AsyncClusterClient::GetMap(
    uint64_t known_version, absl::Duration wait, absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<proto::ClusterMap>)> done) {
  maps_.Add(
      [this, known_version, wait, timeout, done = std::move(done)]() mutable {
        done(client_.GetMap(known_version, wait, timeout));
      });
}

void AsyncClusterClient::OpenSession(
    absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<proto::OpenSessionReply>)> done) {
  others_.Add([this, timeout, done = std::move(done)]() mutable {
    done(client_.OpenSession(timeout));
  });
}

void AsyncClusterClient::GetStatus(
    absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<proto::ClusterStatus>)> done) {
  others_.Add([this, timeout, done = std::move(done)]() mutable {
    done(client_.GetStatus(timeout));
  });
}

void AsyncClusterClient::SetPolicy(
    proto::SetPolicyRequest request, absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<proto::AdminReply>)> done) {
  others_.Add([this, request = std::move(request), timeout,
               done = std::move(done)]() mutable {
    done(client_.SetPolicy(request, timeout));
  });
}

}  // namespace whale::control

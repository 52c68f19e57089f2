#include "client/coordinator_link.h"

#include <utility>

#include "absl/time/time.h"

namespace whale::client {
namespace {

// How long the coordinator may keep a question until it has a newer map.
constexpr absl::Duration kMapWait = absl::Milliseconds(500);
constexpr absl::Duration kTimeout = absl::Seconds(2);

}  // namespace

CoordinatorLink::CoordinatorLink(const std::vector<std::string>& coordinators,
                                 const control::ClientSecurity& security,
                                 fabric::Fabric* fabric)
    : fabric_(fabric), coordinator_(coordinators, security) {}

template <typename T>
void CoordinatorLink::Arrive(std::optional<absl::StatusOr<T>>* slot,
                             absl::StatusOr<T> answer) {
  {
    const std::lock_guard lock(mutex_);
    *slot = std::move(answer);
  }
  arrived_.store(true, std::memory_order_release);
  fabric_->Wake();
}

void CoordinatorLink::RequestMap(uint64_t known_version) {
  if (asking_map_) return;
  asking_map_ = true;
  coordinator_.GetMap(known_version, kMapWait, kTimeout,
                      [this](absl::StatusOr<proto::ClusterMap> map) {
                        Arrive(&map_, std::move(map));
                      });
}

void CoordinatorLink::RequestSession() {
  if (asking_session_) return;
  asking_session_ = true;
  coordinator_.OpenSession(
      kTimeout, [this](absl::StatusOr<proto::OpenSessionReply> session) {
        Arrive(&session_, std::move(session));
      });
}

void CoordinatorLink::DeliverArrived(Core* core) {
  std::optional<absl::StatusOr<proto::ClusterMap>> map;
  std::optional<absl::StatusOr<proto::OpenSessionReply>> session;
  arrived_.store(false, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    map.swap(map_);
    session.swap(session_);
  }
  if (map.has_value()) {
    asking_map_ = false;
    if (map->ok()) {
      core->OnMap(**map);
    } else {
      core->OnMapError(map->status());
    }
  }
  if (session.has_value()) {
    asking_session_ = false;
    if (session->ok()) {
      core->OnSession(
          (*session)->session(),
          static_cast<int64_t>((*session)->session_lease_us()) * 1000);
    } else {
      core->OnMapError(session->status());
    }
  }
}

}  // namespace whale::client

// Calls to the coordinator, for clients and operators.
//
// Each call tries the addresses in turn, beginning with the one that answered
// last or that another one names as the leader, and again with growing,
// jittered pauses, as long as coordinators cannot be reached or say
// kUnavailable and the deadline permits.
//
// Thread-safety: all functions from any thread. Errors of all calls:
// kUnavailable: no coordinator answered, or the cluster cannot; nothing
// happened that matters; kDeadlineExceeded: it did not answer in time;
// kCancelled: after Cancel; kUnauthenticated, kPermissionDenied: the token;
// kInvalidArgument: the certificates' files; else what the coordinator says.
#ifndef WHALE_CONTROL_CLUSTER_CLIENT_H_
#define WHALE_CONTROL_CLUSTER_CLIENT_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control/security.h"
#include "proto/control.pb.h"

namespace whale::control {

class ClusterClient {
 public:
  // What is wrong with `security` is what every call returns.
  explicit ClusterClient(const std::vector<std::string>& coordinators,
                         const ClientSecurity& security = {});
  ~ClusterClient();

  // A map whose version is not `known_version`, or after `wait` the same.
  absl::StatusOr<proto::ClusterMap> GetMap(uint64_t known_version,
                                           absl::Duration wait,
                                           absl::Duration timeout);
  absl::StatusOr<proto::OpenSessionReply> OpenSession(absl::Duration timeout);
  absl::StatusOr<proto::ClusterStatus> GetStatus(absl::Duration timeout);

  absl::StatusOr<proto::AdminReply> SetPolicy(
      const proto::SetPolicyRequest& request, absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> AddServer(
      const proto::ServerRequest& request, absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> RemoveServer(
      const proto::ServerRequest& request, absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> ReplaceServer(
      const proto::ReplaceServerRequest& request, absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> Drain(const proto::ServerRequest& request,
                                          absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> MoveShard(
      const proto::MoveShardRequest& request, absl::Duration timeout);
  absl::StatusOr<proto::AdminReply> DeclareLost(
      const proto::DeclareLostRequest& request, absl::Duration timeout);

  // Ends all calls, those under way and those to come.
  void Cancel();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The same without waiting: a thread for maps, which may wait long, and one for
// everything else. Callbacks run on these threads, in the order of the calls.
class AsyncClusterClient {
 public:
  explicit AsyncClusterClient(const std::vector<std::string>& coordinators,
                              const ClientSecurity& security = {});
  // Calls not yet finished are cancelled; their callbacks run before this
  // returns.
  ~AsyncClusterClient();

  void GetMap(uint64_t known_version, absl::Duration wait,
              absl::Duration timeout,
              absl::AnyInvocable<void(absl::StatusOr<proto::ClusterMap>)> done);
  void OpenSession(
      absl::Duration timeout,
      absl::AnyInvocable<void(absl::StatusOr<proto::OpenSessionReply>)> done);
  void GetStatus(
      absl::Duration timeout,
      absl::AnyInvocable<void(absl::StatusOr<proto::ClusterStatus>)> done);
  void SetPolicy(
      proto::SetPolicyRequest request, absl::Duration timeout,
      absl::AnyInvocable<void(absl::StatusOr<proto::AdminReply>)> done);

 private:
  // Runs what it is given, one after the other.
  class Lane {
   public:
    Lane();
    void Add(absl::AnyInvocable<void()> call);
    // Runs what is left, and ends.
    void Finish();

   private:
    void Run();

    std::mutex mutex_;
    std::condition_variable added_;
    std::deque<absl::AnyInvocable<void()>> calls_;  // guarded by mutex_
    bool finishing_ = false;                        // guarded by mutex_
    std::thread thread_;
  };

  ClusterClient client_;
  Lane maps_;
  Lane others_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CLUSTER_CLIENT_H_

// The coordinator as a pure state machine: reports of servers, requests and the
// time in; directives, writes to the configuration store and answers out.
//
// It forms a cluster, grants leases, and changes configurations (protocol,
// section 8). The parts are a folder's worth of small files: registry (who is
// there), refusals, formation, change (one machine per shard), cut, leases,
// cluster_map. This class only routes events, keeps the one write to the store
// that may be under way, and composes directives.
//
// Thread-safety: none. No I/O, no clock, no random source: `now_ns` is
// CLOCK_BOOTTIME of the coordinator's machine and never goes back. Durability:
// nothing is told to anyone before the state it rests on is stored.
#ifndef WHALE_CONTROL_COORDINATOR_CORE_H_
#define WHALE_CONTROL_COORDINATOR_CORE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "control/change.h"
#include "control/copy_progress.h"
#include "control/effects.h"
#include "control/leases.h"
#include "control/options.h"
#include "control/placement.h"
#include "control/registry.h"
#include "proto/control.pb.h"

namespace whale::control {

class CoordinatorCore {
 public:
  // `stored`: what the store holds; none: a cluster is to be formed. REQUIRES:
  // CheckOptions(options.cluster) is ok, a stored state is well-formed
  // (CheckStoredState).
  CoordinatorCore(const CoreOptions& options,
                  std::optional<proto::StoredState> stored, int64_t now_ns);

  // Call once before any other event. Takes over from earlier leaders: nobody
  // is told anything before the new term is stored.
  void Start(int64_t now_ns, Effects* effects);

  void OnReport(const proto::ServerReport& report, int64_t now_ns,
                Effects* effects);
  // The stream of this process is closed.
  void OnServerGone(ServerId server, Incarnation incarnation, int64_t now_ns,
                    Effects* effects);
  // At least every 100 ms.
  void OnTick(int64_t now_ns, Effects* effects);
  // The store's leadership ends then, if it is not prolonged. INT64_MAX, the
  // default: it does not end.
  void OnLeadership(int64_t until_ns) { leases_.SetLeadershipEnd(until_ns); }

  // How the write under way ended. kAborted: somebody else leads, and this
  // core resigns; any other error: it is tried again with the next tick.
  void OnStored(uint64_t revision, int64_t now_ns, Effects* effects);
  void OnStoreFailed(const absl::Status& status, int64_t now_ns,
                     Effects* effects);

  // A session id is answered by an effect that carries `token`, now or later.
  // kUnavailable: there is no cluster yet, or the core has resigned.
  absl::Status OpenSession(uint64_t token, int64_t now_ns, Effects* effects);

  // Changes what servers and shards shall be (plans.h); the answer for the
  // operator. It counts once StorePending() is empty. kUnavailable, and what
  // `plan` says: nothing is changed.
  using Plan =
      absl::FunctionRef<absl::StatusOr<std::string>(proto::StoredState* state)>;
  absl::StatusOr<std::string> Change(Plan plan, int64_t now_ns,
                                     Effects* effects);
  // Why what was asked is not stored yet; empty: it is.
  std::string StorePending() const;

  // Once ok, the policy will be in force after the next change of each shard
  // named, which begins at once; see PolicyPending. kInvalidArgument,
  // kUnavailable: nothing is changed.
  absl::Status SetPolicy(const proto::SetPolicyRequest& request, int64_t now_ns,
                         Effects* effects);
  // Gives up values that no member of the shard has; the answer for the
  // operator. It counts once StorePending() is empty. kNotFound,
  // kFailedPrecondition, kUnavailable: nothing is changed.
  absl::StatusOr<std::string> DeclareLost(
      const proto::DeclareLostRequest& request, int64_t now_ns,
      Effects* effects);
  // Shards that do not serve under the policy set last, and why; empty: all
  // do.
  std::string PolicyPending() const;

  // Changes its version whenever it says something else; versions grow, also
  // from one coordinator to the next.
  const proto::ClusterMap& map() const { return map_; }
  proto::ClusterStatus Status(int64_t now_ns);
  // Not empty: somebody else leads; this core does nothing any more.
  const std::string& resigned() const { return resigned_; }
  // Of every session: the shortest that any shard's policy gives.
  uint64_t session_lease_us() const;

 private:
  // A cluster exists and this core's term is stored.
  bool leads() const { return stored_.has_value() && term_stored_; }
  int64_t SilenceNs() const;
  ChangeContext Context(int64_t now_ns);

  void Refuse(const proto::ServerReport& report, const std::string& why,
              Effects* effects);
  void NoteDeadPeers(const ServerState& server, int64_t now_ns);
  void Form(int64_t now_ns);
  void TakeNewPools();
  void FinishLeaving();
  void SpreadPrimaries(const ChangeContext& context);
  void AddFewer(int64_t now_ns, proto::ClusterStatus* status);
  void AddPlans(int64_t now_ns, proto::ClusterStatus* status);
  // Everything that follows from an event: changes, the store, directives to
  // whom they are new (to `answer_to` in any case), sessions, the map.
  void Settle(int64_t now_ns, uint32_t answer_to, Effects* effects);
  void Store(Effects* effects);
  void IssueSessions(Effects* effects);
  void SendDirectives(int64_t now_ns, uint32_t answer_to, Effects* effects);
  proto::Directive DirectiveFor(const ChangeContext& context,
                                const ServerState& server) const;
  void AddPeers(const ServerState& server, const ChangeContext& context,
                proto::Directive* directive) const;
  void GrantLease(const ChangeContext& context, const ServerState& server,
                  proto::Directive* directive);
  void UpdateMap(int64_t now_ns);
  std::string WhyNoCluster(int64_t now_ns) const;

  const CoreOptions options_;
  Registry registry_;
  Leases leases_;
  CopyProgress progress_;
  std::vector<ShardMachine> machines_;

  // Durable; what shall be; what is under way to the store.
  std::optional<proto::StoredState> stored_;
  std::optional<proto::StoredState> wanted_;
  std::optional<proto::StoredState> in_flight_;
  bool wanted_changed_ = false;
  std::vector<ChangeRecord> records_;  // not handed out yet
  // The move of a primary that was tried last; the next not before.
  std::optional<Move> last_move_;
  int64_t spread_pause_ns_ = 0;
  int64_t spread_at_ns_ = 0;
  bool retry_store_ = false;
  bool term_stored_ = false;
  // Of a cluster being formed: the processes in its first configuration.
  std::map<uint32_t, uint64_t> founders_;

  uint64_t next_session_ = 0;  // below stored_->next_session: may be issued
  std::deque<uint64_t> session_tokens_;

  // Hints (by, about) that were acted upon and are still given; one that goes
  // on is acted upon again, each time after twice the pause.
  struct Hint {
    int64_t again_ns = 0;
    int64_t pause_ns = 0;
  };
  std::map<std::pair<uint32_t, uint32_t>, Hint> hints_;
  // Directives sent last, without their leases, by server.
  struct Sent {
    uint64_t incarnation = 0;
    std::string directive;
  };
  std::map<uint32_t, Sent> sent_;

  proto::ClusterMap map_;
  std::string resigned_;
  std::string store_trouble_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_COORDINATOR_CORE_H_

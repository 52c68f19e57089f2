// A server as primary of one shard in one epoch: executes what the cores of
// primary/, metadata_mcast/ and chain/ decide.
//
// A write's way: Submit -> Ordering appends it -> Turn persists and posts one
// batch to every backup -> their completions reach OnCompletion -> Committer
// moves the watermark and lets the answer go.
//
// Thread-safety: none. Lives from activation to the end of the epoch.
#ifndef WHALE_NODE_PRIMARY_ROLE_H_
#define WHALE_NODE_PRIMARY_ROLE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "chain/replica_state.h"
#include "metadata_mcast/delivery_sender.h"
#include "node/answers.h"
#include "node/chain_sender.h"
#include "node/configuration.h"
#include "node/context.h"
#include "node/landing.h"
#include "node/link.h"
#include "node/peers.h"
#include "node/read_gate.h"
#include "primary/committer.h"
#include "primary/ordering.h"
#include "proto/control.pb.h"
#include "proto/peer_messages.h"

namespace whale::node {

class PrimaryRole final : private primary::OrderingEffects,
                          private primary::CommitEffects {
 public:
  // REQUIRES: the connections to all members are up. `directive`, the newest,
  // outlives it: it lists which values members lack.
  PrimaryRole(Context* context, Peers* peers, Answers* answers, ReadGate* gate,
              chain::ReplicaState* state, Landing* landing,
              const Configuration& configuration,
              const proto::ShardDirective* directive);

  // --- Clients ---
  void Submit(const primary::Write& write);
  void OpenSession(const primary::Write& request);
  void KeepAlive(const primary::Write& request);
  void WaitReplicated(const primary::Write& request, Lsn lsn);

  // As Ordering's. REQUIRES: open().
  bool Relocate(const logstore::RecordHeader& record) {
    return ordering_.Relocate(record);
  }
  bool DeclareLost(const chain::MissingValue& value) {
    return ordering_.DeclareLost(value);
  }

  // --- Peers ---
  // False: the message makes no sense. It is not sent again, so the epoch has
  // to end.
  bool OnBackupReady(ServerId from, const wire::BackupReady& message);
  bool OnSuccessorReady(ServerId from, const wire::SuccessorReady& message) {
    return chain_.OnSuccessorReady(from, message);
  }
  bool OnSegmentGrants(ServerId from,
                       std::span<const wire::SegmentGrantEntry> grants);
  void OnCannotGrant(ServerId from, uint64_t segment);
  // A learner asks where segments from `first` on lie, and up to where it may
  // copy.
  void OnWantSegments(ServerId from, uint64_t first);

  void OnCompletion(const WorkCookie& cookie, const fabric::Event& event);
  void OnConnectionLost(fabric::ConnectionId connection);

  // Commits and answers what is committed.
  void Commit();
  // Persists, delivers, forwards, commits. True if there was anything to do.
  bool Turn();
  int64_t NextDeadlineNs() const;
  // Ends the role as a sender: whoever waits is told to ask again. No Turn
  // after it.
  void Stop();
  // Nothing more will be sent: finds out when all of it has landed.
  void DrainSent();
  // Something posted may still land at `peer`: it is in flight, or was when the
  // connection broke.
  bool MayLandAt(ServerId peer) const;

  // Writes are taken: every backup is ready and the epoch has its first record.
  bool open() const { return begun_; }
  uint32_t open_backups() const { return open_backups_; }
  // Up to where the log is whole: final once stopped.
  Lsn ready_end() const { return ordering_.ReadyEnd(); }
  Lsn replicated() const { return committer_.replicated(); }
  uint64_t window_high_water_bytes() const { return window_high_water_; }
  int64_t lag_since_ns() const { return lag_since_ns_; }
  // The way to a backup's epoch cells; nullptr while it is not ready.
  const fabric::Grant* epoch_cells(size_t backup) const {
    return backups_[backup].sender ? &backups_[backup].epoch_cells : nullptr;
  }
  Link& link(size_t backup) { return backups_[backup].link; }

 private:
  struct Backup {
    ServerId id;
    Link link;
    std::optional<metadata_mcast::DeliverySender> sender;
    // Grants that came before BackupReady.
    std::vector<wire::SegmentGrantEntry> early_grants;
    fabric::Grant epoch_cells;
    const std::byte* progress_cells = nullptr;
    uint64_t progress_sequence = 0;
    uint64_t cannot_grant = 0;  // a segment number; 0: none
    int64_t told_at_ns = 0;
    int64_t woken_at_ns = 0;
    // The batch whose delivery is timed is completed by so many completions
    // more; 0: none is.
    size_t timed_in = 0;
    uint64_t timed_since = 0;  // cycles
  };

  // primary::OrderingEffects
  void AnswerWhenCommitted(const primary::Write& write, wire::Result result,
                           uint64_t version, Lsn after,
                           primary::ReplyKind kind) override;
  void Refuse(const primary::Write& write, wire::Result result,
              wire::Reason reason) override;
  void StartPull(const primary::Write& write, Lsn lsn, std::byte* to) override;
  bool OthersMayLack(Lsn lsn) const override;
  // primary::CommitEffects
  void Answer(const primary::WaitingReply& reply) override;

  Backup* Find(ServerId id);
  void AnnounceSelf(const Backup& backup);
  bool BeginWhenReady();
  struct WaitingPull {
    fabric::ConnectionId connection;
    Lsn lsn;
    fabric::WorkRequest request;
  };
  bool PostPull(const WaitingPull& pull);
  void GiveUpPull(const WaitingPull& pull);
  void OnPulled(fabric::ConnectionId connection, fabric::Outcome outcome);
  void AbandonPulls(fabric::ConnectionId connection);
  void GrantSegments(ServerId to, uint64_t first, uint64_t last);
  bool KeepSegmentsAhead();
  void UpdateWritable();
  bool PersistOwn();
  bool Deliver(size_t index);
  void TimeDelivery(Backup* backup);
  void SendCommitWhenIdle(size_t index);
  bool Forward();
  bool ReadProgress();
  void Wake(Backup& backup);
  void WakeWhereNeeded();
  void ExpireSessions();
  uint32_t CopiesOf(Lsn lsn) const;
  WorkCookie Cookie(WorkKind kind, size_t index) const;

  Context* const context_;
  Peers* const peers_;
  Answers* const answers_;
  ReadGate* const gate_;
  chain::ReplicaState* const state_;
  Landing* const landing_;
  const Configuration configuration_;
  const proto::ShardDirective* const directive_;

  primary::Committer committer_;
  primary::Ordering ordering_;
  std::vector<Backup> backups_;
  ChainSender chain_;
  // READs of clients' values, in flight: completion order per connection.
  std::vector<std::pair<fabric::ConnectionId, Lsn>> pulls_;
  // Those for which the connection's queue had no room yet.
  std::vector<WaitingPull> waiting_pulls_;

  uint32_t open_backups_ = 0;
  Lsn own_durable_;
  uint64_t own_segments_until_ = 0;  // largest segment that is here
  uint64_t writable_seen_from_ = 0;  // the log's segment at UpdateWritable
  bool own_pool_full_ = false;
  int64_t segments_retry_at_ns_ = 0;
  int64_t last_delivery_ns_ = 0;
  int64_t progress_read_at_ns_ = 0;
  uint64_t window_high_water_ = 0;
  int64_t lag_since_ns_ = 0;
  int64_t session_scan_at_ns_ = 0;
  bool begun_ = false;
};

}  // namespace whale::node

#endif  // WHALE_NODE_PRIMARY_ROLE_H_

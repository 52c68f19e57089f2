// One shard on this server, through its life: recovered from the pool, ended,
// sealed, adopted, active as primary or backup, ended again (protocol,
// section 8).
//
// It does nothing of its own accord: the coordinator's directive says what step
// is wanted, and Turn does what is missing. Every step is idempotent. A
// restarted process starts as `recovered` and can only join a later epoch.
//
// Thread-safety: none.
#ifndef WHALE_NODE_REPLICA_H_
#define WHALE_NODE_REPLICA_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "chain/replica_state.h"
#include "logstore/recovery.h"
#include "node/answers.h"
#include "node/backup_reads.h"
#include "node/backup_role.h"
#include "node/configuration.h"
#include "node/context.h"
#include "node/early_messages.h"
#include "node/epoch_confirm.h"
#include "node/get.h"
#include "node/landing.h"
#include "node/learner.h"
#include "node/lease.h"
#include "node/peers.h"
#include "node/primary_role.h"
#include "node/read_gate.h"
#include "node/refill.h"
#include "primary/write.h"
#include "proto/control.pb.h"

namespace whale::node {

class Replica final : private ReadGate {
 public:
  // Recovers the shard from the pool. Errors: kDataLoss (its state block),
  // kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<Replica>> Recover(Context* context,
                                                          Peers* peers,
                                                          ClientPort* clients,
                                                          const Lease* lease,
                                                          ShardId shard);

  // --- Control ---
  void OnDirective(const proto::ShardDirective& directive);
  void FillReport(proto::ShardReport* report) const;
  // Changes whenever the coordinator should hear at once.
  uint64_t report_generation() const { return report_generation_; }
  // The sequence number of the next report, at activation.
  void set_next_sequence(uint64_t sequence) { next_sequence_ = sequence; }
  // Why the wanted step cannot be taken, for the operator; empty if it can.
  const std::string& note() const { return note_; }
  // Members to whom a connection of this epoch broke: it is never repaired
  // within the epoch, and messages may be lost.
  void CollectBroken(std::vector<ServerId>* broken) const;

  // --- Clients ---
  // An epoch other than this replica's, or no role: answered and done with.
  bool Admit(const ClientRequest& request);
  void Write(const ClientRequest& request, std::string_view key, uint64_t hash);
  // Start fetching what a request for this key will need: first its place in
  // the index, a while later the record that stands there.
  void Prefetch(uint64_t hash) const { state_.index.Prefetch(hash); }
  void PrefetchRecord(uint64_t hash) const {
    state_.index.PrefetchRecord(hash);
  }
  // Everything that was delivered becomes known; before a batch of Serve.
  void AnnounceForReads();
  void Serve(const Get& get);

  // --- Peers ---
  void OnPeerMessage(ServerId from, std::span<const std::byte> message);
  void OnCompletion(const WorkCookie& cookie, const fabric::Event& event);
  void OnConnectionLost(fabric::ConnectionId connection);
  void OnImmediate();

  // Commits and answers what its backups hold by now; Turn does, too.
  void Commit();
  bool Turn();
  int64_t NextDeadlineNs() const;
  // Clean shutdown: ends as a sender, persists.
  void Shutdown();

 private:
  Replica(Context* context, Peers* peers, ClientPort* clients,
          const Lease* lease, ShardId shard);

  // ReadGate
  bool LeaseIsValid() override;
  void ConfirmEpoch(absl::AnyInvocable<void(bool)> done) override;

  // replica_recovery.cc
  absl::Status RecoverState();
  void RecoverRecords();
  std::vector<logstore::MetadataEntry> RingMetadata(uint32_t ring) const;
  Lsn KnownCommitted() const;
  Lsn DeliveredFloor() const;

  // replica_change.cc
  void Reconcile();
  void BeginStop(Epoch ended);
  // Nothing that this server posted can land any more at those who go on.
  bool Drained() const;
  bool MayLandAt(ServerId peer, Incarnation incarnation) const;
  void NoteUndrained();
  void FinishStop();
  bool Seal();
  void Adopt();
  bool Activate();
  bool PeersAreUp(const Configuration& configuration);
  // replica_missing.cc
  // Puts missing records in the places of values below the cut that nobody who
  // is there has. False: it may not, or cannot; see note_.
  bool PlaceMissing(const Configuration& configuration);
  // Whether what it has and others may lack would be written over or freed.
  bool MustKeepLog() const;
  void ReportMissing(proto::ShardReport* report) const;
  void NoteMissing();
  // replica_learn.cc
  void Learn();
  void Release();
  // Ends whatever this server took part in before `epoch`; false: not yet.
  bool EndMembership(Epoch epoch);
  void BeginLearning(Epoch epoch);
  void Free();
  // False: it still copies.
  bool EndLearning();
  void EndRoles();
  void PersistAll();
  void SaveState();
  void SaveWatermarks();
  void StoreEpochCell(Epoch active);
  void SetPhase(proto::ShardPhase phase);

  void ServeAsPrimary(const Get& get);
  // From the primary, while this server copies its log.
  void TakeCopyMessage(const wire::PeerHeader& header,
                       std::span<const std::byte> message);
  // False: what the message was to set up cannot be.
  bool TakeMessage(ServerId from, std::span<const std::byte> message);
  // The epoch cannot go on with this member, which `why`: the coordinator and
  // the operator are told.
  void BreakWith(ServerId member, std::string_view why);

  Context* const context_;
  Peers* const peers_;
  const Lease* const lease_;
  const ShardId shard_;
  Answers answers_;
  std::unique_ptr<Landing> landing_;

  chain::ReplicaState state_;
  logstore::ShardState saved_;  // as it is in the pool
  proto::ShardPhase phase_ = proto::SHARD_RECOVERED;
  proto::ShardDirective wanted_;
  std::string damage_;
  std::string note_;
  uint64_t report_generation_ = 1;
  uint64_t epoch_cell_sequence_ = 0;
  // Ordering, forwarding and serving have ended; posted work may be in flight.
  bool stopping_ = false;
  // Epoch for which this very process ended all others; 0: none yet.
  Epoch sealed_for_;

  // While active.
  std::optional<Configuration> configuration_;
  // The connections to the other members that this epoch began with.
  struct Used {
    ServerId member;
    Incarnation incarnation;
    fabric::ConnectionId delivery;
    fabric::ConnectionId chain;
    bool broken = false;
  };
  std::vector<Used> used_;
  // Whoever something was in flight to when a role ended here.
  std::vector<std::pair<ServerId, Incarnation>> undrained_;
  // Others may have rights into this server's memory from an epoch that it was
  // active in.
  bool exposed_ = false;
  std::vector<ServerId> unreached_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<Refill> refill_;
  size_t missing_reported_ = 0;
  int64_t missing_reported_at_ns_ = 0;
  std::unique_ptr<PrimaryRole> primary_;
  std::unique_ptr<EpochConfirm> confirm_;
  std::unique_ptr<BackupRole> backup_;
  std::unique_ptr<BackupReads> reads_;
  static constexpr uint64_t kNoSequence = ~uint64_t{0};
  uint64_t next_sequence_ = 1;
  // The first report whose answer is a lease for this epoch.
  uint64_t lease_from_sequence_ = 0;
  bool ring_is_complete_ = true;  // of saved_.ring
  int64_t saved_at_ns_ = 0;

  EarlyMessages early_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_REPLICA_H_

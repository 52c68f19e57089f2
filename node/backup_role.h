// A server as backup of one shard in one epoch: executes what the cores of
// metadata_mcast/ and chain/ decide.
//
// Its turn: announce what the primary delivered, take what the predecessor
// sent, apply what is committed, forward to the successor, tell the primary.
// None of it is on a commit's path, so it runs by a slow timer and when woken,
// and a few records at a time: whoever shares the processor may be on one.
//
// Thread-safety: none. Lives from activation to the end of the epoch.
#ifndef WHALE_NODE_BACKUP_ROLE_H_
#define WHALE_NODE_BACKUP_ROLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "chain/cells.h"
#include "chain/replica_state.h"
#include "metadata_mcast/announcer.h"
#include "metadata_mcast/cell_writer.h"
#include "metadata_mcast/segment_grants.h"
#include "node/chain_sender.h"
#include "node/configuration.h"
#include "node/context.h"
#include "node/drain.h"
#include "node/landing.h"
#include "node/link.h"
#include "node/peers.h"
#include "proto/peer_messages.h"

namespace whale::node {

class BackupRole {
 public:
  // `ring`: which of the shard's two rings this epoch uses.
  // REQUIRES: the connections to all members are up.
  BackupRole(Context* context, Peers* peers, chain::ReplicaState* state,
             const Configuration& configuration, uint32_t ring,
             Landing* landing);

  // False: the message makes no sense. It is not sent again, so the epoch has
  // to end.
  bool OnPrimaryReady(const wire::PrimaryReady& message);
  bool OnSuccessorReady(ServerId from, const wire::SuccessorReady& message) {
    return chain_.OnSuccessorReady(from, message);
  }
  bool OnSegmentGrants(ServerId from,
                       std::span<const wire::SegmentGrantEntry> grants);
  void OnWake();
  void OnCompletion(const WorkCookie& cookie, const fabric::Event& event);
  void OnConnectionLost(fabric::ConnectionId connection);

  // Announces everything that has been delivered. For readers, and before the
  // epoch ends.
  void Announce();
  // The same, values from the predecessor included: before the report that ends
  // the epoch.
  void AnnounceFinally();
  // Nothing more will be sent: finds out when all of it has landed.
  void DrainSent();
  // Something posted may still land at `peer`.
  bool MayLandAt(ServerId peer) const;
  // A turn, if it is due. True if there was anything to do.
  bool Turn();
  int64_t NextDeadlineNs() const { return next_turn_ns_; }

  // Something delivered could not be announced yet, or this server has just
  // joined and lacks what was committed before: reads cannot be served.
  bool behind() const {
    return announcer_.behind() ||
           state_->backup_log.announced() < configuration_.committed_start;
  }
  // The ring of this epoch holds the metadata of all holes (again).
  bool caught_up() const { return announcer_.announced() >= caught_up_at_; }
  std::optional<Lsn> damage() const;
  int64_t lag_since_ns() const { return lag_since_ns_; }

  // Where the primary's commit cells and segments lie, once it has told.
  const fabric::Grant* commit_cells() const {
    return primary_ready_ ? &commit_cells_ : nullptr;
  }
  const fabric::Grant* PrimarySegment(uint64_t number) const {
    return primary_segments_.Find(number);
  }
  Link& primary_link() { return primary_link_; }
  const Configuration& configuration() const { return configuration_; }

 private:
  void AnnounceSelf();
  void KeepSegmentsAhead();
  void GrantSegments(uint64_t first, uint64_t last);
  bool TakeChain();
  // Returns how many records were announced.
  size_t AnnounceUpTo(size_t most);
  size_t TimedAnnounce(size_t most);
  void TimedApply();
  bool Forward();
  bool TellProgress();
  WorkCookie Cookie(WorkKind kind, uint8_t index = 0) const;

  Context* const context_;
  Peers* const peers_;
  chain::ReplicaState* const state_;
  const Configuration configuration_;
  const uint32_t ring_;
  Landing* const landing_;
  const logstore::ShardArea area_;
  const Lsn caught_up_at_;

  metadata_mcast::Announcer announcer_;
  Link primary_link_;
  bool primary_ready_ = false;
  fabric::Grant commit_cells_;
  metadata_mcast::SegmentGrants primary_segments_;
  metadata_mcast::CellWriter<chain::ProgressCell> progress_;
  chain::ProgressCell told_{};
  bool progress_in_flight_ = false;
  Drain progress_drain_;

  ChainSender chain_;

  uint64_t segments_until_ = 0;  // largest segment that is here and granted
  int64_t segments_retry_at_ns_ = 0;
  int64_t next_turn_ns_ = 0;
  int64_t interval_ns_ = 0;
  int64_t told_at_ns_ = 0;  // the last whole turn
  int64_t woken_at_ns_ = 0;
  int64_t lag_since_ns_ = 0;
};

}  // namespace whale::node

#endif  // WHALE_NODE_BACKUP_ROLE_H_

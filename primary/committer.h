// The primary decides commit and lets answers go (protocol, section 4).
//
// Order matters and is all here: the commit cell (which backups READ) and the
// readable state move together, both before any answer leaves.
//
// Pure but for the pool's memory. Thread-safety: none. Ownership: state and
// effects outlive it.
#ifndef WHALE_PRIMARY_COMMITTER_H_
#define WHALE_PRIMARY_COMMITTER_H_

#include <cstddef>
#include <cstdint>

#include "chain/progress.h"
#include "chain/replica_state.h"
#include "common/ids.h"
#include "metadata_mcast/commit_tracker.h"
#include "metadata_mcast/delivery_sender.h"
#include "primary/reply_queue.h"

namespace whale::primary {

class CommitEffects {
 public:
  virtual ~CommitEffects() = default;
  // What the reply waited for is committed (and where asked, replicated).
  virtual void Answer(const WaitingReply& reply) = 0;
};

struct CommitterOptions {
  Epoch epoch;
  Lsn committed_start;  // A
  size_t backups = 0;
  uint32_t mirrors = 0;
};

class Committer {
 public:
  // `state->committed` becomes at least A, and what that commits is applied.
  Committer(chain::ReplicaState* state, const CommitterOptions& options,
            CommitEffects* effects);

  // A backup is open: what it had when the epoch began, and where delivery to
  // it starts.
  void SetStart(size_t backup, Lsn durable, Lsn delivery_start);
  void OnOwnDurable(Lsn lsn);
  void OnDelivered(size_t backup, const metadata_mcast::DeliverySender& sender);
  void OnProgress(size_t backup, const chain::ProgressCell& cell);

  // Answers `write` once `after` is committed.
  void Wait(const Write& write, wire::Result result, uint64_t version,
            Lsn after, ReplyKind kind);
  // Answers once everything below `reply.after` is at every replica.
  void WaitReplicated(const WaitingReply& reply);
  // Takes up what the calls above have made possible.
  void Advance();

  // All that still wait, in no useful order; they are forgotten.
  template <typename Visitor>
  void Abandon(Visitor&& visit) {
    waiting_.ReleaseAll(visit);
    waiting_replicated_.ReleaseAll(visit);
    waiting_copies_.ReleaseAll(visit);
  }

  Lsn committed() const { return commit_.committed(); }
  Lsn replicated() const { return replicated_.replicated(); }
  const chain::ReplicatedTracker& progress() const { return replicated_; }
  // Somebody waits for more than commit: backups should be woken.
  bool awaits_replication() const {
    return !waiting_replicated_.empty() || !waiting_copies_.empty();
  }

 private:
  void StoreCommitCell();
  void Release();
  bool HasCopies(Lsn lsn) const;

  chain::ReplicaState* const state_;
  const CommitterOptions options_;
  CommitEffects* const effects_;
  metadata_mcast::CommitTracker commit_;
  chain::ReplicatedTracker replicated_;
  ReplyQueue waiting_;
  ReplyQueue waiting_replicated_;
  ReplyQueue waiting_copies_;
  uint64_t cell_sequence_ = 0;
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_COMMITTER_H_

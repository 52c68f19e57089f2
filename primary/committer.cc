#include "primary/committer.h"

#include <algorithm>

#include "common/planted_bug.h"
#include "metadata_mcast/cells.h"

namespace whale::primary {

Committer::Committer(chain::ReplicaState* state,
                     const CommitterOptions& options, CommitEffects* effects)
    : state_(state),
      options_(options),
      effects_(effects),
      commit_(options.committed_start, options.backups),
      replicated_(state->log.end(), options.backups) {
  state_->committed = std::max(state_->committed, options.committed_start);
  state_->Apply();
  StoreCommitCell();
}

void Committer::StoreCommitCell() {
  metadata_mcast::CommitCell cell{};
  cell.epoch = options_.epoch.value();
  cell.committed = state_->committed.value();
  cell.sequence = ++cell_sequence_;
  metadata_mcast::StoreOwnCell(state_->pool->Area(state_->shard).commit_cells,
                               cell);
}

void Committer::SetStart(size_t backup, Lsn durable, Lsn delivery_start) {
  replicated_.SetStart(backup, durable, delivery_start);
  commit_.OnAcked(backup, delivery_start);
}

void Committer::OnOwnDurable(Lsn lsn) {
  commit_.OnOwnDurable(lsn);
  replicated_.OnOwnDurable(lsn);
}

void Committer::OnDelivered(size_t backup,
                            const metadata_mcast::DeliverySender& sender) {
  commit_.OnAcked(backup, sender.acked());
  replicated_.OnDelivered(backup, sender.acked(), sender.last_metadata_end());
}

void Committer::OnProgress(size_t backup, const chain::ProgressCell& cell) {
  replicated_.OnProgress(backup, cell);
}

void Committer::Wait(const Write& write, wire::Result result, uint64_t version,
                     Lsn after, ReplyKind kind) {
  if (Planted(PlantedBug::kUncommittedAnswer) ||
      (Planted(PlantedBug::kNoEffectUncommitted) && kind == ReplyKind::kRead)) {
    effects_->Answer(MakeReply(write, result, version, after, kind));
    return;
  }
  waiting_.Push(write, result, version, after, kind);
}

void Committer::WaitReplicated(const WaitingReply& reply) {
  waiting_replicated_.Push(reply);
}

void Committer::Advance() {
  if (state_->committed < commit_.committed()) {
    state_->committed = commit_.committed();
    StoreCommitCell();
    state_->Apply();
  }
  Release();
}

void Committer::Release() {
  waiting_.Release(state_->committed, [this](const WaitingReply& reply) {
    if (reply.full_durability) {
      waiting_replicated_.Push(reply);
    } else if (reply.needs_copies) {
      waiting_copies_.Push(reply);
    } else {
      effects_->Answer(reply);
    }
  });
  waiting_replicated_.Release(
      replicated_.replicated(),
      [this](const WaitingReply& reply) { effects_->Answer(reply); });
  if (waiting_copies_.empty()) return;
  ReplyQueue still_waiting;
  waiting_copies_.ReleaseAll([&](const WaitingReply& reply) {
    if (HasCopies(reply.after)) {
      effects_->Answer(reply);
    } else {
      still_waiting.Push(reply);
    }
  });
  waiting_copies_ = still_waiting;
}

bool Committer::HasCopies(Lsn lsn) const {
  return replicated_.CopiesOf(lsn + 1) >=
         std::min<size_t>(options_.mirrors, options_.backups) + 1;
}

}  // namespace whale::primary

// A replica that is no member of its shard's configuration: it ends whatever it
// took part in. If it shall be one, it keeps of its log what the history allows
// and copies the rest; else it gives the log's room back once it may (protocol,
// section 8, "Join, replace, return").

#include <algorithm>
#include <memory>

#include "node/replica.h"

namespace whale::node {

void Replica::Learn() {
  const Epoch epoch(wanted_.epoch());
  if (epoch < saved_.epoch || wanted_.members().empty()) {
    note_ =
        "the configuration store is older than this server's pool; bring "
        "back the newest store";
    return;
  }
  const ServerId source(wanted_.members(0));
  if (learner_ != nullptr && learner_->epoch() == epoch &&
      learner_->source() == source) {
    return;
  }
  if (!EndMembership(epoch)) return;
  if (MustKeepLog()) {
    note_ =
        "values that others lack may be in this log: it is kept until that "
        "is known";
    return;
  }
  BeginLearning(epoch);
  learner_ = std::make_unique<Learner>(context_, peers_, &state_, source, epoch,
                                       &wanted_);
}

bool Replica::EndMembership(Epoch epoch) {
  if (!EndLearning()) return false;
  // Whoever could still write here has stopped, and nothing of it is in flight,
  // or has been revoked.
  if (phase_ == proto::SHARD_SEALED) exposed_ = false;
  if (epoch > saved_.ended_epoch) BeginStop(epoch);
  if (stopping_) FinishStop();
  // What a former peer has in flight would land on what comes next.
  if (exposed_ && !peers_->RevokeAll()) {
    note_ = "a former peer's writes are not fenced yet";
    return false;
  }
  exposed_ = false;
  return true;
}

void Replica::Release() {
  const Epoch epoch(wanted_.epoch());
  if (epoch < saved_.epoch || !EndMembership(epoch)) return;
  EndRoles();
  configuration_.reset();
  used_.clear();
  const bool holds =
      saved_.epoch != Epoch() || context_->pool->used_slots(shard_) > 0;
  if (wanted_.free() && holds) Free();
  const bool empty = wanted_.free() || !holds;
  const proto::ShardPhase phase =
      empty ? proto::SHARD_ABSENT : proto::SHARD_RELEASED;
  if (phase_ != phase) SetPhase(phase);
}

// First it is no part of any history, then there is no log: a restart in the
// middle must not take what is left for a log whose beginning was cleaned.
void Replica::Free() {
  const Epoch ended = saved_.ended_epoch;
  const uint32_t ring = saved_.ring;
  saved_ = {};
  saved_.ended_epoch = ended;
  saved_.ring = ring;
  SaveState();
  for (const logstore::SegmentInfo& segment :
       context_->pool->Segments(shard_)) {
    context_->pool->FreeSegment(shard_, segment.number);
  }
  std::destroy_at(&state_);
  std::construct_at(&state_, context_->pool, shard_);
  damage_.clear();
}

void Replica::BeginLearning(Epoch epoch) {
  EndRoles();
  configuration_.reset();
  used_.clear();
  // Nothing in a damaged log is worth keeping: the members have it all. Nor in
  // what is left of one that was given back until the power failed; segments
  // of it, found behind a copy that is not whole, would look as if those before
  // them had been cleaned.
  const bool left_over =
      saved_.epoch == Epoch() && context_->pool->used_slots(shard_) > 0;
  if (!damage_.empty() || left_over) Free();
  logstore::History history;
  Lsn keep = state_.backup_log.announced();
  for (const proto::EpochStart& entry : wanted_.history()) {
    history.Add(Epoch(entry.epoch()), Lsn(entry.start()));
    // What it wrote above an earlier cut is not of this log.
    if (Epoch(entry.epoch()) > saved_.epoch) {
      keep = std::min(keep, std::max(Lsn(entry.start()), state_.log.begin()));
    }
  }
  state_.Discard(keep);
  // What a restart found may be in memory only.
  PersistAll();
  state_.history = history;
  saved_.epoch = epoch;
  saved_.ended_epoch = std::max(saved_.ended_epoch, epoch);
  saved_.committed_start = Lsn(wanted_.committed());
  saved_.start = Lsn(wanted_.start());
  saved_.history = history;
  saved_.announced = std::min(saved_.announced, keep);
  saved_.durable = std::min(saved_.durable, keep);
  saved_.committed = std::min(saved_.committed, keep);
  SaveState();
  SetPhase(proto::SHARD_LEARNING);
}

bool Replica::EndLearning() {
  if (learner_ == nullptr) return true;
  learner_->Stop();
  if (!learner_->idle()) return false;
  learner_.reset();
  return true;
}

}  // namespace whale::node

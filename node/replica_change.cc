// The change of configuration, seen from one replica (protocol, section 8).

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "metadata_mcast/cells.h"
#include "node/replica.h"

namespace whale::node {
namespace {

constexpr int64_t kSaveWatermarksNs = 1'000'000'000;

}  // namespace

void Replica::SetPhase(proto::ShardPhase phase) {
  phase_ = phase;
  ++report_generation_;
}

// A lease that comes with the news that this shard's epoch ends is for others
// of the server's shards: the coordinator does not wait for it here. It would
// count until the turn stops the epoch, and for reads under way.
void Replica::OnDirective(const proto::ShardDirective& directive) {
  wanted_ = directive;
  if (phase_ == proto::SHARD_ACTIVE &&
      Epoch(directive.epoch()) > configuration_->epoch &&
      !Planted(PlantedBug::kFencedServes)) {
    lease_from_sequence_ = kNoSequence;
  }
}

void Replica::Reconcile() {
  note_.clear();
  unreached_.clear();
  const Epoch epoch(wanted_.epoch());
  if (wanted_.step() == proto::STEP_LEARN) return Learn();
  if (wanted_.step() == proto::STEP_RELEASE) return Release();
  if (learner_ != nullptr && !EndLearning()) return;
  switch (wanted_.step()) {
    case proto::STEP_STOP:
      if (epoch > saved_.ended_epoch) BeginStop(epoch);
      if (stopping_) {
        if (primary_ != nullptr) primary_->DrainSent();
        if (backup_ != nullptr) backup_->DrainSent();
        if (Drained()) FinishStop();
      }
      return;
    case proto::STEP_SEAL:
      // What did not drain is revoked by the receivers: the directive names us
      // to them.
      if (epoch > saved_.ended_epoch) BeginStop(epoch);
      if (stopping_) FinishStop();
      if (epoch == saved_.ended_epoch && phase_ == proto::SHARD_STOPPED) {
        Seal();
      }
      return;
    case proto::STEP_ADOPT:
      Adopt();
      return;
    case proto::STEP_ACTIVATE:
      Adopt();
      Activate();
      return;
    default:
      return;
  }
}

void Replica::BeginStop(Epoch ended) {
  if (!stopping_ && !Planted(PlantedBug::kFencedServes)) {
    if (primary_ != nullptr) primary_->Stop();
    if (reads_ != nullptr) reads_->Stop();
    if (confirm_ != nullptr) confirm_->Stop();
  }
  // What it had stopped or sealed for was an earlier change: what it posted
  // before that may be in flight still, and others may not have revoked it.
  if (phase_ == proto::SHARD_STOPPED || phase_ == proto::SHARD_SEALED) {
    SetPhase(proto::SHARD_ADOPTED);
  }
  stopping_ = true;
  saved_.ended_epoch = ended;
  StoreEpochCell(Epoch());
  SaveState();
}

// Who is left out, or has restarted since, does not matter: the first revokes
// everything before it takes part in anything again, the memory of the second
// belongs to another process now.
bool Replica::Drained() const {
  for (int i = 0; i < wanted_.members_size(); ++i) {
    const Incarnation incarnation(i < wanted_.member_incarnations_size()
                                      ? wanted_.member_incarnations(i)
                                      : 0);
    if (MayLandAt(ServerId(wanted_.members(i)), incarnation)) return false;
  }
  return true;
}

// `incarnation` 0: whichever.
bool Replica::MayLandAt(ServerId peer, Incarnation incarnation) const {
  const auto same = [incarnation](Incarnation other) {
    return incarnation == Incarnation() || incarnation == other;
  };
  for (const auto& [member, process] : undrained_) {
    if (member == peer && same(process)) return true;
  }
  for (const Used& used : used_) {
    if (used.member != peer || !same(used.incarnation)) continue;
    return (primary_ != nullptr && primary_->MayLandAt(peer)) ||
           (backup_ != nullptr && backup_->MayLandAt(peer));
  }
  return false;
}

void Replica::NoteUndrained() {
  for (const Used& used : used_) {
    if (MayLandAt(used.member, used.incarnation)) {
      RareBranch<"stop: writes to a peer may still land">();
      undrained_.emplace_back(used.member, used.incarnation);
    }
  }
}

void Replica::FinishStop() {
  stopping_ = false;
  if (primary_ != nullptr && !Planted(PlantedBug::kFencedServes)) {
    // What clients had not handed over yet was never delivered to anybody.
    const Lsn ready = primary_->ready_end();
    state_.Discard(ready);
    state_.log.set_end(ready);
  }
  NoteUndrained();
  SetPhase(proto::SHARD_STOPPED);
  if (Planted(PlantedBug::kFencedServes)) return;
  reads_.reset();
  confirm_.reset();
  primary_.reset();
}

bool Replica::Seal() {
  for (const uint32_t peer : wanted_.revoke()) {
    if (Planted(PlantedBug::kRevokeForgotten)) break;
    if (!peers_->Revoke(ServerId(peer))) {
      note_ = "server " + std::to_string(peer) +
              " was stopped in the middle of a write and cannot be fenced; "
              "continue or kill its process";
      return false;
    }
  }
  if (!wanted_.revoke().empty()) RareBranch<"seal: fences a peer">();
  if (!peers_->AllFenced()) {
    note_ = "a dead peer's writes are not fenced yet";
    return false;
  }
  if (backup_ != nullptr) {
    backup_->AnnounceFinally();
    ring_is_complete_ = backup_->caught_up();
  }
  state_.TakeLanded();
  if (Planted(PlantedBug::kReportBeforePersist)) {
    SetPhase(proto::SHARD_SEALED);
  } else {
    PersistAll();
  }
  if (!Planted(PlantedBug::kFencedServes)) EndRoles();
  saved_.announced = state_.backup_log.announced();
  saved_.durable = state_.backup_log.durable();
  saved_.committed = std::min(state_.committed, saved_.announced);
  SaveState();
  sealed_for_ = saved_.ended_epoch;
  if (phase_ != proto::SHARD_SEALED) SetPhase(proto::SHARD_SEALED);
  return true;
}

void Replica::EndRoles() {
  NoteUndrained();
  refill_->Forget();
  reads_.reset();
  confirm_.reset();
  primary_.reset();
  backup_.reset();
}

void Replica::PersistAll() {
  pmem::PersistenceDomain& domain = context_->pool->domain();
  if (domain.persist_is_free()) return;
  state_.log.Persist(saved_.durable, state_.backup_log.announced());
  const logstore::ShardArea area = context_->pool->Area(shard_);
  const size_t ring_bytes = size_t{context_->pool->geometry().ring_slots} * 64;
  for (const std::byte* ring : area.rings) domain.WriteBack(ring, ring_bytes);
  domain.WriteBack(area.delivery_cells,
                   logstore::kDeliveryCells * logstore::kCellBytes);
  domain.Fence();
}

void Replica::Adopt() {
  const Epoch epoch(wanted_.epoch());
  const bool blank = saved_.epoch == Epoch() && saved_.ended_epoch == Epoch();
  if (saved_.epoch >= epoch || saved_.ended_epoch > epoch ||
      (sealed_for_ != epoch && !blank)) {
    return;
  }
  const Lsn start(wanted_.start());
  EndRoles();
  state_.Discard(start);
  logstore::History history;
  for (const proto::EpochStart& entry : wanted_.history()) {
    history.Add(Epoch(entry.epoch()), Lsn(entry.start()));
  }
  state_.history = history;
  state_.log.set_end(start);
  // While the last epoch's ring is not complete, the one before it still has
  // metadata of holes that nothing else has; then that is kept.
  if (ring_is_complete_ || state_.backup_log.hole_count() == 0 ||
      Planted(PlantedBug::kRingDropped)) {
    saved_.ring = 1 - saved_.ring;
  } else {
    RareBranch<"adopt: keeps the ring before the last">();
  }
  ring_is_complete_ = false;
  saved_.epoch = epoch;
  saved_.ended_epoch = std::max(saved_.ended_epoch, epoch);
  saved_.committed_start = Lsn(wanted_.committed());
  saved_.start = start;
  saved_.history = history;
  saved_.announced = std::min(state_.backup_log.announced(), start);
  saved_.durable = std::min(state_.backup_log.durable(), start);
  SaveState();
  SetPhase(proto::SHARD_ADOPTED);
}

bool Replica::PeersAreUp(const Configuration& configuration) {
  for (size_t i = 0; i < configuration.members.size(); ++i) {
    const ServerId member = configuration.members[i];
    if (member == context_->options.id) continue;
    const Peer* peer = peers_->Find(member);
    // Another process of that server takes no part.
    const bool is_member = peer != nullptr &&
                           i < configuration.processes.size() &&
                           peer->incarnation == configuration.processes[i];
    if (is_member && peer->up()) continue;
    unreached_.push_back(member);
    note_ = "shard " + std::to_string(shard_.value()) +
            " waits for the data connection to server " +
            std::to_string(member.value());
  }
  return unreached_.empty();
}

bool Replica::Activate() {
  const Epoch epoch(wanted_.epoch());
  const bool resumed =
      Planted(PlantedBug::kEpochResumed) && phase_ == proto::SHARD_RECOVERED;
  if (saved_.epoch != epoch || saved_.ended_epoch != epoch ||
      (phase_ != proto::SHARD_ADOPTED && !resumed)) {
    return false;
  }
  Configuration configuration = ConfigurationOf(wanted_);
  const auto position = configuration.PositionOf(context_->options.id);
  if (!position || !PeersAreUp(configuration)) return false;
  configuration_ = configuration;
  used_.clear();
  for (const ServerId member : configuration.members) {
    if (member == context_->options.id) continue;
    const Peer* peer = peers_->Find(member);
    used_.push_back(
        {member, peer->incarnation, peer->out_delivery, peer->out_chain});
  }
  // Members that something was in flight to have revoked it.
  undrained_.clear();
  exposed_ = true;
  answers_.set_epoch(epoch);
  lease_from_sequence_ = next_sequence_;
  if (*position == 0) {
    if (state_.backup_log.durable() < configuration.start &&
        !PlaceMissing(configuration)) {
      configuration_.reset();
      return false;
    }
    primary_ = std::make_unique<PrimaryRole>(
        context_, peers_, &answers_, static_cast<ReadGate*>(this), &state_,
        landing_.get(), configuration, &wanted_);
    confirm_ = std::make_unique<EpochConfirm>(context_, shard_, landing_.get(),
                                              primary_.get(), configuration);
  } else {
    backup_ = std::make_unique<BackupRole>(
        context_, peers_, &state_, configuration, saved_.ring, landing_.get());
    reads_ = std::make_unique<BackupReads>(
        context_, &answers_, static_cast<ReadGate*>(this), &state_,
        landing_.get(), backup_.get());
  }
  StoreEpochCell(epoch);
  SetPhase(proto::SHARD_ACTIVE);
  const EarlyMessages::Taken early = early_.Take(epoch);
  if (early.lost_from) {
    BreakWith(*early.lost_from, "sent more messages than are kept");
  }
  for (const EarlyMessages::Message& message : early.messages) {
    OnPeerMessage(message.from, std::as_bytes(std::span(message.bytes)));
  }
  return true;
}

void Replica::StoreEpochCell(Epoch active) {
  metadata_mcast::EpochCell cell{};
  cell.ended_epoch = saved_.ended_epoch.value();
  cell.active_epoch = active.value();
  cell.sequence = ++epoch_cell_sequence_;
  metadata_mcast::StoreOwnCell(context_->pool->Area(shard_).epoch_cells, cell);
}

void Replica::SaveState() { context_->pool->StoreState(shard_, saved_); }

void Replica::SaveWatermarks() {
  if (context_->now_ns - saved_at_ns_ < kSaveWatermarksNs) return;
  saved_at_ns_ = context_->now_ns;
  // Only what is durable here whatever a peer still does: what is committed.
  const Lsn announced =
      std::min(state_.committed, state_.backup_log.announced());
  const Lsn durable = std::min(announced, state_.backup_log.durable());
  if (announced <= saved_.announced && durable <= saved_.durable) return;
  saved_.announced = std::max(saved_.announced, announced);
  saved_.durable = std::max(saved_.durable, durable);
  saved_.committed = std::max(saved_.committed, announced);
  SaveState();
}

void Replica::Shutdown() {
  if (phase_ != proto::SHARD_ACTIVE) return;
  BeginStop(saved_.ended_epoch);
  if (backup_ != nullptr) backup_->AnnounceFinally();
  FinishStop();
  EndRoles();
  PersistAll();
  saved_.announced = state_.backup_log.announced();
  saved_.durable = state_.backup_log.durable();
  saved_.committed = std::min(state_.committed, saved_.announced);
  SaveState();
}

}  // namespace whale::node

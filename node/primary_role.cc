#include "node/primary_role.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "node/grants.h"

namespace whale::node {
namespace {

// A commit watermark that no delivery carries is sent after this long.
constexpr int64_t kIdleCommitNs = 100'000;
// How often progress cells are looked at while something is outstanding.
constexpr int64_t kReadProgressNs = 20'000;
constexpr int64_t kWakeEveryNs = 200'000;
// A backup that told nothing for so long while others lack records sleeps.
constexpr int64_t kSilentNs = 5'000'000;

}  // namespace

PrimaryRole::PrimaryRole(Context* context, Peers* peers, Answers* answers,
                         ReadGate* gate, chain::ReplicaState* state,
                         Landing* landing, const Configuration& configuration,
                         const proto::ShardDirective* directive)
    : context_(context),
      peers_(peers),
      answers_(answers),
      gate_(gate),
      state_(state),
      landing_(landing),
      configuration_(configuration),
      directive_(directive),
      committer_(state,
                 {.epoch = configuration.epoch,
                  .committed_start = configuration.committed_start,
                  .backups = configuration.backups(),
                  .mirrors = configuration.mirrors},
                 this),
      ordering_(state,
                {.epoch = configuration.epoch,
                 .start = configuration.start,
                 .window_bytes = configuration.window_bytes,
                 .max_deferred = context->options.max_deferred_writes},
                this),
      backups_(configuration.backups()),
      chain_(context, peers, &state->log, &configuration_, /*position=*/0),
      own_durable_(state->log.end()) {
  committer_.OnOwnDurable(own_durable_);
  const logstore::ShardArea area = state->pool->Area(state->shard);
  for (size_t b = 0; b < backups_.size(); ++b) {
    Backup& backup = backups_[b];
    backup.id = configuration.members[b + 1];
    backup.progress_cells = area.progress_cells + b * 2 * logstore::kCellBytes;
    Peer* peer = peers->Find(backup.id);
    WHALE_CHECK(peer != nullptr && peer->up());
    backup.link = Link(context, peer->out_delivery);
    AnnounceSelf(backup);
  }
  own_segments_until_ = state->log.SegmentOf(state->log.end());
  // Their clients may only just learn that this is the primary now.
  state->sessions.TouchAll(context->now_ns);
  KeepSegmentsAhead();
  UpdateWritable();
}

WorkCookie PrimaryRole::Cookie(WorkKind kind, size_t index) const {
  return {.kind = kind,
          .shard = state_->shard,
          .index = static_cast<uint8_t>(index),
          .epoch_low = static_cast<uint32_t>(configuration_.epoch.value())};
}

PrimaryRole::Backup* PrimaryRole::Find(ServerId id) {
  for (Backup& backup : backups_) {
    if (backup.id == id) return &backup;
  }
  return nullptr;
}

// --- Clients ---

void PrimaryRole::Submit(const primary::Write& write) {
  if (!open()) {
    Refuse(write, wire::Result::kUnavailable, wire::Reason::kStarting);
    return;
  }
  state_->sessions.Touch(write.session, context_->now_ns);
  ordering_.Submit(write);
  window_high_water_ = std::max(window_high_water_, ordering_.WindowBytes());
}

void PrimaryRole::OpenSession(const primary::Write& request) {
  if (!open()) {
    Refuse(request, wire::Result::kUnavailable, wire::Reason::kStarting);
    return;
  }
  state_->sessions.Touch(request.session, context_->now_ns);
  ordering_.OpenSession(request);
}

void PrimaryRole::KeepAlive(const primary::Write& request) {
  if (!state_->sessions.IsOpen(request.session)) {
    Refuse(request, wire::Result::kUnknownSession, wire::Reason::kNone);
    return;
  }
  state_->sessions.Touch(request.session, context_->now_ns);
  Refuse(request, wire::Result::kOk, wire::Reason::kNone);
}

void PrimaryRole::WaitReplicated(const primary::Write& request, Lsn lsn) {
  if (lsn > state_->log.end()) {
    Refuse(request, wire::Result::kInvalid, wire::Reason::kNone);
    return;
  }
  const Lsn after(lsn.value() == 0 ? 0 : lsn.value() - 1);
  committer_.WaitReplicated({.connection = request.connection,
                             .tag = request.tag,
                             .type = request.type,
                             .after = after});
}

void PrimaryRole::AnswerWhenCommitted(const primary::Write& write,
                                      wire::Result result, uint64_t version,
                                      Lsn after, primary::ReplyKind kind) {
  committer_.Wait(write, result, version, after, kind);
}

void PrimaryRole::Refuse(const primary::Write& write, wire::Result result,
                         wire::Reason reason) {
  answers_->Refuse(write.connection, write.type, write.tag, result, reason);
}

bool PrimaryRole::OthersMayLack(Lsn lsn) const {
  if (!directive_->lacks_values()) return false;
  return !directive_->missing_is_complete() ||
         std::any_of(directive_->missing().begin(), directive_->missing().end(),
                     [lsn](const proto::MissingValue& value) {
                       return value.lsn() == lsn.value();
                     });
}

void PrimaryRole::StartPull(const primary::Write& write, Lsn lsn,
                            std::byte* to) {
  const fabric::WorkRequest read{.opcode = fabric::Opcode::kRead,
                                 .signaled = true,
                                 .local = to,
                                 .length_bytes = write.value_bytes,
                                 .remote_key = write.buffer.key,
                                 .remote_address = write.buffer.address,
                                 .cookie = Cookie(WorkKind::kPull, 0).Encode()};
  const WaitingPull pull{write.connection, lsn, read};
  if (write.buffer.length_bytes < write.value_bytes) {
    GiveUpPull(pull);  // it broke the rules
    return;
  }
  const bool others_wait = std::any_of(
      waiting_pulls_.begin(), waiting_pulls_.end(),
      [&](const auto& other) { return other.connection == write.connection; });
  if (others_wait || !PostPull(pull)) waiting_pulls_.push_back(pull);
}

// False: the connection takes no more for the moment.
bool PrimaryRole::PostPull(const WaitingPull& pull) {
  switch (
      context_->fabric->Post(pull.connection, std::span(&pull.request, 1))) {
    case fabric::PostResult::kOk:
      pulls_.emplace_back(pull.connection, pull.lsn);
      return true;
    case fabric::PostResult::kQueueFull:
      return false;
    case fabric::PostResult::kClosed:
      GiveUpPull(pull);
      return true;
  }
  return true;
}

void PrimaryRole::GiveUpPull(const WaitingPull& pull) {
  ordering_.AbandonPull(pull.lsn);
  // The waiting answer goes to a client that broke the rules or is gone.
  answers_->Disconnect(pull.connection);
}

void PrimaryRole::OnPulled(fabric::ConnectionId connection,
                           fabric::Outcome outcome) {
  // Completions of one connection come in the order posted.
  const auto it =
      std::find_if(pulls_.begin(), pulls_.end(),
                   [&](const auto& pull) { return pull.first == connection; });
  if (it == pulls_.end()) return;
  const Lsn lsn = it->second;
  pulls_.erase(it);
  if (outcome == fabric::Outcome::kOk) {
    ordering_.FinishPull(lsn);
  } else {
    ordering_.AbandonPull(lsn);
  }
}

void PrimaryRole::AbandonPulls(fabric::ConnectionId connection) {
  std::erase_if(waiting_pulls_, [&](const WaitingPull& pull) {
    if (pull.connection != connection) return false;
    ordering_.AbandonPull(pull.lsn);
    return true;
  });
  std::erase_if(pulls_, [&](const auto& pull) {
    if (pull.first != connection) return false;
    ordering_.AbandonPull(pull.second);
    return true;
  });
}

uint32_t PrimaryRole::CopiesOf(Lsn lsn) const {
  const logstore::RecordHeader& header = state_->log.HeaderAt(lsn);
  const Lsn end = lsn + logstore::RecordBytes(header);
  return committer_.progress().CopiesOf(end, [&](size_t b) {
    return backups_[b].sender && backups_[b].sender->by_value(header);
  });
}

void PrimaryRole::Answer(const primary::WaitingReply& reply) {
  if (!reply.is_read) {
    const bool has_record = reply.version != 0;
    answers_->Written(reply, has_record ? CopiesOf(Lsn(reply.version)) : 0);
    return;
  }
  if (gate_->LeaseIsValid()) {
    answers_->Written(reply, 0);
    return;
  }
  gate_->ConfirmEpoch([answers = answers_, reply](bool confirmed) {
    if (confirmed) {
      answers->Written(reply, 0);
    } else {
      answers->Refuse(reply.connection, reply.type, reply.tag,
                      wire::Result::kWrongEpoch);
    }
  });
}

// --- Peers ---

void PrimaryRole::AnnounceSelf(const Backup& backup) {
  const logstore::ShardArea area = state_->pool->Area(state_->shard);
  wire::PrimaryReady message{};
  message.header = {.type = wire::PeerMessageType::kPrimaryReady,
                    .shard = state_->shard.value(),
                    .epoch = configuration_.epoch.value()};
  message.commit_cells =
      ToWire(context_->GrantOf(area.commit_cells, 2 * logstore::kCellBytes));
  message.progress_cells = ToWire(
      context_->GrantOf(backup.progress_cells, 2 * logstore::kCellBytes));
  peers_->Send(backup.id, std::as_bytes(std::span(&message, 1)));
}

void PrimaryRole::GrantSegments(ServerId to, uint64_t first, uint64_t last) {
  SendSegmentGrants(context_, peers_, state_->log, to, state_->shard,
                    configuration_.epoch, first, last);
}

bool PrimaryRole::OnBackupReady(ServerId from,
                                const wire::BackupReady& message) {
  Backup* backup = Find(from);
  if (backup == nullptr || backup->sender.has_value()) return false;
  const size_t index = backup - backups_.data();
  if (!IsUsable(message, state_->log, configuration_.start,
                landing_->staging(index).slots)) {
    return false;
  }
  const Lsn start(message.deliver_from);
  backup->sender.emplace(metadata_mcast::DeliveryConfig{
      .epoch = configuration_.epoch,
      .start = start,
      .mirror = configuration_.IsMirror(index + 1),
      .by_value_max_bytes = configuration_.by_value_max_bytes,
      .flush = context_->fabric->flush_method(backup->link.connection()),
      .ring = ToGrant(message.ring),
      .ring_slots = message.ring_slots,
      .delivery_cells = ToGrant(message.delivery_cells)});
  backup->epoch_cells = ToGrant(message.epoch_cells);
  for (const wire::SegmentGrantEntry& entry : backup->early_grants) {
    backup->sender->AddSegment(entry.number, ToGrant(entry.grant));
  }
  backup->early_grants.clear();
  committer_.SetStart(index, Lsn(message.durable), start);
  ++open_backups_;
  GrantSegments(from, state_->log.SegmentOf(start), own_segments_until_);
  UpdateWritable();
  return true;
}

bool PrimaryRole::BeginWhenReady() {
  if (begun_ || open_backups_ < configuration_.backups()) return false;
  begun_ = ordering_.BeginEpoch(configuration_.committed_start);
  return begun_;
}

bool PrimaryRole::OnSegmentGrants(
    ServerId from, std::span<const wire::SegmentGrantEntry> grants) {
  Backup* backup = Find(from);
  if (backup == nullptr || !CoverSegments(grants, state_->log)) return false;
  chain_.OnSegmentGrants(from, grants);
  for (const wire::SegmentGrantEntry& entry : grants) {
    if (backup->sender) {
      backup->sender->AddSegment(entry.number, ToGrant(entry.grant));
    } else {
      backup->early_grants.push_back(entry);
    }
    if (backup->cannot_grant == entry.number) backup->cannot_grant = 0;
  }
  UpdateWritable();
  return true;
}

void PrimaryRole::OnCannotGrant(ServerId from, uint64_t segment) {
  if (Backup* backup = Find(from)) backup->cannot_grant = segment;
  UpdateWritable();
}

void PrimaryRole::OnWantSegments(ServerId from, uint64_t first) {
  const uint64_t last =
      std::min(state_->log.SegmentOf(state_->committed),
               std::max<uint64_t>(first, 1) + wire::kMaxGrantsPerMessage - 1);
  GrantSegments(from, std::max<uint64_t>(first, 1), last);
  wire::CopyLimit limit{};
  limit.header = {.type = wire::PeerMessageType::kCopyLimit,
                  .shard = state_->shard.value(),
                  .epoch = configuration_.epoch.value()};
  limit.committed = state_->committed.value();
  peers_->Send(from, std::as_bytes(std::span(&limit, 1)));
}

void PrimaryRole::OnConnectionLost(fabric::ConnectionId connection) {
  AbandonPulls(connection);
  for (Backup& backup : backups_) {
    if (backup.link.connection() == connection) backup.link.Break();
  }
  chain_.OnConnectionLost(connection);
}

// --- The turn ---

// Whether it may have changed something.
bool PrimaryRole::KeepSegmentsAhead() {
  const uint64_t wanted =
      state_->log.SegmentOf(state_->log.end()) + kSegmentsAhead;
  if (own_segments_until_ >= wanted) return false;
  if (own_pool_full_ && context_->now_ns < segments_retry_at_ns_) return false;
  const uint64_t before = own_segments_until_;
  own_pool_full_ = false;
  for (uint64_t number = state_->log.HasSegment(own_segments_until_)
                             ? own_segments_until_ + 1
                             : own_segments_until_;
       number <= wanted; ++number) {
    if (!state_->log.AddSegment(number).ok()) {
      own_pool_full_ = true;
      segments_retry_at_ns_ = context_->now_ns + kSegmentsRetryNs;
      break;
    }
    own_segments_until_ = number;
  }
  if (own_segments_until_ == before) return true;
  for (const Backup& backup : backups_) {
    if (backup.sender)
      GrantSegments(backup.id, before + 1, own_segments_until_);
  }
  return true;
}

void PrimaryRole::UpdateWritable() {
  const uint64_t current = state_->log.SegmentOf(state_->log.end());
  writable_seen_from_ = current;
  uint64_t writable = current - 1;
  bool full = false;
  for (uint64_t number = current; number <= current + 1; ++number) {
    bool granted = state_->log.HasSegment(number);
    full = !granted && own_pool_full_;
    for (const Backup& backup : backups_) {
      const bool has = backup.sender && backup.sender->HasSegment(number);
      granted &= has;
      full |= !has && backup.cannot_grant == number;
    }
    if (!granted) break;
    writable = number;
  }
  ordering_.set_writable_segment(writable);
  ordering_.set_pool_full(full);
}

bool PrimaryRole::PersistOwn() {
  const Lsn ready = ordering_.ReadyEnd();
  if (ready <= own_durable_) return false;
  const StageTimer timer(&context_->stages, Stage::kPersist);
  if (!Planted(PlantedBug::kOwnNotDurable)) {
    state_->log.Persist(own_durable_, ready);
  }
  own_durable_ = ready;
  if (state_->backup_log.announced() < ready) {
    state_->backup_log.OnAnnouncedUpTo(ready);
  }
  committer_.OnOwnDurable(ready);
  return true;
}

bool PrimaryRole::Deliver(size_t index) {
  Backup& backup = backups_[index];
  metadata_mcast::DeliverySender& sender = *backup.sender;
  if (sender.posted() >= own_durable_) return false;
  const StageTimer timer(&context_->stages, Stage::kPost);
  const bool posted =
      backup.link.Post([&](fabric::WorkRequest* out, size_t capacity) {
        return sender.Plan(state_->log, own_durable_, state_->committed, out,
                           capacity, landing_->staging(index),
                           Cookie(WorkKind::kDelivery, index).Encode());
      });
  if (posted) {
    last_delivery_ns_ = context_->now_ns;
    TimeDelivery(&backup);
  }
  return posted;
}

// Of the batch just posted, if it is sampled and no other is being timed.
void PrimaryRole::TimeDelivery(Backup* backup) {
  if (!context_->stages.Count(Stage::kDelivery) || backup->timed_in > 0) return;
  backup->timed_in = backup->sender->in_flight();
  backup->timed_since = CycleCount();
}

void PrimaryRole::SendCommitWhenIdle(size_t index) {
  Backup& backup = backups_[index];
  if (backup.sender->in_flight() > 0 ||
      backup.sender->sent_committed() >= state_->committed ||
      context_->now_ns - last_delivery_ns_ < kIdleCommitNs) {
    return;
  }
  backup.link.Post([&](fabric::WorkRequest* out, size_t capacity) {
    return backup.sender->PlanCommit(
        state_->committed, out, capacity,
        Cookie(WorkKind::kDelivery, index).Encode());
  });
}

bool PrimaryRole::Forward() {
  return chain_.Forward(own_durable_, committer_.awaits_replication(),
                        Cookie(WorkKind::kChain, 0));
}

bool PrimaryRole::ReadProgress() {
  if (committer_.replicated() >= own_durable_ ||
      context_->now_ns - progress_read_at_ns_ < kReadProgressNs) {
    return false;
  }
  progress_read_at_ns_ = context_->now_ns;
  bool news = false;
  for (size_t b = 0; b < backups_.size(); ++b) {
    Backup& backup = backups_[b];
    if (!backup.sender) continue;
    const auto cell = metadata_mcast::NewestWhole<chain::ProgressCell>(
        backup.progress_cells, configuration_.epoch);
    if (!cell || cell->sequence <= backup.progress_sequence) continue;
    backup.progress_sequence = cell->sequence;
    backup.told_at_ns = context_->now_ns;
    backup.sender->OnProgress(cell->ring_released);
    committer_.OnProgress(b, *cell);
    news = true;
  }
  return news;
}

void PrimaryRole::Wake(Backup& backup) {
  if (context_->now_ns - backup.woken_at_ns < kWakeEveryNs) return;
  backup.woken_at_ns = context_->now_ns;
  const wire::PeerHeader message{.type = wire::PeerMessageType::kWake,
                                 .shard = state_->shard.value(),
                                 .epoch = configuration_.epoch.value()};
  peers_->Send(backup.id, std::as_bytes(std::span(&message, 1)));
}

void PrimaryRole::WakeWhereNeeded() {
  const bool everybody =
      committer_.awaits_replication() || ordering_.has_deferred() ||
      ordering_.WindowBytes() * 2 > configuration_.window_bytes;
  for (Backup& backup : backups_) {
    if (!backup.sender) continue;
    const bool sleeps =
        context_->now_ns -
            std::max({lag_since_ns_, backup.told_at_ns, backup.woken_at_ns}) >
        kSilentNs;
    if (everybody || sleeps || backup.sender->blocked_on_ring() ||
        backup.sender->ring_position() - backup.sender->ring_released() >
            landing_->staging(0).slots / 2) {
      Wake(backup);
    }
  }
}

void PrimaryRole::ExpireSessions() {
  if (context_->now_ns < session_scan_at_ns_ || !open()) return;
  const int64_t lease_ns = configuration_.session_lease_ns;
  session_scan_at_ns_ = context_->now_ns + lease_ns / 16;
  std::vector<SessionId> expired;
  state_->sessions.ForEachOpen([&](SessionId session, int64_t active_ns) {
    if (context_->now_ns - active_ns > lease_ns) expired.push_back(session);
  });
  std::sort(expired.begin(), expired.end());
  for (const SessionId session : expired) ordering_.EndSession(session);
}

void PrimaryRole::Commit() {
  if (committer_.committed() <= state_->committed) {
    committer_.Advance();
    return;
  }
  const StageTimer timer(&context_->stages, Stage::kCommit);
  committer_.Advance();
}

bool PrimaryRole::Turn() {
  if (KeepSegmentsAhead() ||
      state_->log.SegmentOf(state_->log.end()) != writable_seen_from_) {
    UpdateWritable();
  }
  bool busy = BeginWhenReady();
  busy |= ReadProgress();
  ordering_.set_replicated(committer_.replicated());
  if (committer_.replicated() >= own_durable_) lag_since_ns_ = context_->now_ns;
  if (ordering_.has_deferred()) ordering_.RetryDeferred();
  ExpireSessions();
  if (!waiting_pulls_.empty()) {
    std::erase_if(waiting_pulls_,
                  [this](const WaitingPull& pull) { return PostPull(pull); });
  }
  busy |= PersistOwn();
  for (size_t b = 0; b < backups_.size(); ++b) {
    if (!backups_[b].sender) continue;
    if (Deliver(b)) {
      busy = true;
    } else {
      SendCommitWhenIdle(b);
    }
  }
  busy |= Forward();
  WakeWhereNeeded();
  Commit();
  return busy;
}

int64_t PrimaryRole::NextDeadlineNs() const {
  int64_t deadline =
      std::max(session_scan_at_ns_, context_->now_ns + 1'000'000);
  const bool commit_untold = std::any_of(
      backups_.begin(), backups_.end(), [this](const Backup& backup) {
        return backup.sender && backup.link.usable() &&
               backup.sender->sent_committed() < state_->committed;
      });
  if (commit_untold) {
    deadline = std::min(deadline, last_delivery_ns_ + kIdleCommitNs);
  }
  if (ordering_.has_deferred() || committer_.awaits_replication()) {
    deadline = std::min(deadline, context_->now_ns + kWakeEveryNs);
  } else if (committer_.replicated() < own_durable_) {
    deadline = std::min(deadline, context_->now_ns + 5 * kWakeEveryNs);
  }
  return deadline;
}

void PrimaryRole::OnCompletion(const WorkCookie& cookie,
                               const fabric::Event& event) {
  if (cookie.kind == WorkKind::kPull) {
    OnPulled(event.connection, event.outcome);
    return;
  }
  if (event.outcome != fabric::Outcome::kOk) return;  // kDisconnected follows
  if (cookie.kind == WorkKind::kDrain) {
    chain_.OnDrained();
    return;
  }
  if (cookie.kind == WorkKind::kChain) {
    chain_.OnCompletion();
    return;
  }
  if (cookie.index >= backups_.size()) return;
  Backup& backup = backups_[cookie.index];
  if (!backup.sender || backup.sender->in_flight() == 0) return;
  backup.sender->OnCompletion();
  if (backup.timed_in > 0 && --backup.timed_in == 0) {
    context_->stages.Add(Stage::kDelivery, CycleCount() - backup.timed_since);
  }
  ++context_->counters.commits;
  committer_.OnDelivered(cookie.index, *backup.sender);
}

void PrimaryRole::Stop() {
  // A READ that lands later would write over what the next epoch puts there.
  for (const auto& [connection, lsn] : pulls_) answers_->Disconnect(connection);
  pulls_.clear();
  waiting_pulls_.clear();
  ordering_.RefuseDeferred(wire::Result::kWrongEpoch, wire::Reason::kNone);
  // Whether these took effect is unknown; the same request, asked again in the
  // next epoch, finds out.
  committer_.Abandon([this](const primary::WaitingReply& reply) {
    answers_->Refuse(
        reply.connection, reply.type, reply.tag,
        reply.is_read ? wire::Result::kWrongEpoch : wire::Result::kEpochEnded);
  });
}

// Deliveries end with a flush where one is needed; the chain has none.
void PrimaryRole::DrainSent() {
  chain_.DrainSent(landing_->scratch(), Cookie(WorkKind::kDrain, 0));
}

bool PrimaryRole::MayLandAt(ServerId peer) const {
  return chain_.MayLandAt(peer) ||
         std::any_of(backups_.begin(), backups_.end(),
                     [this, peer](const Backup& backup) {
                       return backup.id == peer && backup.sender &&
                              backup.sender->in_flight() > 0 &&
                              !peers_->DeliveryReplaced(
                                  peer, backup.link.connection());
                     });
}

}  // namespace whale::node

#include "node/replica.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"
#include "node/grants.h"
#include "proto/peer_messages.h"

namespace whale::node {
namespace {

// Copies a message of fixed length. False if it has another.
template <typename Message>
bool ReadMessage(std::span<const std::byte> from, Message* into) {
  if (from.size() != sizeof(*into)) return false;
  std::memcpy(into, from.data(), sizeof(*into));
  return true;
}

// The same of one with `header.count` entries.
bool ReadGrants(std::span<const std::byte> from, const wire::PeerHeader& header,
                std::vector<wire::SegmentGrantEntry>* into) {
  const size_t bytes = size_t{header.count} * sizeof(wire::SegmentGrantEntry);
  if (header.count == 0 || header.count > wire::kMaxGrantsPerMessage ||
      from.size() != sizeof(header) + bytes) {
    return false;
  }
  into->resize(header.count);
  std::memcpy(into->data(), from.data() + sizeof(header), bytes);
  return true;
}

}  // namespace

Replica::Replica(Context* context, Peers* peers, ClientPort* clients,
                 const Lease* lease, ShardId shard)
    : context_(context),
      peers_(peers),
      lease_(lease),
      shard_(shard),
      answers_(context, clients, shard),
      state_(context->pool, shard) {}

// --- Reads ---

bool Replica::LeaseIsValid() {
  // Never the turn's time: the process may have stood still since it was read.
  const int64_t now_ns = Planted(PlantedBug::kLeaseCheckedBefore)
                             ? context_->now_ns
                             : context_->clock->NowNs();
  return lease_->Valid(lease_from_sequence_, now_ns);
}

void Replica::ConfirmEpoch(absl::AnyInvocable<void(bool)> done) {
  if (confirm_ == nullptr) {
    done(false);
  } else {
    confirm_->Add(std::move(done));
  }
}

void Replica::AnnounceForReads() {
  if (backup_ != nullptr) backup_->Announce();
}

void Replica::Serve(const Get& get) {
  ++context_->counters.gets;
  if (reads_ != nullptr) {
    reads_->Serve(get);
  } else if (primary_ != nullptr) {
    ServeAsPrimary(get);
  } else {
    answers_.Refuse(get.connection, wire::RequestType::kGet, get.tag,
                    wire::Result::kUnavailable, wire::Reason::kStarting);
  }
}

void Replica::ServeAsPrimary(const Get& get) {
  const logstore::RecordHeader* record = state_.index.Find(get.hash, get.key);
  const bool absent = record == nullptr || logstore::IsTombstone(*record);
  const chain::MissingValue* hiding =
      chain::FindHiding(state_, get.hash, get.key, record);
  const auto hidden = hiding == nullptr ? wire::Result::kOk
                      : hiding->lost    ? wire::Result::kDataLoss
                                        : wire::Result::kUnavailable;
  const auto answer = [this, absent, hidden, record,
                       connection = get.connection, tag = get.tag,
                       buffer = get.buffer] {
    if (hidden != wire::Result::kOk) {
      answers_.Refuse(connection, wire::RequestType::kGet, tag, hidden,
                      wire::Reason::kHole);
    } else if (absent) {
      answers_.NotFound(connection, tag, state_.committed);
    } else {
      answers_.FoundInLog(connection, tag, buffer, *record, state_.committed);
    }
  };
  if (get.level == ReadLevel::kStale || LeaseIsValid()) {
    answer();
    return;
  }
  ConfirmEpoch([this, answer, connection = get.connection,
                tag = get.tag](bool confirmed) {
    if (confirmed) {
      answer();
    } else {
      answers_.Refuse(connection, wire::RequestType::kGet, tag,
                      wire::Result::kNotServing);
    }
  });
}

// --- Writes ---

bool Replica::Admit(const ClientRequest& request) {
  const wire::Request& header = request.header;
  wire::Result result = wire::Result::kOk;
  if ((phase_ != proto::SHARD_ACTIVE || stopping_) &&
      !Planted(PlantedBug::kFencedServes)) {
    result = wire::Result::kUnavailable;
  } else if (!configuration_ || header.epoch != configuration_->epoch.value()) {
    result = wire::Result::kWrongEpoch;
  } else if (header.type != wire::RequestType::kGet && primary_ == nullptr) {
    result = wire::Result::kNotServing;
  }
  if (result == wire::Result::kOk) return true;
  answers_.Refuse(request.connection, header.type, header.tag, result,
                  result == wire::Result::kUnavailable ? wire::Reason::kStarting
                                                       : wire::Reason::kNone);
  return false;
}

void Replica::Write(const ClientRequest& request, std::string_view key,
                    uint64_t hash) {
  const wire::Request& header = request.header;
  const primary::Write write{
      .connection = request.connection,
      .tag = header.tag,
      .type = header.type,
      .full_durability = (header.flags & wire::kFullDurability) != 0,
      .session = SessionId(header.session),
      .request = RequestNumber(header.request),
      .expected_version = header.argument,
      .hash = hash,
      .key = key,
      .value = request.value,
      .value_in_buffer = (header.flags & wire::kHasBuffer) != 0,
      .buffer = request.buffer,
      .value_bytes = header.value_bytes};
  switch (header.type) {
    case wire::RequestType::kOpenSession:
      primary_->OpenSession(write);
      return;
    case wire::RequestType::kKeepAlive:
      primary_->KeepAlive(write);
      return;
    case wire::RequestType::kWaitReplicated:
      primary_->WaitReplicated(write, Lsn(header.argument));
      return;
    case wire::RequestType::kPut:
      ++context_->counters.puts;
      break;
    case wire::RequestType::kDelete:
      ++context_->counters.deletes;
      break;
    default:
      ++context_->counters.compares;
  }
  context_->counters.bytes_written += header.value_bytes;
  primary_->Submit(write);
}

// --- Peers ---

void Replica::OnPeerMessage(ServerId from, std::span<const std::byte> message) {
  wire::PeerHeader header;
  if (message.size() < sizeof(header)) {
    BreakWith(from, "sent a message that is too short");
    return;
  }
  std::memcpy(&header, message.data(), sizeof(header));
  if (learner_ != nullptr && header.epoch == learner_->epoch().value()) {
    if (from == learner_->source()) TakeCopyMessage(header, message);
    return;
  }
  const bool active = phase_ == proto::SHARD_ACTIVE;
  // Offered again and again, by whoever has something.
  if (header.type == wire::PeerMessageType::kOfferValues) {
    std::vector<wire::SegmentGrantEntry> offers;
    if (active && primary_ && header.epoch == configuration_->epoch.value() &&
        ReadGrants(message, header, &offers)) {
      refill_->OnOffers(from, offers);
    }
    return;
  }
  const uint64_t epoch = active ? configuration_->epoch.value() : 0;
  if (active && header.epoch == epoch) {
    if (TakeMessage(from, message)) return;
    BreakWith(from, absl::StrCat("sent message ", static_cast<int>(header.type),
                                 " that makes no sense here"));
  } else if (header.epoch > epoch &&
             header.type != wire::PeerMessageType::kWake &&
             header.type != wire::PeerMessageType::kWantSegments &&
             header.type != wire::PeerMessageType::kCopyLimit) {
    early_.Keep(from, Epoch(header.epoch), message);
  }
}

void Replica::TakeCopyMessage(const wire::PeerHeader& header,
                              std::span<const std::byte> message) {
  wire::CopyLimit limit;
  std::vector<wire::SegmentGrantEntry> grants;
  if (header.type == wire::PeerMessageType::kCopyLimit &&
      ReadMessage(message, &limit)) {
    learner_->OnCopyLimit(limit);
  } else if (header.type == wire::PeerMessageType::kSegmentGrants &&
             ReadGrants(message, header, &grants) &&
             CoverSegments(grants, state_.log)) {
    learner_->OnSegmentGrants(grants);
  } else {
    ++context_->counters.bad_messages;
  }
}

bool Replica::TakeMessage(ServerId from, std::span<const std::byte> message) {
  wire::PeerHeader header;
  std::memcpy(&header, message.data(), sizeof(header));
  wire::BackupReady backup_ready;
  wire::PrimaryReady primary_ready;
  wire::SuccessorReady successor_ready;
  std::vector<wire::SegmentGrantEntry> grants;
  switch (header.type) {
    case wire::PeerMessageType::kBackupReady:
      return primary_ && ReadMessage(message, &backup_ready) &&
             primary_->OnBackupReady(from, backup_ready);
    case wire::PeerMessageType::kPrimaryReady:
      return backup_ && from == configuration_->primary() &&
             ReadMessage(message, &primary_ready) &&
             backup_->OnPrimaryReady(primary_ready);
    case wire::PeerMessageType::kSuccessorReady:
      if (!ReadMessage(message, &successor_ready)) return false;
      return primary_ ? primary_->OnSuccessorReady(from, successor_ready)
                      : backup_->OnSuccessorReady(from, successor_ready);
    case wire::PeerMessageType::kSegmentGrants:
      if (!ReadGrants(message, header, &grants)) return false;
      return primary_ ? primary_->OnSegmentGrants(from, grants)
                      : backup_->OnSegmentGrants(from, grants);
    case wire::PeerMessageType::kCannotGrant:
      if (!primary_ || !ReadGrants(message, header, &grants)) return false;
      primary_->OnCannotGrant(from, grants.front().number);
      return true;
    case wire::PeerMessageType::kWake:
      if (backup_) backup_->OnWake();
      return true;
    case wire::PeerMessageType::kWantSegments:
      // Asked again and again: a request that comes late does no harm.
      if (!ReadGrants(message, header, &grants)) return false;
      if (primary_) primary_->OnWantSegments(from, grants.front().number);
      return true;
    case wire::PeerMessageType::kCopyLimit:
    case wire::PeerMessageType::kOfferValues:
      return false;
  }
  return false;
}

void Replica::BreakWith(ServerId member, std::string_view why) {
  ++context_->counters.bad_messages;
  for (Used& used : used_) {
    if (used.member != member || used.broken) continue;
    used.broken = true;
    ++report_generation_;
    context_->Warn(absl::StrCat(
        "shard ", shard_.value(), ": server ", member.value(), " ",
        std::string(why),
        "; the epoch ends. If this repeats: use the same release, and pools of "
        "the same geometry, on all servers"));
  }
}

void Replica::OnImmediate() {
  if (backup_) backup_->OnWake();
}

void Replica::OnCompletion(const WorkCookie& cookie,
                           const fabric::Event& event) {
  if (cookie.kind == WorkKind::kCopy) {
    if (learner_) learner_->OnCompletion(event);
    return;
  }
  if (cookie.kind == WorkKind::kRefill) {
    refill_->OnCompletion(event);
    return;
  }
  const bool goes_on = phase_ == proto::SHARD_ACTIVE ||
                       (Planted(PlantedBug::kFencedServes) && configuration_);
  if (!goes_on || cookie.epoch_low !=
                      static_cast<uint32_t>(configuration_->epoch.value())) {
    return;
  }
  switch (cookie.kind) {
    case WorkKind::kDelivery:
    case WorkKind::kPull:
      if (primary_) primary_->OnCompletion(cookie, event);
      return;
    case WorkKind::kDrain:
    case WorkKind::kChain:
      if (primary_) primary_->OnCompletion(cookie, event);
      if (backup_) backup_->OnCompletion(cookie, event);
      return;
    case WorkKind::kProgress:
      if (backup_) backup_->OnCompletion(cookie, event);
      return;
    case WorkKind::kCommitCell:
    case WorkKind::kHoleRead:
    case WorkKind::kHoleAnswer:
      if (reads_) reads_->OnCompletion(cookie, event);
      return;
    case WorkKind::kValueAnswer:
    case WorkKind::kCopy:
    case WorkKind::kRefill:
      return;  // signaled only so that the send queue empties; handled above
    case WorkKind::kEpochCell:
      if (confirm_) confirm_->OnCompletion(cookie, event);
      return;
  }
}

void Replica::OnConnectionLost(fabric::ConnectionId connection) {
  for (Used& used : used_) {
    if (connection != used.delivery && connection != used.chain) continue;
    used.broken = true;
    ++report_generation_;
  }
  if (primary_) primary_->OnConnectionLost(connection);
  if (backup_) backup_->OnConnectionLost(connection);
  if (reads_) reads_->OnConnectionLost(connection);
  if (learner_) learner_->OnConnectionLost(connection);
  refill_->OnConnectionLost(connection);
}

void Replica::CollectBroken(std::vector<ServerId>* broken) const {
  if (phase_ != proto::SHARD_ACTIVE || stopping_) return;
  for (const Used& used : used_) {
    if (used.broken) broken->push_back(used.member);
  }
}

// --- The turn ---

void Replica::Commit() {
  if (primary_ && !stopping_ && phase_ == proto::SHARD_ACTIVE) {
    primary_->Commit();
  }
}

bool Replica::Turn() {
  Reconcile();
  if (primary_ == nullptr) refill_->Offer(wanted_);
  if (learner_ != nullptr) {
    const bool busy = learner_->Turn();
    context_->urgent |= busy;
    if (learner_->TakeCaughtUp()) ++report_generation_;
    if (note_.empty()) note_ = learner_->note();
    SaveWatermarks();
    return busy;
  }
  if ((stopping_ || phase_ != proto::SHARD_ACTIVE) &&
      !Planted(PlantedBug::kFencedServes)) {
    return false;
  }
  bool busy = false;
  if (primary_) {
    busy |= primary_->Turn();
    busy |= refill_->Turn(wanted_, primary_.get());
    NoteMissing();
  }
  context_->urgent |= busy;
  if (backup_) {
    busy |= backup_->Turn();
    ring_is_complete_ = backup_->caught_up();
    // Without a lease the primary may be in a later epoch, and what it has in
    // flight to this one is read from memory that it uses again.
    const auto lsn = backup_->damage();
    if (lsn && damage_.empty() && LeaseIsValid()) {
      ++context_->counters.damaged_records;
      damage_ = "the record at LSN " + std::to_string(lsn->value()) +
                " stays unreadable";
      ++report_generation_;
    }
  }
  SaveWatermarks();
  return busy;
}

int64_t Replica::NextDeadlineNs() const {
  // Reconciling waits for connections; they are tried again by the peers.
  int64_t deadline = refill_->NextDeadlineNs(wanted_);
  if (learner_ != nullptr) {
    return std::min(deadline, learner_->NextDeadlineNs());
  }
  if (stopping_ || phase_ != proto::SHARD_ACTIVE) return deadline;
  if (primary_) deadline = std::min(deadline, primary_->NextDeadlineNs());
  if (backup_) deadline = std::min(deadline, backup_->NextDeadlineNs());
  return deadline;
}

void Replica::FillReport(proto::ShardReport* report) const {
  report->set_shard(shard_.value());
  report->set_phase(phase_);
  report->set_epoch(saved_.epoch.value());
  report->set_ended_epoch(saved_.ended_epoch.value());
  report->set_announced(state_.backup_log.announced().value());
  report->set_durable(state_.backup_log.durable().value());
  report->set_committed(state_.committed.value());
  report->set_applied(state_.Applied().value());
  report->set_damaged(!damage_.empty());
  report->set_damage(damage_);
  report->set_records(state_.index.size());
  report->set_open_sessions(state_.sessions.size());
  report->set_log_bytes(uint64_t{context_->pool->used_slots(shard_)} *
                        state_.log.segment_bytes());
  report->set_has_lease(phase_ == proto::SHARD_ACTIVE &&
                        lease_->Valid(lease_from_sequence_, context_->now_ns));
  for (const logstore::EpochStart& entry : saved_.history.entries()) {
    proto::EpochStart* added = report->add_history();
    added->set_epoch(entry.epoch.value());
    added->set_start(entry.start.value());
  }
  state_.backup_log.ForEachHole([report](chain::LsnRange hole) {
    const int last = report->holes_size() - 1;
    if (last >= 0 && report->holes(last).end() == hole.begin.value()) {
      report->mutable_holes(last)->set_end(hole.end.value());
      return;
    }
    proto::LsnRange* added = report->add_holes();
    added->set_begin(hole.begin.value());
    added->set_end(hole.end.value());
  });
  if (phase_ == proto::SHARD_ACTIVE) ReportMissing(report);
  for (const ServerId peer : unreached_) report->add_unreached(peer.value());
  int64_t lag_since_ns = context_->now_ns;
  if (primary_) {
    report->set_replicated(primary_->replicated().value());
    report->set_ready_replicas(primary_->open_backups());
    report->set_window_high_water_bytes(primary_->window_high_water_bytes());
    report->set_lag_bytes(primary_->ready_end() - primary_->replicated());
    lag_since_ns = primary_->lag_since_ns();
  } else if (backup_) {
    report->set_lag_bytes(state_.backup_log.announced() -
                          state_.backup_log.durable());
    lag_since_ns = backup_->lag_since_ns();
  }
  if (report->lag_bytes() > 0) {
    report->set_lag_us((context_->now_ns - lag_since_ns) / 1000);
  }
}

}  // namespace whale::node

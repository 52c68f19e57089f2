#include "node/backup_role.h"

#include <algorithm>
#include <limits>

#include "common/check.h"
#include "common/planted_bug.h"
#include "node/grants.h"

namespace whale::node {
namespace {

// The slow timer: short while there is news, longer while there is none.
constexpr int64_t kBusyIntervalNs = 1'000'000;
constexpr int64_t kIdleIntervalNs = 100'000'000;
// A few microseconds' work.
constexpr size_t kRecordsPerTurn = 16;
// After a wake-up the successor is woken too, for so long.
constexpr int64_t kWakeLastsNs = 5'000'000;
// Which of the two, in the cookie of a drain.
constexpr uint8_t kChainDrain = 0;
constexpr uint8_t kProgressDrain = 1;

// The next whole multiple of the interval, so that all shards of a host look
// for news together: its processors wake once for all of them when idle, and
// work undisturbed for longer when not.
int64_t NextTick(int64_t now_ns, int64_t interval_ns) {
  return now_ns - now_ns % interval_ns + interval_ns;
}

}  // namespace

BackupRole::BackupRole(Context* context, Peers* peers,
                       chain::ReplicaState* state,
                       const Configuration& configuration, uint32_t ring,
                       Landing* landing)
    : context_(context),
      peers_(peers),
      state_(state),
      configuration_(configuration),
      ring_(ring),
      landing_(landing),
      area_(state->pool->Area(state->shard)),
      caught_up_at_(state->backup_log.announced()),
      announcer_({.epoch = configuration.epoch,
                  .start = state->backup_log.durable(),
                  .committed = configuration.committed_start,
                  .delivery_cells = area_.delivery_cells,
                  .ring = area_.rings[ring],
                  .ring_slots = state->pool->geometry().ring_slots}),
      chain_(context, peers, &state->log, &configuration_,
             *configuration_.PositionOf(context->options.id)),
      interval_ns_(kBusyIntervalNs),
      lag_since_ns_(context->now_ns) {
  state_->committed =
      std::max(state_->committed, configuration.committed_start);
  state_->Apply();
  Peer* primary = peers->Find(configuration.primary());
  WHALE_CHECK(primary != nullptr && primary->up());
  primary_link_ = Link(context, primary->out_delivery);
  progress_drain_ = Drain(context, primary->out_delivery);
  AnnounceSelf();
  segments_until_ = state_->log.SegmentOf(state_->backup_log.durable()) - 1;
  KeepSegmentsAhead();
}

WorkCookie BackupRole::Cookie(WorkKind kind, uint8_t index) const {
  return {.kind = kind,
          .shard = state_->shard,
          .index = index,
          .epoch_low = static_cast<uint32_t>(configuration_.epoch.value())};
}

void BackupRole::AnnounceSelf() {
  const uint64_t ring_bytes =
      uint64_t{state_->pool->geometry().ring_slots} * 64;
  constexpr uint64_t kPairBytes = 2 * logstore::kCellBytes;
  wire::BackupReady ready{};
  ready.header = {.type = wire::PeerMessageType::kBackupReady,
                  .shard = state_->shard.value(),
                  .epoch = configuration_.epoch.value()};
  ready.deliver_from = announcer_.announced().value();
  ready.durable = state_->backup_log.durable().value();
  ready.ring_slots = state_->pool->geometry().ring_slots;
  ready.ring = ToWire(context_->GrantOf(area_.rings[ring_], ring_bytes));
  ready.delivery_cells = ToWire(context_->GrantOf(
      area_.delivery_cells, logstore::kDeliveryCells * logstore::kCellBytes));
  ready.epoch_cells = ToWire(context_->GrantOf(area_.epoch_cells, kPairBytes));
  peers_->Send(configuration_.primary(), std::as_bytes(std::span(&ready, 1)));

  const size_t position = *configuration_.PositionOf(context_->options.id);
  const auto predecessor = configuration_.PredecessorOf(position);
  if (!predecessor) return;
  wire::SuccessorReady successor{};
  successor.header = ready.header;
  successor.header.type = wire::PeerMessageType::kSuccessorReady;
  successor.durable = ready.durable;
  successor.chain_cells =
      ToWire(context_->GrantOf(area_.chain_cells, kPairBytes));
  peers_->Send(*predecessor, std::as_bytes(std::span(&successor, 1)));
}

void BackupRole::GrantSegments(uint64_t first, uint64_t last) {
  SendSegmentGrants(context_, peers_, state_->log, configuration_.primary(),
                    state_->shard, configuration_.epoch, first, last);
  const size_t position = *configuration_.PositionOf(context_->options.id);
  const auto predecessor = configuration_.PredecessorOf(position);
  if (!predecessor || *predecessor == configuration_.primary()) return;
  SendSegmentGrants(context_, peers_, state_->log, *predecessor, state_->shard,
                    configuration_.epoch, first, last);
}

void BackupRole::KeepSegmentsAhead() {
  const uint64_t wanted =
      state_->log.SegmentOf(state_->backup_log.announced()) + kSegmentsAhead +
      (Planted(PlantedBug::kSegmentsHoarded) ? 3 : 0);
  if (segments_until_ >= wanted || context_->now_ns < segments_retry_at_ns_) {
    return;
  }
  const uint64_t first = segments_until_ + 1;
  while (segments_until_ < wanted &&
         state_->log.AddSegment(segments_until_ + 1).ok()) {
    ++segments_until_;
  }
  if (segments_until_ >= first) GrantSegments(first, segments_until_);
  if (segments_until_ >= wanted) return;
  segments_retry_at_ns_ = context_->now_ns + kSegmentsRetryNs;
  struct {
    wire::PeerHeader header;
    wire::SegmentGrantEntry entry;
  } full{};
  full.header = {.type = wire::PeerMessageType::kCannotGrant,
                 .shard = state_->shard.value(),
                 .count = 1,
                 .epoch = configuration_.epoch.value()};
  full.entry.number = segments_until_ + 1;
  peers_->Send(configuration_.primary(), std::as_bytes(std::span(&full, 1)));
}

bool BackupRole::OnPrimaryReady(const wire::PrimaryReady& message) {
  if (primary_ready_ || !CoversCells(message.progress_cells) ||
      !CoversCells(message.commit_cells)) {
    return false;
  }
  commit_cells_ = ToGrant(message.commit_cells);
  progress_ = metadata_mcast::CellWriter<chain::ProgressCell>(
      ToGrant(message.progress_cells), configuration_.epoch);
  primary_ready_ = true;
  next_turn_ns_ = 0;
  return true;
}

bool BackupRole::OnSegmentGrants(
    ServerId from, std::span<const wire::SegmentGrantEntry> grants) {
  if (!CoverSegments(grants, state_->log)) return false;
  chain_.OnSegmentGrants(from, grants);
  if (from != configuration_.primary()) return true;
  for (const wire::SegmentGrantEntry& entry : grants) {
    primary_segments_.Set(entry.number, ToGrant(entry.grant));
  }
  return true;
}

void BackupRole::OnWake() {
  woken_at_ns_ = context_->now_ns;
  next_turn_ns_ = 0;
}

void BackupRole::OnConnectionLost(fabric::ConnectionId connection) {
  if (primary_link_.connection() == connection) primary_link_.Break();
  chain_.OnConnectionLost(connection);
}

void BackupRole::OnCompletion(const WorkCookie& cookie,
                              const fabric::Event& event) {
  // After an error progress stays in flight: it may land until it is fenced.
  if (event.outcome != fabric::Outcome::kOk) return;
  if (cookie.kind == WorkKind::kChain) chain_.OnCompletion();
  if (cookie.kind == WorkKind::kProgress) progress_in_flight_ = false;
  if (cookie.kind != WorkKind::kDrain) return;
  if (cookie.index == kChainDrain) chain_.OnDrained();
  if (cookie.index == kProgressDrain) progress_drain_.OnCompletion();
}

void BackupRole::Announce() {
  AnnounceUpTo(std::numeric_limits<size_t>::max());
}

size_t BackupRole::AnnounceUpTo(size_t most) {
  const size_t count = announcer_.Announce(
      state_->log, state_->history,
      [this](const metadata_mcast::Announced& record) {
        state_->Learn(record.lsn, record.header, record.hash, record.by_value);
      },
      most);
  state_->PrefetchNewest(count);
  if (announcer_.announced() > state_->backup_log.announced()) {
    state_->backup_log.OnAnnouncedUpTo(announcer_.announced());
  }
  state_->committed = std::max(state_->committed, announcer_.known_committed());
  return count;
}

bool BackupRole::TakeChain() {
  const auto cell = metadata_mcast::NewestWhole<chain::ChainCell>(
      area_.chain_cells, configuration_.epoch);
  if (!cell) return false;
  // Holes of earlier epochs may be such as the primary fills in this one: they
  // are there once it has been announced again.
  chain::ChainCell announced = *cell;
  announced.sent_upto =
      std::min(announced.sent_upto, announcer_.announced().value());
  return state_->TakeChain(announced);
}

void BackupRole::AnnounceFinally() {
  Announce();
  TakeChain();
  state_->Apply();
}

void BackupRole::DrainSent() {
  chain_.DrainSent(landing_->scratch(), Cookie(WorkKind::kDrain, kChainDrain));
  if (progress_.sequence() > 0) {
    progress_drain_.Post(primary_link_, commit_cells_, landing_->scratch(),
                         Cookie(WorkKind::kDrain, kProgressDrain));
  }
}

bool BackupRole::MayLandAt(ServerId peer) const {
  const bool progress = progress_.sequence() > 0 &&
                        (progress_in_flight_ || !progress_drain_.over());
  return chain_.MayLandAt(peer) ||
         (progress && configuration_.primary() == peer &&
          !peers_->DeliveryReplaced(peer, primary_link_.connection()));
}

bool BackupRole::Forward() {
  const bool wake = context_->now_ns - woken_at_ns_ < kWakeLastsNs;
  return chain_.Forward(state_->backup_log.durable(), wake,
                        Cookie(WorkKind::kChain));
}

bool BackupRole::TellProgress() {
  chain::ProgressCell cell{};
  cell.announced = state_->backup_log.announced().value();
  cell.durable = state_->backup_log.durable().value();
  cell.applied = state_->Applied().value();
  cell.ring_released = announcer_.ReleaseRing(
      Planted(PlantedBug::kRingReleasedEarly) ? state_->backup_log.announced()
                                              : state_->backup_log.durable());
  if (!primary_ready_ || progress_in_flight_ ||
      (cell.announced == told_.announced && cell.durable == told_.durable &&
       cell.applied == told_.applied &&
       cell.ring_released == told_.ring_released)) {
    return false;
  }
  progress_in_flight_ =
      primary_link_.Post([&](fabric::WorkRequest* out, size_t capacity) {
        if (capacity == 0) return size_t{0};
        *out = progress_.Write(cell);
        out->signaled = true;
        out->cookie = Cookie(WorkKind::kProgress).Encode();
        return size_t{1};
      });
  if (progress_in_flight_) told_ = cell;
  return progress_in_flight_;
}

// Turns that find nothing are not counted.
size_t BackupRole::TimedAnnounce(size_t most) {
  const uint64_t begin = CycleCount();
  const size_t count = AnnounceUpTo(most);
  if (count > 0 && context_->stages.Count(Stage::kAnnounce)) {
    context_->stages.Add(Stage::kAnnounce, CycleCount() - begin);
  }
  return count;
}

void BackupRole::TimedApply() {
  const uint64_t begin = CycleCount();
  const Lsn before = state_->Applied();
  state_->Apply();
  if (before != state_->Applied() && context_->stages.Count(Stage::kApply)) {
    context_->stages.Add(Stage::kApply, CycleCount() - begin);
  }
}

bool BackupRole::Turn() {
  if (context_->now_ns < next_turn_ns_) return false;
  const Lsn announced = state_->backup_log.announced();
  const Lsn applied = state_->Applied();
  const bool more = TimedAnnounce(kRecordsPerTurn) == kRecordsPerTurn;
  bool busy = TakeChain();
  TimedApply();
  if (more && context_->now_ns - told_at_ns_ < kBusyIntervalNs) return true;
  told_at_ns_ = context_->now_ns;
  while (Forward()) busy = true;
  busy |= announced != state_->backup_log.announced() ||
          applied != state_->Applied();
  KeepSegmentsAhead();
  TellProgress();
  if (state_->backup_log.hole_count() == 0) lag_since_ns_ = context_->now_ns;
  const bool waits = busy || announcer_.behind() || progress_in_flight_ ||
                     state_->backup_log.hole_count() > 0;
  interval_ns_ =
      waits ? kBusyIntervalNs : std::min(interval_ns_ * 2, kIdleIntervalNs);
  next_turn_ns_ =
      more ? context_->now_ns : NextTick(context_->now_ns, interval_ns_);
  return busy;
}

std::optional<Lsn> BackupRole::damage() const {
  return announcer_.damage() ? announcer_.damage()
                             : state_->backup_log.damage();
}

}  // namespace whale::node

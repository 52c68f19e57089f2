// What a replica knows after a restart: only what the pool says.

#include <algorithm>
#include <utility>

#include "common/planted_bug.h"
#include "common/remote_memory.h"
#include "common/status_macros.h"
#include "logstore/metadata_record.h"
#include "logstore/missing.h"
#include "logstore/recovery.h"
#include "metadata_mcast/cells.h"
#include "node/replica.h"

namespace whale::node {
namespace {

// For a planted bug.
logstore::RecordHeader WithoutRequest(logstore::RecordHeader header) {
  if (logstore::IsKeyed(header)) header.session = 0;
  return header;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Replica>> Replica::Recover(Context* context,
                                                          Peers* peers,
                                                          ClientPort* clients,
                                                          const Lease* lease,
                                                          ShardId shard) {
  std::unique_ptr<Replica> replica(
      new Replica(context, peers, clients, lease, shard));
  WHALE_ASSIGN_OR_RETURN(
      replica->landing_,
      Landing::Create(context->fabric, context->pool->geometry()));
  replica->refill_ = std::make_unique<Refill>(context, peers, &replica->state_,
                                              replica->landing_.get());
  WHALE_RETURN_IF_ERROR(replica->RecoverState());
  replica->RecoverRecords();
  return replica;
}

absl::Status Replica::RecoverState() {
  WHALE_ASSIGN_OR_RETURN(saved_, context_->pool->LoadState(shard_));
  state_.history = saved_.history;
  const std::byte* cells = context_->pool->Area(shard_).epoch_cells;
  if (const auto cell =
          metadata_mcast::NewestWhole<metadata_mcast::EpochCell>(cells)) {
    epoch_cell_sequence_ = cell->sequence;
  }
  StoreEpochCell(Epoch());
  return absl::OkStatus();
}

std::vector<logstore::MetadataEntry> Replica::RingMetadata(
    uint32_t ring) const {
  const std::byte* slots = context_->pool->Area(shard_).rings[ring];
  std::vector<logstore::MetadataEntry> entries;
  for (uint32_t i = 0; i < context_->pool->geometry().ring_slots; ++i) {
    const auto record = LoadRemote<logstore::MetadataRecord>(
        slots + size_t{i} * sizeof(logstore::MetadataRecord));
    if (logstore::CheckMetadataRecord(record)) {
      entries.push_back({record.header, record.hash});
    }
  }
  return entries;
}

Lsn Replica::KnownCommitted() const {
  const logstore::ShardArea area = context_->pool->Area(shard_);
  Lsn committed = std::max(saved_.committed, saved_.committed_start);
  if (const auto cell =
          metadata_mcast::NewestWhole<metadata_mcast::DeliveryCell>(
              area.delivery_cells, saved_.epoch)) {
    committed = std::max(committed, Lsn(cell->committed));
  }
  if (const auto cell = metadata_mcast::NewestWhole<metadata_mcast::CommitCell>(
          area.commit_cells, saved_.epoch)) {
    committed = std::max(committed, Lsn(cell->committed));
  }
  return committed;
}

// What the delivery cells prove to have been durable here. Not all that the
// newest, n, claims: its own flush may not have been done when the power
// failed, so that it survived by chance and the records before it did not. But
// of k slots it was posted with k - 1 batches in flight at most, so n - k + 1
// was durable; and where that is torn, n + 1 was being written over it, which
// in turn proves n - k + 2. Thus the oldest of the last k that is whole claims
// what holds. (Still older ones are of slots whose new cells were lost.) And
// what the newest calls committed was durable here, if it was committed in this
// epoch; what was so before (A) a new member may still lack.
Lsn Replica::DeliveredFloor() const {
  using metadata_mcast::DeliveryCell;
  constexpr uint64_t kSlots = metadata_mcast::kSlots<DeliveryCell>;
  const auto is_ours = [this](const DeliveryCell& cell) {
    return cell.epoch == saved_.epoch.value() && metadata_mcast::IsWhole(cell);
  };
  const auto cells = metadata_mcast::LoadSlots<DeliveryCell>(
      context_->pool->Area(shard_).delivery_cells);
  const DeliveryCell* newest =
      metadata_mcast::LargestBelow<DeliveryCell>(UINT64_MAX, cells, is_ours);
  if (newest == nullptr) return Lsn();
  const Lsn committed(newest->committed);
  const Lsn floor = committed > saved_.committed_start ? committed : Lsn();
  if (newest->sequence < kSlots) return floor;
  const DeliveryCell* oldest = newest;
  for (const DeliveryCell& cell : cells) {
    if (is_ours(cell) && cell.sequence > newest->sequence - kSlots &&
        cell.sequence < oldest->sequence) {
      oldest = &cell;
    }
  }
  return std::max(floor, Lsn(oldest->delivered));
}

void Replica::RecoverRecords() {
  if (saved_.epoch == Epoch()) return;  // a blank shard
  std::vector<logstore::MetadataEntry> metadata = RingMetadata(0);
  const std::vector<logstore::MetadataEntry> other = RingMetadata(1);
  metadata.insert(metadata.end(), other.begin(), other.end());
  std::sort(metadata.begin(), metadata.end(), [](const auto& a, const auto& b) {
    return a.header.lsn < b.header.lsn;
  });

  logstore::RecoveryFloors floors{.announced = saved_.announced,
                                  .durable = saved_.durable};
  floors.announced = std::max(floors.announced, DeliveredFloor());
  // Holes are only known once the walk is over, and records must be learned in
  // order; without metadata there are none.
  std::vector<logstore::Hole> holes;
  if (!metadata.empty()) {
    holes = logstore::Walk(state_.log.segments(), state_.history, metadata,
                           logstore::kLogBegin, floors,
                           [](Lsn, const logstore::RecordHeader&) {})
                .holes;
  }
  state_.committed = KnownCommitted();
  auto hole = holes.begin();
  const auto learn_holes_below = [&](Lsn lsn) {
    for (; hole != holes.end() && hole->lsn < lsn; ++hole) {
      state_.Learn(hole->lsn, hole->header, hole->hash, false);
    }
  };
  bool first = true;
  const logstore::RecoveryResult result = logstore::Recover(
      state_.log, state_.history, metadata, logstore::kLogBegin, floors,
      [&](Lsn lsn, const logstore::RecordHeader& header) {
        if (std::exchange(first, false)) {
          state_.backup_log = chain::BackupLog(
              holes.empty() ? lsn : std::min(lsn, holes.front().lsn));
        }
        learn_holes_below(lsn);
        const uint64_t hash = logstore::KeyHashOf(header);
        if (Planted(PlantedBug::kSessionsNotRecovered)) {
          state_.Learn(lsn, WithoutRequest(header), hash, true);
          return;
        }
        state_.Learn(lsn, header, hash, true);
      });
  learn_holes_below(kMaxLsn);
  if (result.end > state_.backup_log.announced()) {
    state_.backup_log.OnAnnouncedUpTo(result.end);
  }
  state_.committed = std::min(state_.committed, result.end);
  state_.Apply();
  if (!result.damage.empty() && !Planted(PlantedBug::kRotIgnored)) {
    const logstore::Damage& damage = result.damage.front();
    damage_ = "the log is damaged from LSN " +
              std::to_string(damage.begin.value()) + " on (" +
              std::to_string(result.damage.size()) +
              " places); run `whale log verify` on the pool";
    context_->counters.damaged_records += result.damage.size();
  }
  absl::flat_hash_set<uint64_t> in_ring;
  for (const logstore::MetadataEntry& entry : RingMetadata(saved_.ring)) {
    in_ring.insert(entry.header.lsn);
  }
  ring_is_complete_ = std::all_of(
      holes.begin(), holes.end(),
      [&](const logstore::Hole& h) { return in_ring.contains(h.lsn.value()); });
}

}  // namespace whale::node

#include "chain/replica_state.h"

#include <algorithm>

#include "common/check.h"
#include "common/hash.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"

namespace whale::chain {

using logstore::RecordHeader;
using logstore::RecordType;
using metadata_mcast::PendingRecord;

namespace {

// As many records as are applied while memory answers.
constexpr size_t kFetchAhead = 8;

}  // namespace

ReplicaState::ReplicaState(logstore::Pool* pool, ShardId shard)
    : pool(pool),
      shard(shard),
      log(pool, shard),
      index(pool->mapping().base),
      backup_log(log.begin()) {}

void ReplicaState::Learn(Lsn lsn, const RecordHeader& header, uint64_t hash,
                         bool has_value) {
  if (lsn < backup_log.announced()) {
    if (has_value && backup_log.Fill(lsn)) pending.MarkValue(lsn);
    return;
  }
  const uint64_t record_bytes = logstore::RecordBytes(header);
  backup_log.OnAnnounced(lsn, record_bytes, has_value);
  const SessionId session(header.session);
  switch (header.type) {
    case RecordType::kPut:
    case RecordType::kDelete:
      sessions.Record(session, RequestNumber(header.request), lsn);
      break;
    case RecordType::kSessionOpen:
      sessions.Open(session, lsn);
      return;
    case RecordType::kSessionEnd:
      sessions.End(session, lsn);
      return;
    default:
      if (!logstore::IsKeyed(header)) return;
  }
  if (has_value && pending.empty() && lsn < committed) {
    index.Apply(hash, &log.HeaderAt(lsn));
    return;
  }
  if (!planted_clean.empty()) planted_clean.erase(hash);
  index.Prefetch(hash);  // for Apply, which comes after the whole batch
  pending.Push(PendingRecord::Of(header, hash, has_value));
}

bool ReplicaState::TakeChain(const ChainCell& cell) {
  const LsnRange taken = backup_log.TakeChain(cell, log, history);
  if (taken.empty()) return false;
  pending.MarkValues(taken.begin, taken.end);
  return true;
}

void ReplicaState::Apply() {
  Lsn limit = std::min(committed, backup_log.durable());
  if (Planted(PlantedBug::kEarlyChainValue)) limit = backup_log.durable();
  while (!pending.empty() && pending.front().lsn < limit) {
    // The log is larger than the caches: the records whose keys are compared
    // are fetched while those before them are applied.
    if (const PendingRecord* ahead = pending.Ahead(kFetchAhead)) {
      index.PrefetchRecord(ahead->hash);
    }
    const PendingRecord& record = pending.front();
    const RecordHeader& header = log.HeaderAt(record.lsn);
    // A record whose value never came was made a pad.
    if (logstore::IsKeyed(header)) index.Apply(record.hash, &header);
    PlantClean(record.hash, PlantedBug::kDirtyBit);
    pending.PopFront();
  }
  sessions.Release(committed);
}

Lsn ReplicaState::Applied() const {
  const Lsn limit = std::min(committed, backup_log.durable());
  return pending.empty() ? limit : std::min(limit, pending.front().lsn);
}

void ReplicaState::Discard(Lsn start) {
  if (Planted(PlantedBug::kCutWithoutUndo)) return;
  if (start < backup_log.announced()) RareBranch<"cut: undoes records">();
  pending.DropFrom(start);
  sessions.Undo(start);
  backup_log.DropFrom(start);
}

namespace {

// Whether a pending record may be of `key`: certain only if its value is here.
bool MayBeOf(const ReplicaState& state, const PendingRecord& record,
             std::string_view key) {
  if (record.key_bytes != key.size()) return false;
  if (!record.has_value) return true;
  return logstore::IsKeyed(state.log.HeaderAt(record.lsn)) &&
         state.log.KeyAt(record.lsn) == key;
}

Visible VisibleIndex(const RecordHeader* record) {
  if (record == nullptr || logstore::IsTombstone(*record)) {
    return {.kind = Visible::Kind::kAbsent,
            .lsn = record == nullptr ? Lsn() : Lsn(record->lsn)};
  }
  return {.kind = Visible::Kind::kHere,
          .record = record,
          .lsn = Lsn(record->lsn),
          .record_bytes = logstore::RecordBytes(*record)};
}

Visible VisiblePending(const ReplicaState& state, const PendingRecord& record) {
  if (record.has_value) return VisibleIndex(&state.log.HeaderAt(record.lsn));
  return {.kind = Visible::Kind::kElsewhere,
          .lsn = record.lsn,
          .record_bytes = record.record_bytes};
}

}  // namespace

Visible FindVisible(const ReplicaState& state, uint64_t hash,
                    std::string_view key, Lsn watermark, bool final_watermark,
                    Lsn not_this) {
  if (state.planted_clean.contains(hash) ||
      Planted(PlantedBug::kPendingNotAsked)) {
    return VisibleIndex(state.index.Find(hash, key));
  }
  bool found = false;
  PendingRecord newest;
  bool uncommitted = false;
  state.pending.ForHash(hash, [&](const PendingRecord& record) {
    if (record.lsn == not_this || !MayBeOf(state, record, key)) return true;
    if (record.lsn >= watermark && !Planted(PlantedBug::kUncommittedExposed)) {
      uncommitted = true;
      return true;
    }
    if (!found || record.version > newest.version) newest = record;
    found = true;
    return true;
  });
  if (uncommitted && !final_watermark && !Planted(PlantedBug::kOldWatermark)) {
    return {.kind = Visible::Kind::kUncommitted};
  }
  const RecordHeader* applied = state.index.Find(hash, key);
  if (!found ||
      (applied != nullptr && logstore::VersionOf(*applied) >= newest.version)) {
    return VisibleIndex(applied);
  }
  return VisiblePending(state, newest);
}

const RecordHeader* FindOrdered(const ReplicaState& state, uint64_t hash,
                                std::string_view key) {
  const RecordHeader* newest = state.index.Find(hash, key);
  state.pending.ForHash(hash, [&](const PendingRecord& record) {
    if (!MayBeOf(state, record, key)) return true;
    const RecordHeader& header = state.log.HeaderAt(record.lsn);
    if (newest == nullptr ||
        logstore::VersionOf(header) > logstore::VersionOf(*newest)) {
      newest = &header;
    }
    return true;
  });
  return newest;
}

}  // namespace whale::chain

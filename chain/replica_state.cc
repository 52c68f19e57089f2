#include "chain/replica_state.h"

#include <algorithm>
#include <vector>

#include "common/check.h"
#include "common/hash.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "logstore/missing.h"

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
    case RecordType::kMissing:
      sessions.Record(session, RequestNumber(header.request), lsn);
      break;
    case RecordType::kLost:
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
  if (!planted_clean.empty()) planted_clean.erase(hash);
  pending.Push(PendingRecord::Of(header, hash, has_value));
}

void ReplicaState::PrefetchNewest(size_t count) const {
  const size_t end = pending.size();
  for (size_t i = end - std::min(count, end); i < end; ++i) {
    index.Prefetch(pending.Ahead(i).hash);
  }
}

void ReplicaState::TakeLanded() {
  std::vector<Lsn> landed;
  backup_log.ForEachHole([&](LsnRange hole) {
    const bool whole =
        log.Check(hole.begin, history) == logstore::Log::Validity::kValid;
    if (whole) landed.push_back(hole.begin);
  });
  for (const Lsn lsn : landed) {
    RareBranch<"seal: a value came without its cell">();
    if (backup_log.Fill(lsn)) pending.MarkValue(lsn);
  }
}

bool ReplicaState::TakeChain(const ChainCell& cell) {
  const LsnRange taken = backup_log.TakeChain(cell, log, history);
  if (taken.empty()) return false;
  pending.MarkValues(taken.begin, taken.end);
  return true;
}

void ReplicaState::ApplyRecord(uint64_t hash, const RecordHeader& header) {
  if (logstore::IsKeyed(header)) {
    index.Apply(hash, &header);
    if (!missing.empty()) missing.OnKeyed(hash, header);
  } else if (header.type == RecordType::kMissing) {
    missing.OnMissing(header);
  } else if (header.type == RecordType::kLost) {
    missing.OnLost(header);
  }  // else a record whose value never came was made a pad
}

void ReplicaState::Apply() {
  Lsn limit = std::min(committed, backup_log.durable());
  if (Planted(PlantedBug::kEarlyChainValue)) limit = backup_log.durable();
  const auto has_next = [&] {
    return !pending.empty() && pending.front().lsn < limit;
  };
  // The log is larger than the caches: the records whose keys are compared are
  // fetched while those before them are applied, in groups (see
  // PrefetchNewest).
  size_t fetched = 0;  // of the pending records
  while (has_next()) {
    if (fetched < kFetchAhead) {
      const size_t end = std::min(2 * kFetchAhead, pending.size());
      for (; fetched < end; ++fetched) {
        index.PrefetchRecord(pending.Ahead(fetched).hash);
      }
    }
    const PendingRecord& record = pending.front();
    ApplyRecord(record.hash, log.HeaderAt(record.lsn));
    PlantClean(record.hash, PlantedBug::kDirtyBit);
    pending.PopFront();
    --fetched;
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
  if (!record.has_value) return record.key_bytes == key.size();
  const RecordHeader& header = state.log.HeaderAt(record.lsn);
  switch (header.type) {
    case RecordType::kMissing:
      return header.key_bytes == key.size();
    case RecordType::kLost:
      return logstore::LostValueOf(header).key_bytes == key.size();
    default:
      return record.key_bytes == key.size() && logstore::IsKeyed(header) &&
             logstore::KeyOf(header) == key;
  }
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
  if (!record.has_value) {
    return {.kind = Visible::Kind::kElsewhere,
            .lsn = record.lsn,
            .record_bytes = record.record_bytes};
  }
  const RecordHeader& header = state.log.HeaderAt(record.lsn);
  if (header.type == RecordType::kMissing) {
    return {.kind = Visible::Kind::kMissing};
  }
  if (header.type == RecordType::kLost) return {.kind = Visible::Kind::kLost};
  return VisibleIndex(&header);
}

// The applied record is what is seen, or what hides it.
Visible VisibleApplied(const ReplicaState& state, uint64_t hash,
                       std::string_view key, const RecordHeader* applied) {
  const MissingValue* hiding = FindHiding(state, hash, key, applied);
  if (hiding == nullptr) return VisibleIndex(applied);
  return {.kind =
              hiding->lost ? Visible::Kind::kLost : Visible::Kind::kMissing};
}

// Whether the applied record is to be taken, not the pending one. A value that
// was given up is lost where it is, too.
bool IsNewest(const RecordHeader* applied, const PendingRecord& pending) {
  if (applied == nullptr) return false;
  const uint64_t version = logstore::VersionOf(*applied);
  return version > pending.version ||
         (version == pending.version && pending.type != RecordType::kLost);
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
  if (!found || IsNewest(applied, newest)) {
    return VisibleApplied(state, hash, key, applied);
  }
  // What was applied as missing may be newer still.
  if (!state.missing.empty()) {
    const MissingValue* hiding =
        state.missing.Hiding(hash, key.size(), newest.version);
    if (hiding != nullptr) {
      return {.kind = hiding->lost ? Visible::Kind::kLost
                                   : Visible::Kind::kMissing};
    }
  }
  return VisiblePending(state, newest);
}

const RecordHeader* FindOrdered(const ReplicaState& state, uint64_t hash,
                                std::string_view key) {
  const RecordHeader* newest = state.index.Find(hash, key);
  state.pending.ForHash(hash, [&](const PendingRecord& record) {
    if (!MayBeOf(state, record, key)) return true;
    const RecordHeader& header = state.log.HeaderAt(record.lsn);
    if (!logstore::IsKeyed(header)) return true;
    if (newest == nullptr ||
        logstore::VersionOf(header) > logstore::VersionOf(*newest)) {
      newest = &header;
    }
    return true;
  });
  return newest;
}

}  // namespace whale::chain

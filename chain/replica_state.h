// What one server knows of one shard, whatever its role: the log, the records
// announced in it, what of them is applied, and the sessions' outcomes.
//
// States of a record here: announced (known of: in the log, in `pending`, maybe
// as a hole) -> value here and durable (`backup_log`) -> committed (below
// `committed`) -> applied (in `index`, out of `pending`). Records are applied
// in LSN order, and nobody exposes one that is not below `committed`.
//
// Thread-safety: none; pure but for the memory of the pool.
#ifndef WHALE_CHAIN_REPLICA_STATE_H_
#define WHALE_CHAIN_REPLICA_STATE_H_

#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "chain/backup_log.h"
#include "chain/cells.h"
#include "chain/missing_values.h"
#include "common/ids.h"
#include "common/planted_bug.h"
#include "logstore/history.h"
#include "logstore/index.h"
#include "logstore/log.h"
#include "logstore/pool.h"
#include "logstore/session_table.h"
#include "metadata_mcast/pending_table.h"

namespace whale::chain {

struct ReplicaState {
  ReplicaState(logstore::Pool* pool, ShardId shard);

  // A record is announced: by value, or (has_value false) by metadata only. One
  // that was announced before may come again (a new epoch delivers from the
  // first hole on): then only a value that was missing is news.
  // REQUIRES: `lsn` is at most the position after the last one learned.
  void Learn(Lsn lsn, const logstore::RecordHeader& header, uint64_t hash,
             bool has_value);
  // Starts fetching where Apply will look up the newest `count` pending
  // records. For a whole batch at once: what misses the TLB holds up what
  // follows it, but not others of its kind right behind it.
  void PrefetchNewest(size_t count) const;
  // Takes the values that the predecessor says it has sent. True if there were
  // any.
  bool TakeChain(const ChainCell& cell);
  // Applies what is committed and here.
  void Apply();
  // Below it everything is applied.
  Lsn Applied() const;
  // Fills the holes at which the whole record lies in the log all the same: it
  // came, and the cell that says so did not. REQUIRES: nobody writes here any
  // more. Does not persist.
  void TakeLanded();
  // The cut: forgets all records at or above `start`, as if never announced.
  void Discard(Lsn start);

  // For planted bugs only: this key hash counts as clean from now on, whatever
  // is pending, if `bug` is the one that was planted.
  void PlantClean(uint64_t hash, PlantedBug bug) {
    if (Planted(bug)) planted_clean.insert(hash);
  }

  logstore::Pool* const pool;
  const ShardId shard;
  logstore::History history;
  logstore::Log log;
  logstore::Index index;
  logstore::SessionTable sessions;
  metadata_mcast::PendingTable pending;
  BackupLog backup_log;
  MissingValues missing;
  Lsn committed;  // the commit watermark known here
  absl::flat_hash_set<uint64_t> planted_clean;  // empty unless a bug is planted

 private:
  void ApplyRecord(uint64_t hash, const logstore::RecordHeader& header);
};

// The newest record of a key that a read may see.
struct Visible {
  enum class Kind : uint8_t {
    kAbsent,       // none, or a tombstone
    kHere,         // `record`
    kElsewhere,    // committed, but its value is still to come: `lsn`, `bytes`
    kUncommitted,  // not below `watermark`: the commit cell decides
    kMissing,      // no member has its value
    kLost,         // the same, and the operator has given it up
  };
  Kind kind = Kind::kAbsent;
  const logstore::RecordHeader* record = nullptr;
  Lsn lsn;
  uint64_t record_bytes = 0;
};

// Looks a key up (protocol, section 6): newest by version among pending records
// and the index. Records not below `watermark` yield kUncommitted, or are
// passed over if `final_watermark` says that the watermark was read after the
// request came. A hole at `not_this` is known to be another key's.
Visible FindVisible(const ReplicaState& state, uint64_t hash,
                    std::string_view key, Lsn watermark, bool final_watermark,
                    Lsn not_this = Lsn());

// What hides the newest record of the key that is known, nullptr if there is
// none (a tombstone is one); nullptr: nothing does.
inline const MissingValue* FindHiding(const ReplicaState& state, uint64_t hash,
                                      std::string_view key,
                                      const logstore::RecordHeader* newest) {
  if (state.missing.empty() || Planted(PlantedBug::kMissingAnswersOlder)) {
    return nullptr;
  }
  return state.missing.Hiding(
      hash, key.size(), newest == nullptr ? 0 : logstore::VersionOf(*newest));
}

// The newest record of a key in the ordered state, committed or not; nullptr if
// there is none. Something may hide it. REQUIRES: all values are here (the
// primary).
const logstore::RecordHeader* FindOrdered(const ReplicaState& state,
                                          uint64_t hash, std::string_view key);

}  // namespace whale::chain

#endif  // WHALE_CHAIN_REPLICA_STATE_H_

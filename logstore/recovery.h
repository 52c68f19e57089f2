// Reads a shard's log from the pool after a restart: what is there, where it
// ends, what is missing and what has rotted.
//
// Walks the records in LSN order as long as each position has a valid record
// or, where the value never came, a metadata record: that position is a hole.
// The first position that has neither ends the log, unless it lies below a
// floor that this replica had made durable; then bytes have rotted, which is
// reported, never taken for the end (protocol, section 8, step 4).
//
// Segments that are absent between present ones were cleaned and are skipped.
// Running it again gives the same.
#ifndef WHALE_LOGSTORE_RECOVERY_H_
#define WHALE_LOGSTORE_RECOVERY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/ids.h"
#include "logstore/history.h"
#include "logstore/log.h"
#include "logstore/record.h"
#include "logstore/segment_map.h"

namespace whale::logstore {

// What a ring knows of a record; its metadata record, checked.
struct MetadataEntry {
  RecordHeader header;
  uint64_t hash = 0;
};

// A record that is announced and whose value is not here.
struct Hole {
  Lsn lsn;
  RecordHeader header;
  uint64_t hash = 0;
};

// Bytes [begin, end) that must hold records and do not.
struct Damage {
  Lsn begin;
  Lsn end;                  // where whole records go on; `begin`: nowhere
  bool has_header = false;  // a header is whole that claims to belong here
};

// What this replica has made durable, from its cells and its state block.
struct RecoveryFloors {
  Lsn announced;  // below it each record is here, or its metadata is
  Lsn durable;    // below it each value is here
};

struct RecoveryResult {
  Lsn begin;                   // of the first record
  Lsn end;                     // announced watermark: contiguous from `begin`
  std::vector<Hole> holes;     // by LSN; those below `durable` are damage too
  std::vector<Damage> damage;  // by LSN
  // A header at `end` claims to belong there but its record is not whole: torn
  // when the server died, if not damaged later.
  bool torn_tail = false;
  uint64_t records = 0;  // whole ones
  uint64_t bytes = 0;    // of them
  std::array<uint64_t, 16> records_by_type{};
  // Holes that were none: a record without key and value is whole in its
  // metadata record, and was written into the log from there.
  uint64_t restored = 0;

  uint64_t Count(RecordType type) const {
    return records_by_type[static_cast<size_t>(type)];
  }
};

// Sees every whole record, in LSN order. The header's key and value follow it
// in memory.
using RecordVisitor = absl::FunctionRef<void(Lsn, const RecordHeader&)>;

// `metadata`: of this log's rings, by LSN, several for one LSN allowed; what
// the history rejects is ignored. `from`: a record's LSN at which to begin, or
// kLogBegin for the first segment that is there. Sets log.end() to the result's
// end. What it restores is durable.
inline constexpr Lsn kLogBegin{};
RecoveryResult Recover(Log& log, const History& history,
                       std::span<const MetadataEntry> metadata, Lsn from,
                       const RecoveryFloors& floors, RecordVisitor visit);

// The same without writing anything: what could be restored is visited too and
// counted in `restored`, and is not a hole.
RecoveryResult Walk(const SegmentMap& segments, const History& history,
                    std::span<const MetadataEntry> metadata, Lsn from,
                    const RecoveryFloors& floors, RecordVisitor visit,
                    std::vector<RecordHeader>* restorable = nullptr);

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_RECOVERY_H_

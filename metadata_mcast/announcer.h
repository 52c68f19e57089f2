// A backup's side of delivery for one shard in one epoch: finds out, without
// being told, which records the primary has delivered.
//
// It reads the newest whole delivery cell and walks the log up to where the
// cell says: at each LSN either the next entry of the ring is the metadata of
// that very record, or the record itself is there and valid. What it has found
// is announced: contiguous, in LSN order, each record once (protocol,
// section 4).
//
// Thread-safety: none; the memory it reads is written by the primary meanwhile.
// Allocates nothing after construction. Failure: a record that is not there yet
// is tried again with the next call; when that goes on it is damage, reported,
// never guessed.
#ifndef WHALE_METADATA_MCAST_ANNOUNCER_H_
#define WHALE_METADATA_MCAST_ANNOUNCER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "common/hash.h"
#include "common/ids.h"
#include "logstore/history.h"
#include "logstore/log.h"
#include "logstore/metadata_record.h"
#include "metadata_mcast/cells.h"

namespace whale::metadata_mcast {

struct AnnouncerConfig {
  Epoch epoch;
  Lsn start;      // the first LSN that this epoch's primary delivers
  Lsn committed;  // known to be committed when the epoch begins
  const std::byte* delivery_cells = nullptr;  // kDeliveryCells
  const std::byte* ring = nullptr;
  uint32_t ring_slots = 0;  // power of two
  // So many calls in a row may find the same record not whole.
  uint32_t tries_before_damage = 64;
};

// One announced record.
struct Announced {
  Lsn lsn;
  logstore::RecordHeader header;
  uint64_t hash = 0;      // of the key; 0 if the record has none
  bool by_value = false;  // whole in the log; else the value is still to come
};

class Announcer {
 public:
  explicit Announcer(const AnnouncerConfig& config);

  // Announces what has been delivered, at most `most` records: calls
  // `visit(const Announced&)` for each; returns how many. At once if there is
  // nothing new.
  template <typename Visitor>
  size_t Announce(const logstore::Log& log, const logstore::History& history,
                  Visitor&& visit,
                  size_t most = std::numeric_limits<size_t>::max());

  // Exclusive, contiguous; implicit pads are passed over.
  Lsn announced() const { return announced_; }
  // The largest commit watermark told by the primary. Never moves back. It may
  // be above announced() while damage, or too few calls of Announce, keep that
  // behind.
  Lsn known_committed() const { return known_committed_; }
  // Ring entries read so far.
  uint64_t ring_read() const { return ring_read_; }
  // Ring entries that the primary may write over, told to it as progress: those
  // of records below `durable`, the backup's durable watermark. Until a value
  // is here, its ring entry is all that a restart leaves of the record. Never
  // moves back.
  uint64_t ReleaseRing(Lsn durable);
  // The newest cell was seen to claim more than has been announced.
  bool behind() const { return announced_ < delivered_; }

  // Where something delivered stays unreadable: the LSN.
  std::optional<Lsn> damage() const { return damage_; }
  uint64_t failed_tries() const { return failed_tries_; }  // in all

 private:
  enum class Found : uint8_t { kRecord, kNotWhole };

  // Takes over the newest cell. Cheap if there is none newer than the last.
  void ReadCell();
  // The record at announced_.
  Found FindNext(const logstore::Log& log, const logstore::History& history,
                 Announced& out);
  Found FindInRing(const logstore::Log& log, Announced& out);
  Found FindInLog(const logstore::Log& log, const logstore::History& history,
                  Announced& out);
  // Reads the ring's next entry unless that was done; false if it is torn or
  // stale.
  bool LoadRingEntry(const logstore::History& history);
  void CountFailure();

  const AnnouncerConfig config_;
  Lsn announced_;
  Lsn delivered_;  // by the newest cell
  Lsn known_committed_;
  uint64_t cell_sequence_ = 0;
  uint64_t ring_end_ = 0;  // by the newest cell
  uint64_t ring_read_ = 0;
  uint64_t ring_released_ = 0;
  std::vector<Lsn> ring_lsns_;  // of entries read, by slot
  std::optional<logstore::MetadataRecord> ring_next_;  // entry ring_read_
  uint32_t failures_in_a_row_ = 0;
  uint64_t failed_tries_ = 0;
  std::optional<Lsn> damage_;
};

template <typename Visitor>
size_t Announcer::Announce(const logstore::Log& log,
                           const logstore::History& history, Visitor&& visit,
                           size_t most) {
  ReadCell();
  size_t count = 0;
  Announced record;
  while (count < most && announced_ < delivered_ &&
         FindNext(log, history, record) == Found::kRecord) {
    visit(static_cast<const Announced&>(record));
    ++count;
  }
  if (count == most) return count;
  if (announced_ < delivered_) {
    if (count > 0) failures_in_a_row_ = 0;
    CountFailure();
  } else {
    failures_in_a_row_ = 0;
  }
  return count;
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_ANNOUNCER_H_

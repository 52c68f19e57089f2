// What a backup has of one shard's log in one epoch: announced, which values
// are still to come (holes), and below which LSN everything is here, durably.
//
// By-value records are here once they are announced, and the primary's remote
// flush makes them durable; holes are filled by the chain, in order, checked
// and persisted here before the durable watermark passes them (protocol,
// section 5). What durable() claims of by-value records is therefore true as
// far as the primary has seen the flush complete: ReplicatedTracker bounds it.
//
// Thread-safety: none. Durability: TakeChain persists before it returns.
// Failure: a value that the cell claims and that stays invalid is damage.
#ifndef WHALE_CHAIN_BACKUP_LOG_H_
#define WHALE_CHAIN_BACKUP_LOG_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "chain/cells.h"
#include "common/ids.h"
#include "common/ring_queue.h"
#include "logstore/history.h"
#include "logstore/log.h"

namespace whale::chain {

// [begin, end); empty if they are equal.
struct LsnRange {
  Lsn begin;
  Lsn end;
  bool empty() const { return begin == end; }
  auto operator<=>(const LsnRange&) const = default;
};

class BackupLog {
 public:
  // So many calls in a row may find a sent value not whole.
  static constexpr uint32_t kTriesBeforeDamage = 64;

  // All values below `start` are here, durably.
  explicit BackupLog(Lsn start);

  // The record at `lsn` has been announced; without its value it is a hole.
  // REQUIRES: lsn >= announced().
  void OnAnnounced(Lsn lsn, uint64_t record_bytes, bool has_value);
  // Everything below `announced` has been: to be called after a round of
  // OnAnnounced, because implicit pads are not records.
  void OnAnnouncedUpTo(Lsn announced);

  // Takes the values that the predecessor says it has sent: in order, each
  // checked, persisted together. Stops at the first that is not whole. Returns
  // how far durable() has moved. May be called with the same cell again; cheap
  // if it says nothing about the first hole.
  LsnRange TakeChain(const ChainCell& cell, const logstore::Log& log,
                     const logstore::History& history);
  // A value has come another way (fetched, copied locally), valid and durable.
  // Fills the hole at `lsn`; false if there is none.
  bool Fill(Lsn lsn);

  // A cut: nothing at or above `lsn` was announced.
  void DropFrom(Lsn lsn);

  Lsn announced() const { return announced_; }
  Lsn durable() const;
  // Of everything announced, the values still to come.
  size_t hole_count() const { return hole_count_; }
  uint64_t hole_bytes() const { return hole_bytes_; }
  // Calls `visit(LsnRange)` for each, ascending; neighbours are not merged.
  template <typename Visitor>
  void ForEachHole(Visitor&& visit) const {
    for (size_t i = 0; i < holes_.size(); ++i) {
      if (!holes_[i].filled) visit(LsnRange{holes_[i].lsn, holes_[i].end()});
    }
  }
  bool IsHole(Lsn lsn) const;

  // A value that was sent and stays invalid: its LSN.
  std::optional<Lsn> damage() const { return damage_; }

 private:
  struct Hole {
    Lsn lsn;
    uint64_t record_bytes = 0;
    bool filled = false;  // not the first, else it would have left
    Lsn end() const { return lsn + record_bytes; }
  };

  // Index of the first hole at or above `lsn`.
  size_t LowerBound(Lsn lsn) const;
  void MarkFilled(Hole& hole);
  void PopFilled();
  void CountFailure(Lsn lsn);

  Lsn announced_;
  RingQueue<Hole> holes_;  // by LSN; the first is not filled
  size_t hole_count_ = 0;
  uint64_t hole_bytes_ = 0;
  uint32_t failures_in_a_row_ = 0;
  std::optional<Lsn> damage_;
};

}  // namespace whale::chain

#endif  // WHALE_CHAIN_BACKUP_LOG_H_

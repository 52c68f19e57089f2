// How many durable copies there are, at the primary: the replicated watermark
// of one shard in one epoch (protocol, section 5).
//
// Two sources meet for each backup: what the primary itself knows (delivery
// completed: by-value records are durable there) and what the backup says (its
// durable watermark, which counts values that came by the chain). Neither
// suffices alone. A backup that sleeps need not be woken for by-value records.
//
// Thread-safety: none.
#ifndef WHALE_CHAIN_PROGRESS_H_
#define WHALE_CHAIN_PROGRESS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "chain/cells.h"
#include "common/ids.h"
#include "logstore/pool.h"

namespace whale::chain {

class ReplicatedTracker {
 public:
  ReplicatedTracker() = default;
  // `own_durable`: of the primary when the epoch begins; `backups` of the
  // configuration. REQUIRES: backups <= logstore::kMaxBackups.
  ReplicatedTracker(Lsn own_durable, size_t backups);

  // What a backup had, durably, when the epoch began, and from where on it is
  // delivered to. REQUIRES (here and below): backup < backups.
  void SetStart(size_t backup, Lsn durable, Lsn delivery_start);
  // The primary's own log is durable below `lsn`.
  void OnOwnDurable(Lsn lsn);
  // DeliverySender::acked() and last_metadata_end() of this backup.
  void OnDelivered(size_t backup, Lsn acked, Lsn last_metadata_end);
  // A progress cell of this backup. Watermarks that move back are ignored.
  void OnProgress(size_t backup, const ProgressCell& cell);

  // All values below it are durable at this backup.
  Lsn durable(size_t backup) const;
  Lsn announced(size_t backup) const { return backups_[backup].announced; }
  Lsn applied(size_t backup) const { return backups_[backup].applied; }
  // All values below it are durable at every replica. Never moves back.
  Lsn replicated() const { return replicated_; }
  // Replicas, the primary included, at which the value of the record that ends
  // at `record_end` is durable; `by_value(backup)` tells whether it went by
  // value to that backup in this epoch.
  template <typename ByValue>
  uint32_t CopiesOf(Lsn record_end, ByValue&& by_value) const {
    uint32_t copies = own_durable_ >= record_end ? 1 : 0;
    for (size_t b = 0; b < count_; ++b) {
      const bool delivered = record_end > backups_[b].start && by_value(b);
      const Lsn there = delivered ? backups_[b].acked : durable(b);
      if (there >= record_end) ++copies;
    }
    return copies;
  }
  // The same by watermarks alone: everything up to `lsn` is there.
  uint32_t CopiesOf(Lsn lsn) const {
    return CopiesOf(lsn, [](size_t) { return false; });
  }

 private:
  struct Backup {
    Lsn start;  // delivery began here; below it only `durable` counts
    Lsn acked;
    Lsn last_metadata_end;
    Lsn durable;  // as it says itself
    Lsn announced;
    Lsn applied;
  };

  void Advance();

  Lsn own_durable_;
  std::array<Backup, logstore::kMaxBackups> backups_{};
  size_t count_ = 0;
  Lsn replicated_;
};

}  // namespace whale::chain

#endif  // WHALE_CHAIN_PROGRESS_H_

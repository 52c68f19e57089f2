#include "chain/progress.h"

#include <algorithm>

#include "common/check.h"

namespace whale::chain {

ReplicatedTracker::ReplicatedTracker(Lsn own_durable, size_t backups)
    : own_durable_(own_durable), count_(backups) {
  WHALE_CHECK(backups <= backups_.size());
  Advance();
}

void ReplicatedTracker::SetStart(size_t backup, Lsn durable,
                                 Lsn delivery_start) {
  WHALE_CHECK(backup < count_);
  Backup& b = backups_[backup];
  b.start = b.acked = b.last_metadata_end = delivery_start;
  b.durable = std::min(durable, delivery_start);
  Advance();
}

void ReplicatedTracker::OnOwnDurable(Lsn lsn) {
  own_durable_ = std::max(own_durable_, lsn);
  Advance();
}

void ReplicatedTracker::OnDelivered(size_t backup, Lsn acked,
                                    Lsn last_metadata_end) {
  WHALE_CHECK(backup < count_);
  Backup& b = backups_[backup];
  b.acked = std::max(b.acked, acked);
  b.last_metadata_end = std::max(b.last_metadata_end, last_metadata_end);
  Advance();
}

void ReplicatedTracker::OnProgress(size_t backup, const ProgressCell& cell) {
  WHALE_CHECK(backup < count_);
  Backup& b = backups_[backup];
  b.durable = std::max(b.durable, Lsn(cell.durable));
  b.announced = std::max(b.announced, Lsn(cell.announced));
  b.applied = std::max(b.applied, Lsn(cell.applied));
  Advance();
}

Lsn ReplicatedTracker::durable(size_t backup) const {
  const Backup& b = backups_[backup];
  // No value is still to come by the chain: delivery says it all.
  if (b.durable >= b.last_metadata_end) return b.acked;
  // What it claims beyond our completions may be visible there only.
  return std::min(b.durable, b.acked);
}

void ReplicatedTracker::Advance() {
  Lsn least = own_durable_;
  for (size_t b = 0; b < count_; ++b) least = std::min(least, durable(b));
  replicated_ = std::max(replicated_, least);
}

}  // namespace whale::chain

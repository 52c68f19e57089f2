#include "metadata_mcast/commit_tracker.h"

#include <algorithm>

#include "common/check.h"
#include "common/planted_bug.h"

namespace whale::metadata_mcast {

CommitTracker::CommitTracker(Lsn start, size_t backups)
    : own_durable_(start),
      backups_(backups),
      committed_(start),
      stopped_(false) {
  WHALE_CHECK(backups <= acked_.size());
  acked_.fill(Lsn());
}

void CommitTracker::OnOwnDurable(Lsn lsn) {
  own_durable_ = std::max(own_durable_, lsn);
  Advance();
}

void CommitTracker::OnAcked(size_t backup, Lsn lsn) {
  WHALE_CHECK(backup < backups_);
  acked_[backup] = std::max(acked_[backup], lsn);
  Advance();
}

void CommitTracker::Advance() {
  if (stopped_) return;
  Lsn least = own_durable_;
  for (size_t b = 0; b < backups_; ++b) least = std::min(least, acked_[b]);
  if (Planted(PlantedBug::kCommitAnyBackup) && backups_ > 0) {
    least =
        std::min(own_durable_,
                 *std::max_element(acked_.begin(), acked_.begin() + backups_));
  }
  committed_ = std::max(committed_, least);
}

}  // namespace whale::metadata_mcast

#include "chain/backup_log.h"

#include <algorithm>

#include "common/check.h"
#include "common/planted_bug.h"

namespace whale::chain {

BackupLog::BackupLog(Lsn start) : announced_(start) {}

void BackupLog::OnAnnounced(Lsn lsn, uint64_t record_bytes, bool has_value) {
  WHALE_CHECK(lsn >= announced_);
  announced_ = lsn + record_bytes;
  if (has_value) return;
  holes_.push_back({.lsn = lsn, .record_bytes = record_bytes});
  ++hole_count_;
  hole_bytes_ += record_bytes;
}

void BackupLog::OnAnnouncedUpTo(Lsn announced) {
  announced_ = std::max(announced_, announced);
}

Lsn BackupLog::durable() const {
  if (Planted(PlantedBug::kDurableOverHoles)) return announced_;
  return holes_.empty() ? announced_ : holes_.front().lsn;
}

LsnRange BackupLog::TakeChain(const ChainCell& cell, const logstore::Log& log,
                              const logstore::History& history) {
  const Lsn sent(cell.sent_upto);
  const Lsn before = durable();
  size_t whole = 0;
  for (; whole < holes_.size() && holes_[whole].lsn < sent; ++whole) {
    Hole& hole = holes_[whole];
    if (hole.filled) continue;
    if (log.Check(hole.lsn, history) != logstore::Log::Validity::kValid &&
        !Planted(PlantedBug::kForwardOutOfOrder)) {
      CountFailure(hole.lsn);
      break;
    }
  }
  if (whole == 0) return {before, before};
  // One fence for all: what lies between holes was durable already.
  log.Persist(holes_[0].lsn, holes_[whole - 1].end());
  for (size_t i = 0; i < whole; ++i) MarkFilled(holes_[i]);
  PopFilled();
  failures_in_a_row_ = 0;
  return {before, durable()};
}

bool BackupLog::Fill(Lsn lsn) {
  const size_t i = LowerBound(lsn);
  if (i == holes_.size() || holes_[i].lsn != lsn || holes_[i].filled) {
    return false;
  }
  MarkFilled(holes_[i]);
  PopFilled();
  return true;
}

void BackupLog::MarkFilled(Hole& hole) {
  if (hole.filled) return;
  hole.filled = true;
  --hole_count_;
  hole_bytes_ -= hole.record_bytes;
}

void BackupLog::PopFilled() {
  while (!holes_.empty() && holes_.front().filled) holes_.pop_front();
}

void BackupLog::DropFrom(Lsn lsn) {
  while (!holes_.empty() && holes_.back().lsn >= lsn) {
    MarkFilled(holes_.back());
    holes_.pop_back();
  }
  announced_ = std::min(announced_, lsn);
  if (damage_ && *damage_ >= lsn) damage_.reset();
}

bool BackupLog::IsHole(Lsn lsn) const {
  const size_t i = LowerBound(lsn);
  return i < holes_.size() && holes_[i].lsn == lsn && !holes_[i].filled;
}

size_t BackupLog::LowerBound(Lsn lsn) const {
  size_t low = 0;
  size_t high = holes_.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (holes_[middle].lsn < lsn) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void BackupLog::CountFailure(Lsn lsn) {
  if (++failures_in_a_row_ >= kTriesBeforeDamage) damage_ = lsn;
}

}  // namespace whale::chain

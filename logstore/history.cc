#include "logstore/history.h"

#include <algorithm>

#include "common/check.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"

namespace whale::logstore {

History::History(std::span<const EpochStart> entries, bool truncated)
    : truncated_(truncated || entries.size() >= kMaxEntries) {
  std::vector<EpochStart> sorted(entries.begin(), entries.end());
  std::sort(sorted.begin(), sorted.end());
  Epoch newest;
  for (const EpochStart& entry : sorted) {
    if (entry.epoch <= newest) continue;  // 0, or twice in the list
    Add(entry.epoch, entry.start);
    newest = entry.epoch;
  }
}

void History::Add(Epoch epoch, Lsn start) {
  WHALE_CHECK(epoch > Epoch());
  WHALE_CHECK(entries_.empty() || entries_.back().epoch < epoch);
  const bool had_entries = !entries_.empty();
  while (!entries_.empty() && entries_.back().start >= start) {
    RareBranch<"history: epoch without records is dropped">();
    entries_.pop_back();
  }
  // Nothing of an older epoch is left to stand for.
  if (had_entries && entries_.empty()) truncated_ = false;
  entries_.push_back({epoch, start});
  if (entries_.size() > kMaxEntries) {
    // The two oldest become one: the newer epoch over both ranges.
    entries_[1].start = entries_[0].start;
    entries_.erase(entries_.begin());
    truncated_ = true;
  }
}

ptrdiff_t History::Find(Lsn lsn) const {
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), lsn,
      [](Lsn at, const EpochStart& entry) { return at < entry.start; });
  return after - entries_.begin() - 1;
}

Epoch History::EpochAt(Lsn lsn) const {
  const ptrdiff_t i = Find(lsn);
  return i < 0 ? Epoch() : entries_[i].epoch;
}

Lsn History::RangeEnd(Lsn lsn) const {
  const size_t next = static_cast<size_t>(Find(lsn) + 1);
  return next < entries_.size() ? entries_[next].start : kMaxLsn;
}

bool History::Accepts(Lsn lsn, uint32_t epoch_low) const {
  if (Planted(PlantedBug::kHistoryIgnored)) return true;
  const ptrdiff_t i = Find(lsn);
  if (i < 0) return false;
  const auto newest = static_cast<uint32_t>(entries_[i].epoch.value());
  if (i > 0 || !truncated_) return epoch_low == newest;
  // Serial number arithmetic: not after the newest that this entry stands for.
  return static_cast<int32_t>(newest - epoch_low) >= 0;
}

}  // namespace whale::logstore

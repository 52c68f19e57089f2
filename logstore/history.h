// Which epoch each LSN of a shard's log belongs to (protocol, section 3).
//
// A list of (epoch, start), both ascending by epoch; an epoch's range ends at
// the smallest start of any later epoch. Records are valid only in their own
// epoch's range: positions above a cut are assigned again later.
//
// Thread-safety: none.
#ifndef WHALE_LOGSTORE_HISTORY_H_
#define WHALE_LOGSTORE_HISTORY_H_

#include <cstddef>
#include <span>
#include <vector>

#include "common/ids.h"

namespace whale::logstore {

struct EpochStart {
  Epoch epoch;
  Lsn start;
  auto operator<=>(const EpochStart&) const = default;
};

class History {
 public:
  // At most so many entries are kept; of older epochs only the newest is
  // remembered as "this one or any before it".
  static constexpr size_t kMaxEntries = 96;

  History() = default;
  // From a list that another server or the configuration store gives, in any
  // order. `truncated`: its first entry stands for older epochs as well; a
  // list of kMaxEntries is always taken so.
  explicit History(std::span<const EpochStart> entries, bool truncated = false);

  // Adds an epoch that starts at `start`. REQUIRES: newer than all others.
  // Ranges of earlier epochs are cut at `start`; those left empty go.
  void Add(Epoch epoch, Lsn start);

  // The epoch that `lsn` belongs to; 0 where none does.
  Epoch EpochAt(Lsn lsn) const;
  // First LSN after `lsn` at which EpochAt changes; kMaxLsn if it never does.
  Lsn RangeEnd(Lsn lsn) const;
  // Whether a record at `lsn` may carry these low bits of its epoch.
  bool Accepts(Lsn lsn, uint32_t epoch_low) const;

  std::span<const EpochStart> entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  bool truncated() const { return truncated_; }
  bool operator==(const History&) const = default;

 private:
  // The newest entry that starts at or below `lsn`; -1 if there is none.
  ptrdiff_t Find(Lsn lsn) const;

  std::vector<EpochStart> entries_;  // starts ascend strictly
  bool truncated_ = false;           // the first entry stands for older ones
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_HISTORY_H_

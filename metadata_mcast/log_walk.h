// Walking a shard's log from record to record, so that sender and receiver
// agree on every position even where an implicit pad ends a segment.
#ifndef WHALE_METADATA_MCAST_LOG_WALK_H_
#define WHALE_METADATA_MCAST_LOG_WALK_H_

#include <algorithm>
#include <cstdint>

#include "common/ids.h"
#include "logstore/log.h"

namespace whale::metadata_mcast {

// Where the segment of `lsn` ends.
inline Lsn SegmentEnd(const logstore::Log& log, Lsn lsn) {
  return log.SegmentStart(log.SegmentOf(lsn) + 1);
}

// The first position at or after `lsn`, but not beyond `end`, at which a
// record can lie: a rest too small for a header is skipped.
inline Lsn SkipImplicitPad(const logstore::Log& log, Lsn lsn, Lsn end) {
  const Lsn segment_end = SegmentEnd(log, lsn);
  if (segment_end - lsn >= sizeof(logstore::RecordHeader)) return lsn;
  return std::min(segment_end, end);
}

// Whether a record of `record_bytes` at `lsn` stays within its segment and
// below `end`.
inline bool FitsBelow(const logstore::Log& log, Lsn lsn, uint64_t record_bytes,
                      Lsn end) {
  return lsn < end && record_bytes <= end - lsn &&
         record_bytes <= SegmentEnd(log, lsn) - lsn;
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_LOG_WALK_H_

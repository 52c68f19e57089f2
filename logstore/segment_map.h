// Where a shard's segments lie in memory, and whether a record lies at an LSN.
//
// The part of a log that only reads: the log, recovery and the offline tools
// share it. What it checks may be anything; it never reads outside a segment.
//
// Thread-safety: none; const calls may run together. Ownership: none of the
// memory.
#ifndef WHALE_LOGSTORE_SEGMENT_MAP_H_
#define WHALE_LOGSTORE_SEGMENT_MAP_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"
#include "common/ids.h"
#include "logstore/history.h"
#include "logstore/record.h"

namespace whale::logstore {

// What lies at an LSN.
enum class RecordValidity : uint8_t {
  kValid,
  kNothing,  // no record of this log here: magic, LSN, epoch or bounds
  kDamaged,  // the header claims to belong here, the checksum disagrees
};

class SegmentMap {
 public:
  // REQUIRES: a power of two.
  explicit SegmentMap(uint64_t segment_bytes)
      : segment_bytes_(segment_bytes),
        shift_(std::countr_zero(segment_bytes)) {}

  uint64_t segment_bytes() const { return segment_bytes_; }
  uint64_t NumberOf(Lsn lsn) const { return lsn.value() >> shift_; }
  uint64_t OffsetIn(Lsn lsn) const {
    return lsn.value() & (segment_bytes_ - 1);
  }
  Lsn StartOf(uint64_t number) const { return Lsn(number << shift_); }

  bool Has(uint64_t number) const { return Lookup(number) != nullptr; }
  // REQUIRES: Has(number).
  std::byte* Base(uint64_t number) const {
    std::byte* base = Lookup(number);
    WHALE_CHECK_MSG(base != nullptr, "segment not in this pool");
    return base;
  }
  // REQUIRES: the segment of `lsn` is there.
  std::byte* At(Lsn lsn) const { return Base(NumberOf(lsn)) + OffsetIn(lsn); }
  void Add(uint64_t number, std::byte* base);
  void Remove(uint64_t number);
  // The least number >= `number` that is there; 0 if none is.
  uint64_t NextPresent(uint64_t number) const;
  // The greatest that is there; 0 if none is.
  uint64_t Last() const;

  // Position after a record, implicit pads skipped.
  Lsn After(Lsn lsn, uint64_t record_bytes) const {
    const Lsn next = lsn + record_bytes;
    const uint64_t rest = segment_bytes_ - OffsetIn(next);
    return rest < sizeof(RecordHeader) ? next + rest : next;
  }
  // Whether a header for `lsn` belongs to the log there: well formed, LSN,
  // epoch by the history, within the segment. Says nothing about the bytes.
  bool Belongs(Lsn lsn, const RecordHeader& header,
               const History& history) const;
  // Any LSN may be asked for.
  RecordValidity Check(Lsn lsn, const History& history) const;

 private:
  struct Segment {
    uint64_t number = 0;
    std::byte* base = nullptr;
  };

  // Numbers grow without bound while old segments stay, so no array by number:
  // a table at most half full, probed from the number's low bits.
  std::byte* Lookup(uint64_t number) const {
    for (uint64_t i = number;; ++i) {
      const Segment& slot = table_[i & (table_.size() - 1)];
      if (slot.base == nullptr || slot.number == number) return slot.base;
    }
  }
  void Rebuild(size_t slots);

  uint64_t segment_bytes_;
  int shift_;
  std::vector<Segment> sorted_;  // by number
  std::vector<Segment> table_ = std::vector<Segment>(2);
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_SEGMENT_MAP_H_

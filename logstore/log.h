// One shard's log on this server: LSN to address, appending (at the primary),
// and checking records that others wrote (at backups and in recovery).
//
// Thread-safety: none. Ownership: the pool outlives the log; addresses stay
// valid until the segment is freed. Durability: none by itself; callers persist
// ranges (Persist) with one fence per batch. Source: log-structured memory
// (Rumble et al., FAST 2014).
#ifndef WHALE_LOGSTORE_LOG_H_
#define WHALE_LOGSTORE_LOG_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "logstore/history.h"
#include "logstore/pool.h"
#include "logstore/record.h"
#include "logstore/segment_map.h"

namespace whale::logstore {

// Everything of a record that is not its bytes.
struct RecordFields {
  RecordType type = RecordType::kPut;
  uint8_t flags = 0;
  Epoch epoch;
  SessionId session;
  RequestNumber request;
};

class Log {
 public:
  // Finds the shard's segments in the pool's table. `pool` must outlive it.
  Log(Pool* pool, ShardId shard);

  ShardId shard() const { return shard_; }
  Pool& pool() const { return *pool_; }
  uint64_t segment_bytes() const { return segments_.segment_bytes(); }
  uint64_t SegmentOf(Lsn lsn) const { return segments_.NumberOf(lsn); }
  Lsn SegmentStart(uint64_t number) const { return segments_.StartOf(number); }
  // The start of every log: segment 1 (version 0 means "none").
  Lsn begin() const { return SegmentStart(1); }

  // --- Segments ---
  bool HasSegment(uint64_t number) const { return segments_.Has(number); }
  const SegmentMap& segments() const { return segments_; }
  // Errors: as Pool::AllocateSegment. Already there: OK.
  absl::Status AddSegment(uint64_t number);
  // Durable. REQUIRES: HasSegment(number).
  void FreeSegment(uint64_t number);
  // REQUIRES: HasSegment(number).
  std::byte* SegmentBase(uint64_t number) const {
    return segments_.Base(number);
  }
  // REQUIRES: the segment of `lsn` is there.
  std::byte* At(Lsn lsn) const { return segments_.At(lsn); }
  // Inverse of At, for an address within this pool's slots that belongs to this
  // shard; the index stores addresses.
  // (The LSN itself is in the record's header.)

  // --- Appending (primary) ---
  Lsn end() const { return end_; }
  void set_end(Lsn end) { end_ = end; }
  // Whether a record of so many bytes fits into the current segment: it is
  // there, and room for a pad's header stays, so that only EnterNextSegment
  // ever moves the end into a segment that peers may not have granted yet.
  bool Fits(uint64_t record_bytes) const;
  // Pads the rest of the current segment (a rest too small for a header is an
  // implicit pad) and moves end() to the start of the next one.
  // REQUIRES: the next segment is there.
  void EnterNextSegment(Epoch epoch);
  // Takes room at end(); the bytes are unspecified until written.
  // REQUIRES: Fits(RecordBytes(key_bytes, value_bytes)).
  Lsn Reserve(uint64_t key_bytes, uint64_t value_bytes);
  // Writes the record whose room was reserved at `lsn`: one copy, the checksum
  // computed over what the log holds.
  void Write(Lsn lsn, const RecordFields& fields, std::string_view key,
             std::string_view value);
  // The same in two halves, for a value that a READ puts into place: writes
  // header (without checksum) and key; then, when the value is there, the
  // checksum.
  void WriteWithoutValue(Lsn lsn, const RecordFields& fields,
                         std::string_view key, uint64_t value_bytes);
  std::byte* ValueAddress(Lsn lsn) const;
  void FinishValue(Lsn lsn);
  // Turns a reserved record of `record_bytes` into a pad.
  void WritePad(Lsn lsn, Epoch epoch, uint64_t record_bytes);

  // --- Reading ---
  // The header of a record known to be valid.
  const RecordHeader& HeaderAt(Lsn lsn) const {
    return *reinterpret_cast<const RecordHeader*>(At(lsn));
  }
  std::string_view KeyAt(Lsn lsn) const;
  std::string_view ValueAt(Lsn lsn) const;
  // Position after the record at `lsn`, implicit pads skipped.
  Lsn After(Lsn lsn, uint64_t record_bytes) const {
    return segments_.After(lsn, record_bytes);
  }

  using Validity = RecordValidity;
  // Whether a whole, valid record lies at `lsn` by `history` (section 3). Any
  // LSN may be asked for.
  Validity Check(Lsn lsn, const History& history) const {
    return segments_.Check(lsn, history);
  }

  // --- Durability ---
  // Starts writing [begin, end) back, across segments (those not there are
  // skipped), and fences once. Free when the domain's persist is.
  void Persist(Lsn begin, Lsn end) const;

 private:
  // Writes header and key at `lsn`; returns the checksum over both.
  uint32_t WriteFront(Lsn lsn, const RecordFields& fields, std::string_view key,
                      uint64_t value_bytes);

  Pool* const pool_;
  const ShardId shard_;
  SegmentMap segments_;
  Lsn end_;
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_LOG_H_

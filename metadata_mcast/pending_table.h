// The records of one shard that are announced (at the primary: ordered) but
// not yet applied: a FIFO in LSN order that can also be asked by key hash.
//
// Reads ask it before the index (protocol, section 6). It is a map of versions,
// never a flag per key: several records of one key may be pending at once.
// Links are push numbers, so taking the oldest record needs no repair: a link
// to a number that has left is the end of its list.
//
// Thread-safety: none. Allocates only when more records are pending than it has
// room for, and when it gives back, much later, what a burst made large.
#ifndef WHALE_METADATA_MCAST_PENDING_TABLE_H_
#define WHALE_METADATA_MCAST_PENDING_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"
#include "common/ids.h"
#include "logstore/record.h"

namespace whale::metadata_mcast {

struct PendingRecord {
  Lsn lsn;
  uint64_t version = 0;
  uint64_t hash = 0;          // of the key; unused if it is about none
  uint64_t record_bytes = 0;  // in the log
  uint32_t value_bytes = 0;
  uint16_t key_bytes = 0;
  logstore::RecordType type = logstore::RecordType::kPut;
  bool tombstone = false;
  bool has_value = false;  // its bytes are in this server's log

  // What a header says; `hash` is 0 for a record without a key.
  static PendingRecord Of(const logstore::RecordHeader& header, uint64_t hash,
                          bool has_value);
  // It says something about a key, also that its value is missing or lost.
  bool keyed() const {
    switch (type) {
      case logstore::RecordType::kPut:
      case logstore::RecordType::kDelete:
      case logstore::RecordType::kRelocated:
      case logstore::RecordType::kMissing:
      case logstore::RecordType::kLost:
        return true;
      default:
        return false;
    }
  }
  Lsn end() const { return lsn + record_bytes; }
};

class PendingTable {
 public:
  explicit PendingTable(size_t initial_capacity = 1024);

  bool empty() const { return first_ == next_; }
  size_t size() const { return static_cast<size_t>(next_ - first_); }
  // Records it has room for without growing.
  size_t capacity() const { return entries_.size(); }

  // Inline, as PendingRecord::Of: the fields go right into the table. Copied
  // from where they had just been written, they would wait until everything
  // stored before them, the log's lines too, is in the cache.
  // REQUIRES: `record.lsn` is above that of every record here.
  void Push(const PendingRecord& record) {
    WHALE_DCHECK(empty() || At(next_ - 1).record.lsn < record.lsn);
    if (size() == entries_.size()) Resize(2 * entries_.size());
    ShrinkWhenUnused();
    At(next_).record = record;
    Link(next_++);
  }
  // The oldest. REQUIRES: !empty().
  const PendingRecord& front() const {
    WHALE_DCHECK(!empty());
    return At(first_).record;
  }
  void PopFront();
  // The one that is `ahead` places behind the oldest. REQUIRES: ahead < size().
  const PendingRecord& Ahead(size_t ahead) const {
    WHALE_DCHECK(ahead < size());
    return At(first_ + ahead).record;
  }
  // The record at `lsn`; nullptr if none is pending there.
  const PendingRecord* Find(Lsn lsn) const;
  // Its bytes have come. Returns whether a record is pending at `lsn`.
  bool MarkValue(Lsn lsn);
  // The same for all records in [begin, end).
  void MarkValues(Lsn begin, Lsn end);
  // Calls `visit(const PendingRecord&)` for the records of keys with this
  // hash, the newest LSN first, until it returns false. Different keys may
  // share a hash, and LSN order is not version order: the visitor decides.
  template <typename Visitor>
  void ForHash(uint64_t hash, Visitor&& visit) const;
  // A cut: removes all records at or above `lsn`.
  void DropFrom(Lsn lsn);

 private:
  struct Entry {
    PendingRecord record;
    uint64_t older = 0;  // push number of the next older in the same bucket
  };

  Entry& At(uint64_t number) { return entries_[number & mask_]; }
  const Entry& At(uint64_t number) const { return entries_[number & mask_]; }
  uint64_t& Head(uint64_t hash) { return heads_[Bucket(hash)]; }
  size_t Bucket(uint64_t hash) const {
    return static_cast<size_t>((hash ^ (hash >> 32)) & mask_);
  }
  void Link(uint64_t number);
  // Makes room for so many, a power of two, at least size().
  void Resize(uint64_t capacity);
  void ShrinkWhenUnused();
  // Push number of the first record at or above `lsn`; next_ if there is none.
  uint64_t LowerBound(Lsn lsn) const;

  const uint64_t least_capacity_;
  uint64_t mask_;
  std::vector<Entry> entries_;   // by push number modulo capacity
  std::vector<uint64_t> heads_;  // newest push number of each bucket
  uint64_t first_ = 1;           // push numbers; 0 is before all of them
  uint64_t next_ = 1;
  uint64_t small_pushes_ = 0;  // in a row, with most of the room unused
};

inline PendingRecord PendingRecord::Of(const logstore::RecordHeader& header,
                                       uint64_t hash, bool has_value) {
  PendingRecord record;
  record.lsn = Lsn(header.lsn);
  record.version = logstore::VersionOf(header);
  record.hash = hash;
  record.record_bytes = logstore::RecordBytes(header);
  record.value_bytes = header.value_bytes;
  record.key_bytes = header.key_bytes;
  record.type = header.type;
  record.tombstone = logstore::IsTombstone(header);
  record.has_value = has_value;
  return record;
}

template <typename Visitor>
void PendingTable::ForHash(uint64_t hash, Visitor&& visit) const {
  uint64_t number = heads_[Bucket(hash)];
  while (number >= first_) {
    const Entry& entry = At(number);
    if (entry.record.hash == hash && !visit(entry.record)) return;
    number = entry.older;
  }
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_PENDING_TABLE_H_

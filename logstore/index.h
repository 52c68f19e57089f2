// The index of one shard: from a key to its newest applied record.
//
// Extendible hashing (Fagin et al., TODS 1979) over pages of 4 KiB with 8-byte
// entries: 28 bits of the key's hash and the record's place in the pool (36
// bits of 16-byte units: pools up to 1 TiB). A page splits alone when it is
// full, without reading the log, so growing never stalls. LSN and version are
// in the record itself. DRAM only; recovery rebuilds it from the log.
//
// Thread-safety: none. Ownership: holds places in the pool, no memory of it.
#ifndef WHALE_LOGSTORE_INDEX_H_
#define WHALE_LOGSTORE_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "logstore/record.h"

namespace whale::logstore {

class Index {
 public:
  // `pool_base`: what places count from.
  explicit Index(const std::byte* pool_base);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  // The record of `key`, or nullptr. Compares the key in the log. A tombstone
  // is found like any record.
  const RecordHeader* Find(uint64_t hash, std::string_view key) const;
  // Makes `record` the key's entry unless a newer version is there already;
  // returns whether it did. REQUIRES: IsKeyed(*record); its key follows it.
  bool Apply(uint64_t hash, const RecordHeader* record);
  // Starts fetching what Find and Apply will touch.
  void Prefetch(uint64_t hash) const;

  uint64_t size() const { return size_; }          // entries, tombstones too
  uint64_t memory_bytes() const;
  // Calls `visit(const RecordHeader&)` for every entry, in no useful order.
  // The index must not change meanwhile.
  template <typename Visitor>
  void ForEach(Visitor&& visit) const;
  void Clear();

 private:
  struct Page;
  const std::byte* const pool_base_;
  std::vector<Page*> directory_;
  uint64_t size_ = 0;
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_INDEX_H_

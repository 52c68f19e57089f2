// The index of one shard: from a key to its newest applied record.
//
// Extendible hashing (Fagin et al., TODS 1979) over pages of 4 KiB with 8-byte
// entries: 28 bits of the key's hash and the record's place in the pool (36
// bits of 16-byte units: pools up to 1 TiB). A page splits alone when it is
// full, without reading the log, so growing never stalls. LSN and version are
// in the record itself. DRAM only; recovery rebuilds it from the log.
//
// Of the 28 bits the low ones choose the page (directory) and the top 6 the
// home cache line in it; a record that finds its line full goes to the next.
// When more keys share all page bits than a page can hold (somebody made them
// so) the rest goes to an overflow table.
//
// Thread-safety: none. Ownership: holds places in the pool, no memory of it.
#ifndef WHALE_LOGSTORE_INDEX_H_
#define WHALE_LOGSTORE_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/prefetch.h"
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
  // returns whether it did. Of two records with one version (the cleaner's
  // copy) the one with the higher LSN is newer.
  // REQUIRES: IsKeyed(*record); its key follows it.
  bool Apply(uint64_t hash, const RecordHeader* record);
  // Makes the entry that is `from` point to `to`, whatever the versions; to
  // nullptr: removes it. Undoes an Apply. False if `from` is no entry.
  // REQUIRES: `to` has the same key.
  bool Replace(uint64_t hash, const RecordHeader* from, const RecordHeader* to);

  // Starts fetching what Find and Apply will touch: first the page's line; a
  // while later, the record whose key they will compare.
  void Prefetch(uint64_t hash) const {
    whale::Prefetch(HomeLineOf(StoredBits(hash)));
  }
  void PrefetchRecord(uint64_t hash) const;

  uint64_t size() const { return size_; }  // entries, tombstones too
  uint64_t memory_bytes() const;
  // Calls `visit(const RecordHeader&)` for every entry, in no useful order.
  // The index must not change meanwhile.
  template <typename Visitor>
  void ForEach(Visitor&& visit) const;
  void Clear();

 private:
  static constexpr int kHashBits = 28;
  static constexpr int kPlaceBits = 36;
  static constexpr int kMaxDepth = 22;
  static constexpr size_t kLineEntries = 8;  // a cache line
  static constexpr size_t kPageLines = 64;
  static_assert(kPageLines == 1 << (kHashBits - kMaxDepth));
  static constexpr size_t kPageEntries = kPageLines * kLineEntries;
  static constexpr size_t kSplitAt = kPageEntries * 9 / 10;

  // Entry: hash bits << 36 | place; 0: free (no record lies at place 0).
  // A line's entries lie at its front.
  using Entry = uint64_t;
  struct alignas(4096) Page {
    Entry lines[kPageLines][kLineEntries];
  };
  struct PageInfo {
    uint16_t entries;
    uint16_t depth;  // so many low bits are the same in all its hashes
  };
  struct Chunk;  // pages and their infos

  static uint32_t StoredBits(uint64_t hash) {
    return static_cast<uint32_t>(hash & ((1u << kHashBits) - 1));
  }
  static uint32_t BitsOf(Entry entry) {
    return static_cast<uint32_t>(entry >> kPlaceBits);
  }
  static size_t HomeLine(uint32_t bits) { return bits >> kMaxDepth; }
  Page* PageOf(uint32_t bits) const {
    return directory_[bits & (directory_.size() - 1)];
  }
  const Entry* HomeLineOf(uint32_t bits) const {
    return PageOf(bits)->lines[HomeLine(bits)];
  }
  const RecordHeader* RecordOf(Entry entry) const {
    return reinterpret_cast<const RecordHeader*>(
        pool_base_ +
        (entry & ((Entry{1} << kPlaceBits) - 1)) * kRecordAlignment);
  }
  Entry EntryOf(uint32_t bits, const RecordHeader* record) const;
  static PageInfo& InfoOf(const Page* page);

  // Bit i: entry i of the line has these hash bits. A free entry's are 0.
  static uint32_t Matching(const Entry* line, uint32_t bits);
  // The entry whose record satisfies `is_it`, or nullptr.
  template <typename Predicate>
  Entry* FindEntry(uint64_t hash, const Predicate& is_it) const;
  void Insert(uint64_t hash, Entry entry);
  void Remove(uint64_t hash, Entry* entry);
  static void Place(Page* page, Entry entry);
  static void TakeOut(Entry* line, Entry* entry);
  static void PullBack(Page* page, size_t line);
  void Split(uint32_t bits);
  Page* NewPage(uint16_t depth);
  void FreeAll();

  const std::byte* const pool_base_;
  std::vector<Page*> directory_;  // a power of two of them
  uint64_t size_ = 0;
  std::vector<Chunk*> chunks_;
  // By the whole hash. Mutable: FindEntry gives entries of either kind.
  mutable std::unordered_multimap<uint64_t, Entry> overflow_;
};

template <typename Visitor>
void Index::ForEach(Visitor&& visit) const {
  for (size_t i = 0; i < directory_.size(); ++i) {
    const Page* page = directory_[i];
    if (i >> InfoOf(page).depth != 0) continue;  // seen at its least index
    for (const auto& line : page->lines) {
      for (const Entry entry : line) {
        if (entry != 0) visit(*RecordOf(entry));
      }
    }
  }
  for (const auto& [hash, entry] : overflow_) visit(*RecordOf(entry));
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_INDEX_H_

// Applies many records to an index with the memory latency hidden: a record
// goes in only when the lines it needs have been fetched.
//
// Thread-safety: none. Ordering: as given. Ownership: records stay where they
// are until Flush.
#ifndef WHALE_LOGSTORE_INDEX_LOADER_H_
#define WHALE_LOGSTORE_INDEX_LOADER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "logstore/index.h"
#include "logstore/record.h"

namespace whale::logstore {

class IndexLoader {
 public:
  explicit IndexLoader(Index* index) : index_(index) {}
  ~IndexLoader() { Flush(); }
  IndexLoader(const IndexLoader&) = delete;
  IndexLoader& operator=(const IndexLoader&) = delete;

  // REQUIRES: IsKeyed(*record); its key follows it.
  void Apply(uint64_t hash, const RecordHeader* record) {
    index_->Prefetch(hash);
    if (pushed_ >= kLag) index_->PrefetchRecord(At(pushed_ - kLag).hash);
    if (pushed_ >= 2 * kLag) Finish(pushed_ - 2 * kLag);
    At(pushed_++) = {hash, record};
  }

  // Afterwards everything given is in the index.
  void Flush() {
    for (; applied_ < pushed_;) Finish(applied_);
  }

 private:
  static constexpr size_t kLag = 8;
  struct Waiting {
    uint64_t hash;
    const RecordHeader* record;
  };

  Waiting& At(uint64_t i) { return waiting_[i % waiting_.size()]; }
  void Finish(uint64_t i) {
    index_->Apply(At(i).hash, At(i).record);
    applied_ = i + 1;
  }

  Index* const index_;
  std::array<Waiting, 2 * kLag> waiting_;
  uint64_t pushed_ = 0;
  uint64_t applied_ = 0;
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_INDEX_LOADER_H_

// The values of one shard that no member of its configuration has, as far as
// missing and lost records have been applied here (protocol, section 8, "Holes
// that stay").
//
// A missing value has a version and the hash and length of its key, not the
// key: it may be of any key with these, and hides whatever is older of all of
// them. What is newer of the same key supersedes it; since that may be another
// key, it stays here and only does not count any more. It goes when the value
// comes back as a relocated record.
//
// Thread-safety: none. Empty unless values went missing: nothing on the data
// path then but that question.
#ifndef WHALE_CHAIN_MISSING_VALUES_H_
#define WHALE_CHAIN_MISSING_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/ids.h"
#include "logstore/record.h"

namespace whale::chain {

struct MissingValue {
  uint64_t version = 0;  // LSN of its record
  uint64_t hash = 0;     // of the key
  uint64_t record_bytes = 0;
  uint32_t checksum = 0;  // of its record
  uint16_t key_bytes = 0;
  logstore::RecordType type = logstore::RecordType::kPut;
  bool lost = false;        // the operator gave it up
  bool superseded = false;  // by a newer record with this hash and length
};

class MissingValues {
 public:
  bool empty() const { return values_.empty(); }

  // The record was applied. REQUIRES: in the log; of type kMissing, of type
  // kLost, or keyed with `hash`.
  void OnMissing(const logstore::RecordHeader& header);
  void OnLost(const logstore::RecordHeader& header);
  void OnKeyed(uint64_t hash, const logstore::RecordHeader& header);

  // What hides the newest known version of a key (0: there is none); nullptr:
  // nothing does.
  const MissingValue* Hiding(uint64_t hash, size_t key_bytes,
                             uint64_t newest_version) const;
  const MissingValue* At(uint64_t version) const;

  // Of those that count.
  size_t missing_count() const { return missing_count_; }
  size_t lost_count() const { return lost_count_; }
  // Calls `visit(const MissingValue&)` for those that are missing, not given up
  // and not superseded, by version, until it returns false.
  template <typename Visitor>
  void ForEachMissing(Visitor&& visit) const {
    for (const auto& [version, value] : values_) {
      if (!value.lost && !value.superseded && !visit(value)) return;
    }
  }

 private:
  void Count(const MissingValue& value, int by);
  void Erase(const MissingValue& value);

  std::map<uint64_t, MissingValue> values_;                        // by version
  absl::flat_hash_map<uint64_t, std::vector<uint64_t>> versions_;  // by hash
  size_t missing_count_ = 0;
  size_t lost_count_ = 0;
};

}  // namespace whale::chain

#endif  // WHALE_CHAIN_MISSING_VALUES_H_

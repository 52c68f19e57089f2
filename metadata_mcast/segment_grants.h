// The rights that one peer gave to its segments of one shard, by number.
//
// Thread-safety: none.
#ifndef WHALE_METADATA_MCAST_SEGMENT_GRANTS_H_
#define WHALE_METADATA_MCAST_SEGMENT_GRANTS_H_

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "fabric/fabric.h"

namespace whale::metadata_mcast {

class SegmentGrants {
 public:
  void Set(uint64_t number, const fabric::Grant& grant) {
    grants_[number] = grant;
  }
  void Erase(uint64_t number) { grants_.erase(number); }
  // nullptr: not granted (yet).
  const fabric::Grant* Find(uint64_t number) const {
    const auto it = grants_.find(number);
    return it == grants_.end() ? nullptr : &it->second;
  }
  bool Has(uint64_t number) const { return grants_.contains(number); }

 private:
  absl::flat_hash_map<uint64_t, fabric::Grant> grants_;
};

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_SEGMENT_GRANTS_H_

// Which records go by value to which backup (protocol, sections 2 and 4).
//
// Sender and forwarder must agree on this: what the primary did not send by
// value, the predecessor must.
#ifndef WHALE_METADATA_MCAST_DELIVERY_RULE_H_
#define WHALE_METADATA_MCAST_DELIVERY_RULE_H_

#include <cstdint>

#include "logstore/record.h"

namespace whale::metadata_mcast {

// For a backup that gets everything by value.
inline constexpr uint64_t kAllByValue = UINT64_MAX;

// Whether a record goes by value to a backup that gets records up to
// `by_value_max_bytes` (as they lie in the log) so. Only puts and deletes ever
// go by metadata, and what stands in the place of one: the predecessor may have
// the value that the primary lacks, and the successor's log must not get both.
// All others are small, or rare, or say nothing without their value.
inline bool GoesByValue(const logstore::RecordHeader& header,
                        uint64_t by_value_max_bytes) {
  switch (header.type) {
    case logstore::RecordType::kPut:
    case logstore::RecordType::kDelete:
    case logstore::RecordType::kMissing:
      return logstore::RecordBytes(header) <= by_value_max_bytes;
    default:
      return true;
  }
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_DELIVERY_RULE_H_

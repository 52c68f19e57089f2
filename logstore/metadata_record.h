// The metadata record: what announces a record whose value is still to come
// (protocol, section 3).
//
//   0                          48         56     60     64
//   +--------------------------+----------+------+------+
//   | RecordHeader, verbatim   | key hash | zero | crc  |
//   +--------------------------+----------+------+------+
//
// All integers little-endian. `crc` is CRC-32C over bytes 0 .. 59. The
// header's own checksum is that of the record in the log and cannot be checked
// here: key and value are not part of this.
#ifndef WHALE_LOGSTORE_METADATA_RECORD_H_
#define WHALE_LOGSTORE_METADATA_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "common/crc32c.h"
#include "logstore/record.h"

namespace whale::logstore {

struct MetadataRecord {
  RecordHeader header;
  uint64_t hash;
  uint32_t zero32;
  uint32_t crc;
};
static_assert(sizeof(MetadataRecord) == 64);
static_assert(offsetof(MetadataRecord, crc) == 60);
static_assert(std::is_trivially_copyable_v<MetadataRecord>);

inline MetadataRecord MakeMetadataRecord(const RecordHeader& header,
                                         uint64_t hash) {
  MetadataRecord record{header, hash, 0, 0};
  record.crc = ExtendCrc32c(0, &record, offsetof(MetadataRecord, crc));
  return record;
}

// Whether nothing of it is torn and its header is well formed. Says nothing
// about LSN and epoch.
inline bool IsWhole(const MetadataRecord& record) {
  return record.zero32 == 0 &&
         record.crc ==
             ExtendCrc32c(0, &record, offsetof(MetadataRecord, crc)) &&
         IsWellFormed(record.header);
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_METADATA_RECORD_H_

// The metadata record: 64 bytes that announce a record to a backup before its
// value comes (protocol, section 3).
//
//   0                          48           56      60         64
//   +--------------------------+------------+-------+----------+
//   | RecordHeader, verbatim   | key hash   | zero  | checksum |
//   +--------------------------+------------+-------+----------+
//
// The checksum is CRC-32C over bytes 0 .. 59. The header's own checksum is
// that of the whole record, so the value is recognised when it comes. A record
// without key and value is whole in its metadata record. The hash of a record
// without a key is 0.
//
// Lies in rings; ring and slot say nothing, the LSN in the header does. The
// reader copies a slot out (LoadRemote) before it checks it.
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
  uint32_t zero;
  uint32_t checksum;
};
static_assert(sizeof(MetadataRecord) == 64);
static_assert(std::is_trivially_copyable_v<MetadataRecord>);

inline uint32_t MetadataChecksum(const MetadataRecord& record) {
  return ExtendCrc32c(0, &record, offsetof(MetadataRecord, checksum));
}

// REQUIRES: `header` is complete, its checksum included.
inline MetadataRecord MakeMetadataRecord(const RecordHeader& header,
                                         uint64_t hash) {
  MetadataRecord record{.header = header, .hash = hash};
  record.checksum = MetadataChecksum(record);
  return record;
}

// Whether the slot is whole and its header well formed. Whether it belongs to
// the log, LSN and history tell.
inline bool CheckMetadataRecord(const MetadataRecord& record) {
  return record.zero == 0 && record.checksum == MetadataChecksum(record) &&
         IsWellFormed(record.header);
}

// Whether the header alone gives the whole record.
inline bool IsWholeInMetadata(const RecordHeader& header) {
  return header.type == RecordType::kPad ||
         (header.key_bytes == 0 && header.value_bytes == 0);
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_METADATA_RECORD_H_

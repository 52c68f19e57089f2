// Records about values that no member of a configuration has (protocol, section
// 8, "Holes that stay").
//
// A missing record is made of a metadata record alone, and whoever has the
// value is recognised by it. Equal metadata gives equal bytes.
//
// Thread-safety: pure functions.
#ifndef WHALE_LOGSTORE_MISSING_H_
#define WHALE_LOGSTORE_MISSING_H_

#include <cstring>

#include "common/hash.h"
#include "logstore/record.h"

namespace whale::logstore {

// What is written in the place of a value that is missing.
struct MissingRecord {
  RecordHeader header;
  MissingBody body;
};
static_assert(sizeof(MissingRecord) == 64);

// `original`: header of the put or delete whose value is missing; `hash`: of
// its key.
inline MissingRecord MakeMissing(const RecordHeader& original, uint64_t hash) {
  MissingRecord record{.header = original,
                       .body = {.hash = hash,
                                .checksum = original.checksum,
                                .type = original.type,
                                .flags = original.flags}};
  record.header.type = RecordType::kMissing;
  record.header.flags = 0;
  record.header.checksum =
      ChecksumOf(record.header, reinterpret_cast<std::byte*>(&record.body));
  return record;
}

// REQUIRES: a valid record of type kMissing, in the log.
inline MissingBody MissingBodyOf(const RecordHeader& header) {
  MissingBody body;
  std::memcpy(&body, &header + 1, sizeof(body));
  return body;
}
// The header of the record in whose place it stands.
inline RecordHeader OriginalOf(const RecordHeader& missing) {
  const MissingBody body = MissingBodyOf(missing);
  RecordHeader original = missing;
  original.type = body.type;
  original.flags = body.flags;
  original.checksum = body.checksum;
  return original;
}

// REQUIRES: a valid record of type kLost, in the log.
inline LostValue LostValueOf(const RecordHeader& header) {
  LostValue value;
  std::memcpy(&value, &header + 1, sizeof(value));
  return value;
}

// The hash of the key that a valid record in the log is about; 0: of none.
inline uint64_t KeyHashOf(const RecordHeader& header) {
  if (IsKeyed(header)) return HashKey(KeyOf(header));
  if (header.type == RecordType::kMissing) return MissingBodyOf(header).hash;
  if (header.type == RecordType::kLost) return LostValueOf(header).hash;
  return 0;
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_MISSING_H_

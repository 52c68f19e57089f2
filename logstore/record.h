// The record: what a shard's log consists of (docs/log_format.md).
//
//   0        4     6    7     8          12     14     16          20
//   +--------+-----+----+-----+----------+------+------+-----------+
//   |checksum|magic|type|flags|epoch low |keylen| zero | value len |
//   +--------+-----+----+-----+----------+------+------+-----------+
//   20       24            32                 40                    48
//   +--------+-------------+------------------+---------------------+
//   | zero   | LSN         | session          | request number      |
//   +--------+-------------+------------------+---------------------+
//   48: key bytes, value bytes, zeros up to a multiple of 16
//
// All integers little-endian. The checksum is CRC-32C over bytes 4 .. 47 of
// the header, then key, then value (not the padding). A pad's body is neither
// sent nor checksummed. Relocated records carry the original version in
// `session` and the old LSN in `request`. A `missing` record stands in the
// place of one whose value no member has: all its header but type and checksum
// is that record's, and so is its length; MissingBody lies where the key would,
// the rest is neither sent nor checksummed. A `lost` record carries the version
// of the value that was given up in `session`.
#ifndef WHALE_LOGSTORE_RECORD_H_
#define WHALE_LOGSTORE_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "common/ids.h"
#include "common/units.h"

namespace whale::logstore {

inline constexpr uint16_t kRecordMagic = 0x5757;
inline constexpr size_t kRecordAlignment = 16;

enum class RecordType : uint8_t {
  kPut = 1,
  kDelete = 2,     // tombstone
  kRelocated = 3,  // a live record, moved by the cleaner
  kOutcome = 4,    // an askable outcome, carried along by the cleaner
  kSessionOpen = 5,
  kSessionEnd = 6,
  kPad = 7,           // fills a segment, or a place that was given up
  kSegmentFreed = 8,  // value: u64 segment number
  kEpochStart = 9,    // value: EpochStartValue
  kMissing = 10,      // in the place of a value that no member has
  kLost = 11,         // a missing value was given up; value: LostValue
};

// RecordHeader::flags. Of a relocated record: it was a tombstone.
inline constexpr uint8_t kFlagTombstone = 1;

struct RecordHeader {
  uint32_t checksum;
  uint16_t magic;
  RecordType type;
  uint8_t flags;
  uint32_t epoch_low;
  uint16_t key_bytes;
  uint16_t zero16;
  uint32_t value_bytes;
  uint32_t zero32;
  uint64_t lsn;
  uint64_t session;
  uint64_t request;
};
static_assert(sizeof(RecordHeader) == 48);
static_assert(std::is_trivially_copyable_v<RecordHeader>);

// Value of a kEpochStart record: the cut that began the epoch.
struct EpochStartValue {
  uint64_t epoch;
  uint64_t committed;  // A
  uint64_t start;      // T
};
static_assert(sizeof(EpochStartValue) == 24);

// What a missing record keeps of the one in whose place it stands.
struct MissingBody {
  uint64_t hash;  // of the key
  uint32_t checksum;
  RecordType type;
  uint8_t flags;
  uint16_t zero;
};
static_assert(sizeof(MissingBody) == 16);

// Value of a kLost record.
struct LostValue {
  uint64_t hash;
  uint16_t key_bytes;
  RecordType type;  // of the record that is lost
  uint8_t zero[5];
};
static_assert(sizeof(LostValue) == 16);

// Bytes the record occupies in the log.
constexpr uint64_t RecordBytes(uint64_t key_bytes, uint64_t value_bytes) {
  return RoundUp(sizeof(RecordHeader) + key_bytes + value_bytes,
                 kRecordAlignment);
}
inline uint64_t RecordBytes(const RecordHeader& header) {
  return RecordBytes(header.key_bytes, header.value_bytes);
}
inline constexpr uint64_t kMaxRecordBytes =
    RecordBytes(kMaxKeyBytes, kMaxValueBytes);

// Bytes of the record that travel: a pad's body does not, nor what lies behind
// the body of a missing record. (A key has at least one byte, so that there is
// always room for that.)
inline uint64_t TransferBytes(const RecordHeader& header) {
  switch (header.type) {
    case RecordType::kPad:
      return sizeof(RecordHeader);
    case RecordType::kMissing:
      return sizeof(RecordHeader) + sizeof(MissingBody);
    default:
      return RecordBytes(header);
  }
}

// The version of the record's key: the LSN of the record that first wrote it.
inline uint64_t VersionOf(const RecordHeader& header) {
  return header.type == RecordType::kRelocated ||
                 header.type == RecordType::kLost
             ? header.session
             : header.lsn;
}

// True for records that have a key.
inline bool IsKeyed(const RecordHeader& header) {
  return header.type == RecordType::kPut ||
         header.type == RecordType::kDelete ||
         header.type == RecordType::kRelocated;
}
inline bool IsTombstone(const RecordHeader& header) {
  return header.type == RecordType::kDelete ||
         (header.type == RecordType::kRelocated &&
          (header.flags & kFlagTombstone) != 0);
}

// Key and value of a valid record; they follow its header in memory.
inline std::string_view KeyOf(const RecordHeader& header) {
  return {reinterpret_cast<const char*>(&header + 1), header.key_bytes};
}
inline std::string_view ValueOf(const RecordHeader& header) {
  return {reinterpret_cast<const char*>(&header + 1) + header.key_bytes,
          header.value_bytes};
}

// The checksum of a record whose key and value follow its header in memory.
uint32_t ChecksumInPlace(const std::byte* record);
// The same for a header that was copied out (others may write to the memory);
// `body` is where the key starts.
uint32_t ChecksumOf(const RecordHeader& header, const std::byte* body);
// The header's part, to be extended over key and value. All of a pad's.
uint32_t HeaderChecksum(const RecordHeader& header);

// Whether the header is well formed by itself: magic, type, zeros, lengths
// within the limits. Says nothing about LSN, epoch or checksum.
bool IsWellFormed(const RecordHeader& header);

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_RECORD_H_

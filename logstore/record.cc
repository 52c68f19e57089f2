#include "logstore/record.h"

#include "common/crc32c.h"

namespace whale::logstore {
namespace {

// Whether the lengths are those that a record of this type may have. A pad's
// length is bounded by its segment, which only the reader knows.
bool LengthsFit(const RecordHeader& header) {
  const uint32_t value_bytes = header.value_bytes;
  if (IsKeyed(header) || header.type == RecordType::kMissing) {
    return header.key_bytes >= 1 && header.key_bytes <= kMaxKeyBytes &&
           value_bytes <= kMaxValueBytes &&
           (!IsTombstone(header) || value_bytes == 0);
  }
  if (header.key_bytes != 0) return false;
  switch (header.type) {
    case RecordType::kPad:
      return value_bytes % kRecordAlignment == 0;
    case RecordType::kSegmentFreed:
      return value_bytes == sizeof(uint64_t);
    case RecordType::kEpochStart:
      return value_bytes == sizeof(EpochStartValue);
    case RecordType::kLost:
      return value_bytes == sizeof(LostValue);
    default:
      return value_bytes <= kMaxValueBytes;
  }
}

}  // namespace

uint32_t HeaderChecksum(const RecordHeader& header) {
  return ExtendCrc32c(
      0, reinterpret_cast<const std::byte*>(&header) + sizeof(header.checksum),
      sizeof(header) - sizeof(header.checksum));
}

uint32_t ChecksumOf(const RecordHeader& header, const std::byte* body) {
  const uint32_t crc = HeaderChecksum(header);
  if (header.type == RecordType::kPad) return crc;
  if (header.type == RecordType::kMissing) {
    return ExtendCrc32c(crc, body, sizeof(MissingBody));
  }
  return ExtendCrc32c(crc, body, size_t{header.key_bytes} + header.value_bytes);
}

uint32_t ChecksumInPlace(const std::byte* record) {
  return ChecksumOf(*reinterpret_cast<const RecordHeader*>(record),
                    record + sizeof(RecordHeader));
}

bool IsWellFormed(const RecordHeader& header) {
  return header.magic == kRecordMagic && header.type >= RecordType::kPut &&
         header.type <= RecordType::kLost && header.zero16 == 0 &&
         header.zero32 == 0 && LengthsFit(header);
}

}  // namespace whale::logstore

#include "logstore/log.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/prefetch.h"
#include "common/status_macros.h"

namespace whale::logstore {
namespace {

// A header as the words that lie in the log. Made of its fields, it would be
// stored in pieces and read again as a whole, which waits for all stores before
// it, those of earlier records into the log too.
using HeaderWords = std::array<uint64_t, sizeof(RecordHeader) / 8>;

HeaderWords WordsOf(Lsn lsn, const RecordFields& fields, uint64_t key_bytes,
                    uint64_t value_bytes) {
  static_assert(std::endian::native == std::endian::little);
  return {uint64_t{kRecordMagic} << 32 |
              uint64_t{static_cast<uint8_t>(fields.type)} << 48 |
              uint64_t{fields.flags} << 56,
          (fields.epoch.value() & UINT32_MAX) | key_bytes << 32,
          value_bytes,
          lsn.value(),
          fields.session.value(),
          fields.request.value()};
}

// With a checksum of 0; returns that of the words.
uint32_t StoreHeader(std::byte* record, const HeaderWords& header) {
  for (size_t i = 0; i < header.size(); ++i) {
    std::memcpy(record + 8 * i, &header[i], 8);
  }
  const auto behind_checksum = static_cast<uint32_t>(header[0] >> 32);
  const uint32_t crc =
      ExtendCrc32c(0, &behind_checksum, sizeof(behind_checksum));
  return ExtendCrc32c(crc, &header[1], sizeof(header) - sizeof(header[0]));
}

// How far ahead of the log's end memory is fetched: a few small records.
constexpr size_t kFetchAheadBytes = 1024;

// Zeros behind the value: replicas compare byte by byte.
void ZeroPadding(std::byte* record, uint64_t used_bytes) {
  std::memset(record + used_bytes, 0,
              RoundUp(used_bytes, kRecordAlignment) - used_bytes);
}

}  // namespace

Log::Log(Pool* pool, ShardId shard)
    : pool_(pool),
      shard_(shard),
      segments_(pool->geometry().segment_bytes),
      end_(begin()) {
  for (const SegmentInfo& segment : pool->Segments(shard)) {
    segments_.Add(segment.number, pool->SlotBase(segment.slot));
  }
}

absl::Status Log::AddSegment(uint64_t number) {
  if (HasSegment(number)) return absl::OkStatus();
  WHALE_ASSIGN_OR_RETURN(const uint32_t slot,
                         pool_->AllocateSegment(shard_, number));
  segments_.Add(number, pool_->SlotBase(slot));
  return absl::OkStatus();
}

void Log::FreeSegment(uint64_t number) {
  segments_.Remove(number);
  pool_->FreeSegment(shard_, number);
}

bool Log::Fits(uint64_t record_bytes) const {
  return HasSegment(SegmentOf(end_)) &&
         segments_.OffsetIn(end_) + record_bytes + sizeof(RecordHeader) <=
             segment_bytes();
}

void Log::EnterNextSegment(Epoch epoch) {
  const uint64_t next = SegmentOf(end_) + 1;
  WHALE_CHECK(HasSegment(next));
  const uint64_t rest = segment_bytes() - segments_.OffsetIn(end_);
  if (rest >= sizeof(RecordHeader)) WritePad(end_, epoch, rest);
  end_ = SegmentStart(next);
}

Lsn Log::Reserve(uint64_t key_bytes, uint64_t value_bytes) {
  const uint64_t bytes = RecordBytes(key_bytes, value_bytes);
  WHALE_CHECK(Fits(bytes));
  const Lsn lsn = end_;
  end_ += bytes;
  return lsn;
}

uint32_t Log::WriteFront(Lsn lsn, const RecordFields& fields,
                         std::string_view key, uint64_t value_bytes) {
  WHALE_DCHECK(key.size() <= kMaxKeyBytes && value_bytes <= kMaxValueBytes);
  std::byte* record = At(lsn);
  const uint32_t crc =
      StoreHeader(record, WordsOf(lsn, fields, key.size(), value_bytes));
  PrefetchForWrite(record + kFetchAheadBytes,
                   RecordBytes(key.size(), value_bytes));
  return CopyAndExtendCrc32c(crc, record + sizeof(RecordHeader), key.data(),
                             key.size());
}

void Log::Write(Lsn lsn, const RecordFields& fields, std::string_view key,
                std::string_view value) {
  std::byte* record = At(lsn);
  const uint32_t front = WriteFront(lsn, fields, key, value.size());
  const uint64_t value_at = sizeof(RecordHeader) + key.size();
  const uint32_t checksum =
      CopyAndExtendCrc32c(front, record + value_at, value.data(), value.size());
  ZeroPadding(record, value_at + value.size());
  std::memcpy(record, &checksum, sizeof(checksum));
}

void Log::WriteWithoutValue(Lsn lsn, const RecordFields& fields,
                            std::string_view key, uint64_t value_bytes) {
  WriteFront(lsn, fields, key, value_bytes);
  ZeroPadding(At(lsn), sizeof(RecordHeader) + key.size() + value_bytes);
}

std::byte* Log::ValueAddress(Lsn lsn) const {
  return At(lsn) + sizeof(RecordHeader) + HeaderAt(lsn).key_bytes;
}

void Log::FinishValue(Lsn lsn) {
  const uint32_t checksum = ChecksumInPlace(At(lsn));
  std::memcpy(At(lsn), &checksum, sizeof(checksum));
}

void Log::WritePad(Lsn lsn, Epoch epoch, uint64_t record_bytes) {
  WHALE_CHECK(record_bytes >= sizeof(RecordHeader) &&
              record_bytes % kRecordAlignment == 0);
  const uint32_t checksum = StoreHeader(
      At(lsn), WordsOf(lsn, {.type = RecordType::kPad, .epoch = epoch}, 0,
                       record_bytes - sizeof(RecordHeader)));
  std::memcpy(At(lsn), &checksum, sizeof(checksum));
}

std::string_view Log::KeyAt(Lsn lsn) const { return KeyOf(HeaderAt(lsn)); }

std::string_view Log::ValueAt(Lsn lsn) const { return ValueOf(HeaderAt(lsn)); }

void Log::Persist(Lsn begin, Lsn end) const {
  pmem::PersistenceDomain& domain = pool_->domain();
  if (domain.persist_is_free()) return;
  while (begin < end) {
    const uint64_t rest = segment_bytes() - segments_.OffsetIn(begin);
    const uint64_t length = std::min(rest, end - begin);
    if (HasSegment(SegmentOf(begin))) domain.WriteBack(At(begin), length);
    begin += length;
  }
  domain.Fence();
}

}  // namespace whale::logstore

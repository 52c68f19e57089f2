#include "logstore/record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "common/remote_memory.h"
#include "logstore/metadata_record.h"

namespace whale::logstore {
namespace {

// A put of "key" = "value" at LSN 4096 in epoch 5, session 9, request 3.
constexpr uint8_t kPutBytes[64] = {
    0x2a, 0x0c, 0xe0, 0xab, 0x57, 0x57, 0x01, 0x00, 0x05, 0x00, 0x00,
    0x00, 0x03, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x6b, 0x65, 0x79, 0x76, 0x61, 0x6c, 0x75,
    0x65, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

struct alignas(16) PutRecord {
  RecordHeader header;
  char body[16];
};

PutRecord ReadPut() {
  PutRecord record;
  static_assert(sizeof(record) == sizeof(kPutBytes));
  std::memcpy(&record, kPutBytes, sizeof(record));
  return record;
}

TEST(RecordTest, FieldsOfTheBytes) {
  const PutRecord record = ReadPut();
  const RecordHeader& header = record.header;
  EXPECT_TRUE(IsWellFormed(header));
  EXPECT_EQ(header.type, RecordType::kPut);
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.epoch_low, 5u);
  EXPECT_EQ(header.lsn, 4096u);
  EXPECT_EQ(header.session, 9u);
  EXPECT_EQ(header.request, 3u);
  EXPECT_EQ(KeyOf(header), "key");
  EXPECT_EQ(ValueOf(header), "value");
  EXPECT_EQ(RecordBytes(header), 64u);
  EXPECT_EQ(header.checksum,
            ChecksumInPlace(reinterpret_cast<const std::byte*>(&record)));
}

TEST(RecordTest, EveryFlippedBitButPaddingIsSeen) {
  PutRecord record = ReadPut();
  auto* bytes = reinterpret_cast<std::byte*>(&record);
  for (size_t bit = 0; bit < 56 * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(IsWellFormed(record.header) &&
                 RecordBytes(record.header) <= sizeof(record) &&
                 record.header.checksum == ChecksumInPlace(bytes))
        << "bit " << bit;
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
  }
}

TEST(RecordTest, BodyOfAPadIsNotChecksummed) {
  RecordHeader pad{.magic = kRecordMagic,
                   .type = RecordType::kPad,
                   .epoch_low = 5,
                   .value_bytes = 4096 - 64 - 48,
                   .lsn = 4160};
  pad.checksum = HeaderChecksum(pad);
  EXPECT_EQ(pad.checksum, 0x10340adcu);
  EXPECT_TRUE(IsWellFormed(pad));
  std::vector<std::byte> memory(RecordBytes(pad), std::byte{0xee});
  std::memcpy(memory.data(), &pad, sizeof(pad));
  EXPECT_EQ(ChecksumInPlace(memory.data()), pad.checksum);
  EXPECT_EQ(TransferBytes(pad), sizeof(RecordHeader));
  EXPECT_EQ(RecordBytes(pad), 4096u - 64);
}

TEST(RecordTest, LimitsOfLengths) {
  const auto well_formed = [](RecordType type, uint32_t key_bytes,
                              uint32_t value_bytes, uint8_t flags = 0) {
    return IsWellFormed({.magic = kRecordMagic,
                         .type = type,
                         .flags = flags,
                         .key_bytes = static_cast<uint16_t>(key_bytes),
                         .value_bytes = value_bytes});
  };
  EXPECT_TRUE(well_formed(RecordType::kPut, kMaxKeyBytes, kMaxValueBytes));
  EXPECT_FALSE(well_formed(RecordType::kPut, kMaxKeyBytes + 1, 0));
  EXPECT_FALSE(well_formed(RecordType::kPut, 1, kMaxValueBytes + 1));
  EXPECT_FALSE(well_formed(RecordType::kPut, 0, 1));
  EXPECT_TRUE(well_formed(RecordType::kDelete, 1, 0));
  EXPECT_FALSE(well_formed(RecordType::kDelete, 1, 1));
  EXPECT_TRUE(well_formed(RecordType::kRelocated, 1, 1));
  EXPECT_FALSE(well_formed(RecordType::kRelocated, 1, 1, kFlagTombstone));
  EXPECT_TRUE(well_formed(RecordType::kPad, 0, 16));
  EXPECT_FALSE(well_formed(RecordType::kPad, 0, 8));
  EXPECT_FALSE(well_formed(RecordType::kPad, 1, 16));
  EXPECT_TRUE(well_formed(RecordType::kSegmentFreed, 0, 8));
  EXPECT_FALSE(well_formed(RecordType::kSegmentFreed, 0, 16));
  EXPECT_TRUE(well_formed(RecordType::kEpochStart, 0, 24));
  EXPECT_FALSE(well_formed(RecordType::kEpochStart, 0, 0));
  EXPECT_TRUE(well_formed(RecordType::kSessionOpen, 0, 0));
  EXPECT_FALSE(well_formed(static_cast<RecordType>(0), 1, 1));
  EXPECT_TRUE(well_formed(RecordType::kMissing, 1, 0));
  EXPECT_FALSE(well_formed(RecordType::kMissing, 0, 16));
  EXPECT_TRUE(well_formed(RecordType::kLost, 0, 16));
  EXPECT_FALSE(well_formed(RecordType::kLost, 0, 0));
  EXPECT_FALSE(well_formed(static_cast<RecordType>(12), 1, 1));
}

TEST(RecordTest, VersionOutlivesRelocation) {
  const RecordHeader original{.type = RecordType::kPut, .lsn = 4096};
  const RecordHeader moved{.type = RecordType::kRelocated,
                           .lsn = 8192,
                           .session = 4096,
                           .request = 4096};
  EXPECT_EQ(VersionOf(original), 4096u);
  EXPECT_EQ(VersionOf(moved), 4096u);
  EXPECT_FALSE(IsTombstone(moved));
  RecordHeader tombstone = moved;
  tombstone.flags = kFlagTombstone;
  EXPECT_TRUE(IsTombstone(tombstone));
}

TEST(MetadataRecordTest, Bytes) {
  constexpr uint8_t kTail[16] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45,
                                 0x23, 0x01, 0x00, 0x00, 0x00, 0x00,
                                 0x70, 0xe7, 0x37, 0xab};
  const MetadataRecord record =
      MakeMetadataRecord(ReadPut().header, 0x0123456789abcdef);
  EXPECT_EQ(std::memcmp(&record, kPutBytes, sizeof(RecordHeader)), 0);
  EXPECT_EQ(std::memcmp(&record.hash, kTail, sizeof(kTail)), 0);
  EXPECT_TRUE(CheckMetadataRecord(record));
  EXPECT_FALSE(IsWholeInMetadata(record.header));
}

TEST(MetadataRecordTest, EveryFlippedBitIsSeen) {
  MetadataRecord record = MakeMetadataRecord(ReadPut().header, 77);
  auto* bytes = reinterpret_cast<std::byte*>(&record);
  for (size_t bit = 0; bit < sizeof(record) * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(CheckMetadataRecord(record)) << "bit " << bit;
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
  }
}

TEST(MetadataRecordTest, BlankSlotIsNone) {
  EXPECT_FALSE(CheckMetadataRecord(MetadataRecord{}));
}

TEST(MetadataRecordTest, WholeWithoutKeyAndValue) {
  EXPECT_TRUE(IsWholeInMetadata({.type = RecordType::kSessionOpen}));
  EXPECT_TRUE(
      IsWholeInMetadata({.type = RecordType::kPad, .value_bytes = 1024}));
  EXPECT_FALSE(
      IsWholeInMetadata({.type = RecordType::kEpochStart, .value_bytes = 24}));
}

}  // namespace
}  // namespace whale::logstore

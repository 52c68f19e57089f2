// What is missing hides what is older, comes back, or is given up.
#include "chain/missing_values.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "logstore/missing.h"

namespace whale::chain {
namespace {

using logstore::RecordHeader;
using logstore::RecordType;

constexpr uint64_t kHash = 77;

// A record as it lies in the log: what follows the header follows it here.
struct Stored {
  alignas(16) std::array<std::byte, 128> bytes{};
  RecordHeader& header() {
    return *reinterpret_cast<RecordHeader*>(bytes.data());
  }
};

RecordHeader Put(uint64_t lsn, uint16_t key_bytes,
                 RecordType type = RecordType::kPut) {
  return {.checksum = 1234,
          .magic = logstore::kRecordMagic,
          .type = type,
          .key_bytes = key_bytes,
          .value_bytes = type == RecordType::kDelete ? 0u : 100u,
          .lsn = lsn,
          .session = 5,
          .request = 6};
}

Stored Missing(const RecordHeader& original) {
  Stored stored;
  const logstore::MissingRecord record = logstore::MakeMissing(original, kHash);
  std::memcpy(stored.bytes.data(), &record, sizeof(record));
  return stored;
}

Stored Lost(uint64_t version, uint16_t key_bytes) {
  Stored stored;
  stored.header() = {
      .type = RecordType::kLost, .lsn = 9000, .session = version};
  const logstore::LostValue value{
      .hash = kHash, .key_bytes = key_bytes, .type = RecordType::kPut};
  std::memcpy(&stored.header() + 1, &value, sizeof(value));
  return stored;
}

RecordHeader Relocated(uint64_t version, uint16_t key_bytes) {
  RecordHeader header = Put(8000, key_bytes, RecordType::kRelocated);
  header.session = version;
  return header;
}

std::vector<uint64_t> Listed(const MissingValues& values) {
  std::vector<uint64_t> versions;
  values.ForEachMissing([&](const MissingValue& value) {
    versions.push_back(value.version);
    return true;
  });
  return versions;
}

TEST(MissingRecord, KeepsAllThatTheOriginalsHeaderSays) {
  const RecordHeader original = Put(640, 3);
  Stored stored = Missing(original);
  EXPECT_TRUE(logstore::IsWellFormed(stored.header()));
  EXPECT_EQ(logstore::ChecksumInPlace(stored.bytes.data()),
            stored.header().checksum);
  EXPECT_EQ(logstore::RecordBytes(stored.header()),
            logstore::RecordBytes(original));
  EXPECT_EQ(logstore::VersionOf(stored.header()), 640u);
  EXPECT_EQ(logstore::KeyHashOf(stored.header()), kHash);
  const RecordHeader back = logstore::OriginalOf(stored.header());
  EXPECT_EQ(std::memcmp(&back, &original, sizeof(back)), 0);
  // Its checksum covers what it keeps.
  stored.bytes[sizeof(RecordHeader)] ^= std::byte{1};
  EXPECT_NE(logstore::ChecksumInPlace(stored.bytes.data()),
            stored.header().checksum);
}

TEST(MissingValues, HidesWhatIsOlderOfKeysThatItMayBeOf) {
  MissingValues values;
  EXPECT_TRUE(values.empty());
  values.OnMissing(Missing(Put(640, 3)).header());
  EXPECT_FALSE(values.empty());
  ASSERT_NE(values.Hiding(kHash, 3, 0), nullptr);
  EXPECT_NE(values.Hiding(kHash, 3, 639), nullptr);
  EXPECT_FALSE(values.Hiding(kHash, 3, 639)->lost);
  EXPECT_EQ(values.Hiding(kHash, 3, 640), nullptr);
  EXPECT_EQ(values.Hiding(kHash, 3, 641), nullptr);
  EXPECT_EQ(values.Hiding(kHash, 4, 0), nullptr);
  EXPECT_EQ(values.Hiding(kHash + 1, 3, 0), nullptr);
  EXPECT_EQ(values.missing_count(), 1u);
}

TEST(MissingValues, IsSupersededButHidesOtherKeysStill) {
  MissingValues values;
  values.OnMissing(Missing(Put(640, 3)).header());
  values.OnKeyed(kHash, Put(320, 3));
  EXPECT_EQ(values.missing_count(), 1u);
  values.OnKeyed(kHash, Put(960, 3));
  EXPECT_EQ(values.missing_count(), 0u);
  EXPECT_TRUE(Listed(values).empty());
  // The newer record may be of another key with that hash.
  EXPECT_NE(values.Hiding(kHash, 3, 320), nullptr);
  EXPECT_EQ(values.Hiding(kHash, 3, 960), nullptr);
}

TEST(MissingValues, GoesWhenTheValueIsBack) {
  MissingValues values;
  values.OnMissing(Missing(Put(640, 3)).header());
  values.OnMissing(Missing(Put(960, 3)).header());
  values.OnKeyed(kHash, Relocated(640, 3));
  EXPECT_EQ(Listed(values), std::vector<uint64_t>{960});
  EXPECT_EQ(values.At(640), nullptr);
  EXPECT_NE(values.Hiding(kHash, 3, 640), nullptr);
  values.OnKeyed(kHash, Relocated(960, 3));
  EXPECT_TRUE(values.empty());
  EXPECT_EQ(values.Hiding(kHash, 3, 0), nullptr);
}

TEST(MissingValues, StaysLostUntilSomethingNewerIsWritten) {
  MissingValues values;
  values.OnMissing(Missing(Put(640, 3)).header());
  values.OnLost(Lost(640, 3).header());
  EXPECT_EQ(values.missing_count(), 0u);
  EXPECT_EQ(values.lost_count(), 1u);
  EXPECT_TRUE(Listed(values).empty());
  ASSERT_NE(values.Hiding(kHash, 3, 320), nullptr);
  EXPECT_TRUE(values.Hiding(kHash, 3, 320)->lost);
  // It comes back too late.
  values.OnKeyed(kHash, Relocated(640, 3));
  EXPECT_NE(values.Hiding(kHash, 3, 640), nullptr);
  values.OnKeyed(kHash, Put(960, 3));
  EXPECT_EQ(values.Hiding(kHash, 3, 960), nullptr);
  EXPECT_EQ(values.lost_count(), 0u);
}

TEST(MissingValues, IsLostWhereTheValueIs) {
  MissingValues values;
  values.OnLost(Lost(640, 3).header());
  ASSERT_NE(values.Hiding(kHash, 3, 640), nullptr);
  EXPECT_TRUE(values.Hiding(kHash, 3, 640)->lost);
  EXPECT_EQ(values.Hiding(kHash, 3, 641), nullptr);
  EXPECT_EQ(values.lost_count(), 1u);
}

}  // namespace
}  // namespace whale::chain

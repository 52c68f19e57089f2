#include "logstore/index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/hash.h"
#include "common/prng.h"
#include "logstore/index_loader.h"

namespace whale::logstore {
namespace {

// Memory with records in it, without a log around them.
class Records {
 public:
  explicit Records(uint64_t bytes) : memory_(bytes), end_(64) {}
  const std::byte* base() const { return memory_.data(); }

  // A record whose place says nothing about its LSN.
  const RecordHeader* Add(std::string_view key, uint64_t version,
                          RecordType type = RecordType::kPut,
                          uint64_t lsn = 0) {
    RecordHeader header{.magic = kRecordMagic,
                        .type = type,
                        .key_bytes = static_cast<uint16_t>(key.size()),
                        .lsn = type == RecordType::kRelocated ? lsn : version};
    if (type == RecordType::kRelocated) header.session = version;
    const uint64_t bytes = RecordBytes(key.size(), 0);
    EXPECT_LE(end_ + bytes, memory_.size());
    std::byte* record = memory_.data() + end_;
    std::memcpy(record, &header, sizeof(header));
    std::memcpy(record + sizeof(header), key.data(), key.size());
    end_ += bytes;
    return reinterpret_cast<const RecordHeader*>(record);
  }
  void Rewind() { end_ = 64; }

 private:
  std::vector<std::byte> memory_;
  uint64_t end_;
};

std::string Key(uint64_t i) { return "user" + std::to_string(i); }

TEST(IndexTest, FindsWhatWasApplied) {
  Records records(4096);
  Index index(records.base());
  EXPECT_EQ(index.Find(HashKey("a"), "a"), nullptr);
  const RecordHeader* a = records.Add("a", 16);
  EXPECT_TRUE(index.Apply(HashKey("a"), a));
  EXPECT_EQ(index.Find(HashKey("a"), "a"), a);
  EXPECT_EQ(index.size(), 1u);
}

TEST(IndexTest, NewestVersionWinsInAnyOrder) {
  Records records(4096);
  Index index(records.base());
  const RecordHeader* v2 = records.Add("a", 32);
  const RecordHeader* v1 = records.Add("a", 16);
  const RecordHeader* gone = records.Add("a", 48, RecordType::kDelete);
  EXPECT_TRUE(index.Apply(1, v2));
  EXPECT_FALSE(index.Apply(1, v1));
  EXPECT_EQ(index.Find(1, "a"), v2);
  EXPECT_TRUE(index.Apply(1, gone));
  EXPECT_FALSE(index.Apply(1, v2));
  EXPECT_EQ(index.Find(1, "a"), gone);
  EXPECT_TRUE(IsTombstone(*index.Find(1, "a")));
  EXPECT_EQ(index.size(), 1u);
}

TEST(IndexTest, RelocatedRecordReplacesItsOriginalOnly) {
  Records records(4096);
  Index index(records.base());
  const RecordHeader* v1 = records.Add("a", 16);
  const RecordHeader* v2 = records.Add("a", 32);
  const RecordHeader* moved_v1 =
      records.Add("a", 16, RecordType::kRelocated, 64);
  const RecordHeader* moved_v2 =
      records.Add("a", 32, RecordType::kRelocated, 80);
  EXPECT_TRUE(index.Apply(1, v1));
  EXPECT_TRUE(index.Apply(1, moved_v1));
  EXPECT_FALSE(index.Apply(1, v1));
  EXPECT_FALSE(index.Apply(1, moved_v1));  // again: nothing new
  EXPECT_TRUE(index.Apply(1, v2));
  EXPECT_FALSE(index.Apply(1, moved_v1));  // a higher LSN, an older version
  EXPECT_TRUE(index.Apply(1, moved_v2));
  EXPECT_EQ(index.Find(1, "a"), moved_v2);
}

TEST(IndexTest, KeysWithOneHashAreKeptApart) {
  Records records(1 << 20);
  Index index(records.base());
  std::vector<const RecordHeader*> added;
  for (uint64_t i = 0; i < 3000; ++i) {
    added.push_back(records.Add(Key(i), 16 * (i + 1)));
    ASSERT_TRUE(index.Apply(42, added.back()));
  }
  for (uint64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(index.Find(42, Key(i)), added[i]);
  }
  EXPECT_EQ(index.Find(42, "absent"), nullptr);
  EXPECT_EQ(index.size(), 3000u);
  uint64_t seen = 0;
  index.ForEach([&](const RecordHeader&) { ++seen; });
  EXPECT_EQ(seen, 3000u);
  // Taken out again, from the page and from the overflow.
  for (uint64_t i = 0; i < 3000; i += 2) {
    ASSERT_TRUE(index.Replace(42, added[i], nullptr));
  }
  for (uint64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(index.Find(42, Key(i)), i % 2 == 0 ? nullptr : added[i]);
  }
}

// Hashes that are alike in all bits that choose pages, and hashes that only
// differ in the highest of these: pages that fill again and again.
TEST(IndexTest, HostileHashes) {
  Records records(1 << 20);
  Index index(records.base());
  std::vector<std::pair<uint64_t, const RecordHeader*>> added;
  for (uint64_t i = 0; i < 4000; ++i) {
    const uint64_t hash = i % 2 == 0 ? i << 22 : (i << 40 | (i & 4) << 19);
    added.emplace_back(hash, records.Add(Key(i), 16 * (i + 1)));
    ASSERT_TRUE(index.Apply(hash, added.back().second));
  }
  for (uint64_t i = 0; i < 4000; ++i) {
    ASSERT_EQ(index.Find(added[i].first, Key(i)), added[i].second);
  }
  EXPECT_LT(index.memory_bytes(), 64 * kMiB);
}

TEST(IndexTest, ReplaceUndoesAnApply) {
  Records records(4096);
  Index index(records.base());
  const RecordHeader* v1 = records.Add("a", 16);
  const RecordHeader* v2 = records.Add("a", 32);
  index.Apply(1, v1);
  index.Apply(1, v2);
  EXPECT_FALSE(index.Replace(1, v1, nullptr));  // not the entry
  EXPECT_TRUE(index.Replace(1, v2, v1));
  EXPECT_EQ(index.Find(1, "a"), v1);
  EXPECT_TRUE(index.Replace(1, v1, nullptr));
  EXPECT_EQ(index.Find(1, "a"), nullptr);
  EXPECT_EQ(index.size(), 0u);
}

TEST(IndexTest, ClearForgetsEverything) {
  Records records(1 << 20);
  Index index(records.base());
  for (uint64_t i = 0; i < 5000; ++i) {
    index.Apply(HashKey(Key(i)), records.Add(Key(i), 16));
  }
  index.Clear();
  EXPECT_EQ(index.size(), 0u);
  EXPECT_EQ(index.Find(HashKey(Key(1)), Key(1)), nullptr);
  index.ForEach([](const RecordHeader&) { FAIL(); });
  EXPECT_TRUE(index.Apply(HashKey(Key(1)), records.Add(Key(1), 16)));
}

// `hash_bits`: how much of the hash is left, so that keys collide.
void CompareWithModel(uint64_t seed, uint64_t keys, int steps, int hash_bits) {
  Prng prng(seed);
  Records records(uint64_t{64} * (steps + 10) + 4096);
  Index index(records.base());
  std::unordered_map<std::string, const RecordHeader*> model;
  const auto hash_of = [&](const std::string& key) {
    return HashKey(key) &
           ((hash_bits == 64 ? 0 : uint64_t{1} << hash_bits) - 1);
  };
  for (int step = 0; step < steps; ++step) {
    const std::string key = Key(prng.Below(keys));
    const uint64_t hash = hash_of(key);
    const auto it = model.find(key);
    if (it != model.end() && prng.Chance(0.1)) {
      ASSERT_TRUE(index.Replace(hash, it->second, nullptr));
      model.erase(it);
    } else {
      const double dice = prng.NextDouble();
      const RecordType type = dice < 0.1   ? RecordType::kDelete
                              : dice < 0.3 ? RecordType::kRelocated
                                           : RecordType::kPut;
      const uint64_t version = 16 * (1 + prng.Below(1000));
      const RecordHeader* record =
          records.Add(key, version, type, version + 16 * prng.Below(100));
      const bool is_newer =
          it == model.end() || version > VersionOf(*it->second) ||
          (version == VersionOf(*it->second) && record->lsn > it->second->lsn);
      ASSERT_EQ(index.Apply(hash, record), is_newer);
      if (is_newer) model[key] = record;
    }
    const std::string asked = Key(prng.Below(keys));
    const auto expected = model.find(asked);
    ASSERT_EQ(index.Find(hash_of(asked), asked),
              expected == model.end() ? nullptr : expected->second);
    ASSERT_EQ(index.size(), model.size());
  }
  std::map<std::string, const RecordHeader*> seen;
  index.ForEach([&](const RecordHeader& record) {
    ASSERT_TRUE(seen.emplace(KeyOf(record), &record).second);
  });
  ASSERT_EQ(seen.size(), model.size());
  for (const auto& [key, record] : seen) ASSERT_EQ(model.at(key), record);
  for (uint64_t i = 0; i < keys; ++i) {
    const auto expected = model.find(Key(i));
    ASSERT_EQ(index.Find(hash_of(Key(i)), Key(i)),
              expected == model.end() ? nullptr : expected->second);
  }
}

TEST(IndexTest, AgreesWithAModelOnManyKeys) {
  CompareWithModel(1, 100'000, 1'000'000, 64);
}

TEST(IndexTest, AgreesWithAModelOnFewKeys) {
  CompareWithModel(2, 100, 500'000, 64);
}

TEST(IndexTest, AgreesWithAModelWhenHashesCollide) {
  CompareWithModel(3, 3000, 200'000, 10);
}

TEST(IndexTest, AgreesWithAModelWhenLinesAreCrowded) {
  // 20 bits: none of those that choose the line, so all pages fill from line 0.
  CompareWithModel(4, 20'000, 400'000, 20);
}

TEST(IndexTest, AtMost24BytesPerRecord) {
  constexpr uint64_t kKeys = 1'000'000;
  Records records(kKeys * 64 + 4096);
  Index index(records.base());
  uint64_t worst = 0;
  for (uint64_t i = 0; i < kKeys; ++i) {
    index.Apply(HashKey(Key(i)), records.Add(Key(i), 16));
    if (i >= 100'000 && i % 1000 == 0) {
      worst = std::max(worst, index.memory_bytes() * 100 / i);
    }
  }
  EXPECT_LE(worst, 2400u);
}

TEST(IndexLoaderTest, EverythingArrivesInOrder) {
  for (const uint64_t count : {0, 1, 7, 8, 9, 15, 16, 17, 1000}) {
    Records records(1 << 20);
    Index index(records.base());
    std::map<std::string, const RecordHeader*> newest;
    {
      IndexLoader loader(&index);
      for (uint64_t i = 0; i < count; ++i) {
        const std::string key = Key(i % 13);
        newest[key] = records.Add(key, 16 * (i + 1));
        loader.Apply(HashKey(key), newest[key]);
      }
    }
    EXPECT_EQ(index.size(), newest.size());
    for (const auto& [key, record] : newest) {
      EXPECT_EQ(index.Find(HashKey(key), key), record);
    }
  }
}

}  // namespace
}  // namespace whale::logstore

#include "metadata_mcast/pending_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "common/prng.h"

namespace whale::metadata_mcast {
namespace {

PendingRecord Put(uint64_t lsn, uint64_t hash) {
  PendingRecord record;
  record.lsn = Lsn(lsn);
  record.version = lsn;
  record.hash = hash;
  record.record_bytes = 64;
  return record;
}

std::vector<uint64_t> LsnsOf(const PendingTable& table, uint64_t hash) {
  std::vector<uint64_t> lsns;
  table.ForHash(hash, [&](const PendingRecord& record) {
    lsns.push_back(record.lsn.value());
    return true;
  });
  return lsns;
}

TEST(PendingTable, FindsAllRecordsOfAHashNewestFirst) {
  PendingTable table;
  table.Push(Put(100, 7));
  table.Push(Put(200, 8));
  table.Push(Put(300, 7));
  EXPECT_EQ(LsnsOf(table, 7), (std::vector<uint64_t>{300, 100}));
  EXPECT_EQ(LsnsOf(table, 8), (std::vector<uint64_t>{200}));
  EXPECT_EQ(LsnsOf(table, 9), (std::vector<uint64_t>{}));
}

TEST(PendingTable, VisitorStopsTheSearch) {
  PendingTable table;
  for (uint64_t lsn = 1; lsn <= 5; ++lsn) table.Push(Put(lsn, 7));
  int visits = 0;
  table.ForHash(7, [&](const PendingRecord&) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

TEST(PendingTable, AppliedRecordsAreNotFound) {
  PendingTable table;
  table.Push(Put(100, 7));
  table.Push(Put(200, 7));
  EXPECT_EQ(table.front().lsn, Lsn(100));
  table.PopFront();
  EXPECT_EQ(LsnsOf(table, 7), (std::vector<uint64_t>{200}));
  table.PopFront();
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(LsnsOf(table, 7), (std::vector<uint64_t>{}));
}

TEST(PendingTable, RecordsWithoutAKeyAreInTheFifoOnly) {
  PendingTable table;
  logstore::RecordHeader header{};
  header.type = logstore::RecordType::kPad;
  header.lsn = 100;
  table.Push(PendingRecord::Of(header, 0, true));
  EXPECT_EQ(LsnsOf(table, 0), (std::vector<uint64_t>{}));
  EXPECT_EQ(table.front().lsn, Lsn(100));
  table.DropFrom(Lsn(0));
  EXPECT_TRUE(table.empty());
}

TEST(PendingTable, ARelocatedRecordKeepsVersionAndTombstone) {
  logstore::RecordHeader header{};
  header.type = logstore::RecordType::kRelocated;
  header.flags = logstore::kFlagTombstone;
  header.lsn = 500;
  header.session = 90;
  const PendingRecord record = PendingRecord::Of(header, 3, false);
  EXPECT_EQ(record.version, 90u);
  EXPECT_TRUE(record.tombstone);
  EXPECT_FALSE(record.has_value);
}

TEST(PendingTable, ValueArrives) {
  PendingTable table;
  table.Push(Put(100, 7));
  table.Push(Put(200, 7));
  EXPECT_FALSE(table.MarkValue(Lsn(150)));
  EXPECT_FALSE(table.MarkValue(Lsn(300)));
  EXPECT_TRUE(table.MarkValue(Lsn(200)));
  EXPECT_FALSE(table.Find(Lsn(100))->has_value);
  EXPECT_TRUE(table.Find(Lsn(200))->has_value);
}

TEST(PendingTable, ACutDropsTheNewestAndLaterPushesTakeTheirPlace) {
  PendingTable table;
  table.Push(Put(100, 7));
  table.Push(Put(200, 7));
  table.Push(Put(300, 7));
  table.DropFrom(Lsn(200));
  EXPECT_EQ(LsnsOf(table, 7), (std::vector<uint64_t>{100}));
  table.Push(Put(200, 7));
  EXPECT_EQ(LsnsOf(table, 7), (std::vector<uint64_t>{200, 100}));
}

// Against a plain list, from a tiny table so that it grows and buckets are
// shared by many hashes.
TEST(PendingTable, AgreesWithAModel) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    PendingTable table(2);
    std::deque<PendingRecord> model;
    uint64_t lsn = 16;
    for (int step = 0; step < 2000; ++step) {
      const uint64_t dice = prng.Below(100);
      if (dice < 50) {
        lsn += 16 * (1 + prng.Below(4));
        model.push_back(Put(lsn, prng.Below(12)));
        table.Push(model.back());
      } else if (dice < 90) {
        if (model.empty()) continue;
        ASSERT_EQ(table.front().lsn, model.front().lsn);
        table.PopFront();
        model.pop_front();
      } else if (dice < 93 && !model.empty()) {
        const Lsn cut = model[prng.Below(model.size())].lsn;
        table.DropFrom(cut);
        while (!model.empty() && model.back().lsn >= cut) model.pop_back();
        lsn = cut.value();
      } else {
        const uint64_t hash = prng.Below(12);
        std::vector<uint64_t> expected;
        for (auto it = model.rbegin(); it != model.rend(); ++it) {
          if (it->hash == hash) expected.push_back(it->lsn.value());
        }
        ASSERT_EQ(LsnsOf(table, hash), expected);
      }
      ASSERT_EQ(table.size(), model.size());
    }
  }
}

TEST(PendingTable, ShrinksAfterABurstAndKeepsWhatIsPending) {
  PendingTable table(8);
  uint64_t lsn = 0;
  const auto push_next = [&] {
    ++lsn;
    table.Push(Put(lsn, lsn % 5));
  };
  for (int i = 0; i < 4096; ++i) push_next();
  while (table.size() > 3) table.PopFront();
  const size_t large = table.capacity();
  EXPECT_GE(large, 4096u);
  // Few are pending from now on, never none.
  for (int i = 0; i < 200'000; ++i) {
    push_next();
    table.PopFront();
    ASSERT_EQ(table.size(), 3u);
    ASSERT_EQ(table.front().lsn, Lsn(lsn - 2));
    ASSERT_EQ(LsnsOf(table, (lsn - 1) % 5), (std::vector<uint64_t>{lsn - 1}));
  }
  EXPECT_LE(table.capacity(), 32u);
}

}  // namespace
}  // namespace whale::metadata_mcast

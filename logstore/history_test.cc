#include "logstore/history.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "common/prng.h"

namespace whale::logstore {
namespace {

EpochStart At(uint64_t epoch, uint64_t start) {
  return {Epoch(epoch), Lsn(start)};
}

TEST(HistoryTest, EmptyAcceptsNothing) {
  const History history;
  EXPECT_EQ(history.EpochAt(Lsn(4096)), Epoch(0));
  EXPECT_EQ(history.RangeEnd(Lsn(4096)), kMaxLsn);
  EXPECT_FALSE(history.Accepts(Lsn(4096), 0));
  EXPECT_FALSE(history.Accepts(Lsn(4096), 1));
}

TEST(HistoryTest, RangesEndAtTheNextStart) {
  History history;
  history.Add(Epoch(1), Lsn(100));
  history.Add(Epoch(4), Lsn(300));
  EXPECT_EQ(history.EpochAt(Lsn(99)), Epoch(0));
  EXPECT_EQ(history.RangeEnd(Lsn(99)), Lsn(100));
  EXPECT_EQ(history.EpochAt(Lsn(100)), Epoch(1));
  EXPECT_EQ(history.EpochAt(Lsn(299)), Epoch(1));
  EXPECT_EQ(history.RangeEnd(Lsn(100)), Lsn(300));
  EXPECT_EQ(history.EpochAt(Lsn(300)), Epoch(4));
  EXPECT_EQ(history.RangeEnd(Lsn(300)), kMaxLsn);
}

TEST(HistoryTest, RecordsOfACutRangeAreRejected) {
  History history;
  history.Add(Epoch(1), Lsn(100));
  history.Add(Epoch(2), Lsn(500));
  history.Add(Epoch(3), Lsn(400));  // cuts 2 away, and 1 from 400 on
  EXPECT_TRUE(history.Accepts(Lsn(399), 1));
  EXPECT_FALSE(history.Accepts(Lsn(400), 1));
  EXPECT_FALSE(history.Accepts(Lsn(600), 2));
  EXPECT_TRUE(history.Accepts(Lsn(600), 3));
  EXPECT_EQ(history.entries().size(), 2u);
}

TEST(HistoryTest, LowBitsOfTheEpoch) {
  History history;
  history.Add(Epoch((uint64_t{7} << 32) | 9), Lsn(100));
  EXPECT_TRUE(history.Accepts(Lsn(100), 9));
  EXPECT_FALSE(history.Accepts(Lsn(100), 7));
}

TEST(HistoryTest, FromAnyList) {
  const std::vector<EpochStart> entries = {At(3, 400), At(1, 100), At(0, 50),
                                           At(3, 900), At(2, 500)};
  const History history(entries);
  History expected;
  expected.Add(Epoch(1), Lsn(100));
  expected.Add(Epoch(2), Lsn(500));
  expected.Add(Epoch(3), Lsn(400));
  EXPECT_EQ(history, expected);
}

TEST(HistoryTest, AgreesWithAModel) {
  Prng prng(11);
  for (int round = 0; round < 200; ++round) {
    History history;
    std::map<uint64_t, uint64_t> starts;  // by epoch
    for (uint64_t epoch = 1; epoch <= 40; epoch += 1 + prng.Below(3)) {
      const uint64_t start = 100 + 10 * prng.Below(100);
      history.Add(Epoch(epoch), Lsn(start));
      starts[epoch] = start;
      for (uint64_t lsn = 90; lsn < 1200; lsn += 5) {
        // The newest epoch whose range has begun and that no later one cut.
        uint64_t owner = 0;
        for (const auto& [e, s] : starts) {
          if (s <= lsn) owner = e;
        }
        ASSERT_EQ(history.EpochAt(Lsn(lsn)).value(), owner) << lsn;
        ASSERT_EQ(history.Accepts(Lsn(lsn), owner), owner != 0);
        ASSERT_FALSE(history.Accepts(Lsn(lsn), epoch + 1));
      }
    }
  }
}

TEST(HistoryTest, OldestEntryStandsForAllBefore) {
  History history;
  constexpr uint64_t kEpochs = 3 * History::kMaxEntries;
  for (uint64_t e = 1; e <= kEpochs; ++e) {
    history.Add(Epoch(e), Lsn(100 * e));
  }
  ASSERT_EQ(history.entries().size(), History::kMaxEntries);
  EXPECT_TRUE(history.truncated());
  const uint64_t oldest = history.entries().front().epoch.value();
  EXPECT_EQ(oldest, kEpochs - History::kMaxEntries + 1);
  // Any epoch up to the oldest kept, over all of the old range.
  EXPECT_TRUE(history.Accepts(Lsn(100), 1));
  EXPECT_TRUE(history.Accepts(Lsn(100), static_cast<uint32_t>(oldest)));
  EXPECT_FALSE(history.Accepts(Lsn(100), static_cast<uint32_t>(oldest + 1)));
  // Above it as ever.
  EXPECT_FALSE(history.Accepts(Lsn(100 * kEpochs), 1));
  EXPECT_TRUE(history.Accepts(Lsn(100 * kEpochs), kEpochs));
  // A copy through its entries is the same.
  EXPECT_EQ(History(history.entries(), history.truncated()), history);
  EXPECT_EQ(History(history.entries()), history);
  // A cut below everything leaves nothing to stand for.
  history.Add(Epoch(kEpochs + 1), Lsn(100));
  EXPECT_FALSE(history.truncated());
  EXPECT_FALSE(history.Accepts(Lsn(100), 1));
}

}  // namespace
}  // namespace whale::logstore

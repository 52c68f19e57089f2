#include "chain/progress.h"

#include <gtest/gtest.h>

namespace whale::chain {
namespace {

ProgressCell Durable(uint64_t lsn) {
  return ProgressCell{.announced = lsn, .durable = lsn};
}

// R0, R1 a mirror, R2 a chain backup; all had everything below 100.
ReplicatedTracker ThreeReplicas() {
  ReplicatedTracker tracker(Lsn(100), 2);
  tracker.SetStart(0, Lsn(100), Lsn(100));
  tracker.SetStart(1, Lsn(100), Lsn(100));
  return tracker;
}

TEST(ReplicatedTracker, ByValueRecordsNeedNoWordOfTheBackups) {
  ReplicatedTracker tracker = ThreeReplicas();
  tracker.OnOwnDurable(Lsn(300));
  tracker.OnDelivered(0, Lsn(300), Lsn(100));
  EXPECT_EQ(tracker.replicated(), Lsn(100));
  tracker.OnDelivered(1, Lsn(200), Lsn(100));
  EXPECT_EQ(tracker.replicated(), Lsn(200));
}

TEST(ReplicatedTracker, AValueStillToComeHoldsTheWatermark) {
  ReplicatedTracker tracker = ThreeReplicas();
  tracker.OnOwnDurable(Lsn(300));
  tracker.OnDelivered(0, Lsn(300), Lsn(100));
  tracker.OnDelivered(1, Lsn(300), Lsn(200));  // [100, 200) by metadata
  EXPECT_EQ(tracker.replicated(), Lsn(100));
  EXPECT_EQ(tracker.CopiesOf(Lsn(200)), 2u);
  tracker.OnProgress(1, Durable(200));
  // What follows went by value.
  EXPECT_EQ(tracker.replicated(), Lsn(300));
  EXPECT_EQ(tracker.CopiesOf(Lsn(300)), 3u);
}

TEST(ReplicatedTracker, ABackupsClaimIsBoundedByCompletions) {
  ReplicatedTracker tracker = ThreeReplicas();
  tracker.OnOwnDurable(Lsn(500));
  tracker.OnDelivered(0, Lsn(500), Lsn(100));
  // Delivered to the chain backup, the flush of the last part not completed.
  tracker.OnDelivered(1, Lsn(300), Lsn(450));
  tracker.OnProgress(1, Durable(400));
  EXPECT_EQ(tracker.durable(1), Lsn(300));
  EXPECT_EQ(tracker.replicated(), Lsn(300));
}

TEST(ReplicatedTracker, HolesOfEarlierEpochsCountUntilTheyAreFilled) {
  ReplicatedTracker tracker(Lsn(1000), 1);
  tracker.SetStart(0, Lsn(400), Lsn(1000));
  EXPECT_EQ(tracker.replicated(), Lsn(400));
  tracker.OnOwnDurable(Lsn(1200));
  tracker.OnDelivered(0, Lsn(1200), Lsn(1000));
  EXPECT_EQ(tracker.replicated(), Lsn(400));
  // Below the start of delivery, "by value" was another epoch's business.
  EXPECT_EQ(tracker.CopiesOf(Lsn(900), [](size_t) { return true; }), 1u);
  EXPECT_EQ(tracker.CopiesOf(Lsn(1100), [](size_t) { return true; }), 2u);
  tracker.OnProgress(0, Durable(1000));
  EXPECT_EQ(tracker.replicated(), Lsn(1200));
}

TEST(ReplicatedTracker, CopiesCountWhereTheValueIs) {
  ReplicatedTracker tracker = ThreeReplicas();
  tracker.OnOwnDurable(Lsn(300));
  tracker.OnDelivered(0, Lsn(300), Lsn(100));
  tracker.OnDelivered(1, Lsn(300), Lsn(200));
  // [200, 300) went by value to both, though a hole lies before it.
  EXPECT_EQ(tracker.CopiesOf(Lsn(300), [](size_t) { return true; }), 3u);
  EXPECT_EQ(tracker.CopiesOf(Lsn(200), [](size_t b) { return b == 0; }), 2u);
}

TEST(ReplicatedTracker, NeverMovesBack) {
  ReplicatedTracker tracker = ThreeReplicas();
  tracker.OnOwnDurable(Lsn(300));
  tracker.OnDelivered(0, Lsn(300), Lsn(100));
  tracker.OnDelivered(1, Lsn(300), Lsn(100));
  ASSERT_EQ(tracker.replicated(), Lsn(300));
  tracker.OnProgress(1, Durable(150));
  tracker.OnDelivered(1, Lsn(200), Lsn(100));
  EXPECT_EQ(tracker.replicated(), Lsn(300));
}

TEST(ReplicatedTracker, APrimaryAlone) {
  ReplicatedTracker tracker(Lsn(100), 0);
  tracker.OnOwnDurable(Lsn(200));
  EXPECT_EQ(tracker.replicated(), Lsn(200));
  EXPECT_EQ(tracker.CopiesOf(Lsn(200)), 1u);
  EXPECT_EQ(tracker.CopiesOf(Lsn(300)), 0u);
}

}  // namespace
}  // namespace whale::chain

#include "metadata_mcast/commit_tracker.h"

#include <gtest/gtest.h>

namespace whale::metadata_mcast {
namespace {

TEST(CommitTracker, WaitsForThePrimaryAndEveryBackup) {
  CommitTracker tracker(Lsn(100), 2);
  tracker.OnOwnDurable(Lsn(500));
  EXPECT_EQ(tracker.committed(), Lsn(100));
  tracker.OnAcked(0, Lsn(400));
  EXPECT_EQ(tracker.committed(), Lsn(100));
  tracker.OnAcked(1, Lsn(300));
  EXPECT_EQ(tracker.committed(), Lsn(300));
  tracker.OnAcked(1, Lsn(600));
  EXPECT_EQ(tracker.committed(), Lsn(400));
  tracker.OnAcked(0, Lsn(600));
  EXPECT_EQ(tracker.committed(), Lsn(500));
}

TEST(CommitTracker, AnUnheardBackupHoldsEverythingUp) {
  CommitTracker tracker(Lsn(100), 3);
  tracker.OnOwnDurable(Lsn(900));
  tracker.OnAcked(0, Lsn(900));
  tracker.OnAcked(2, Lsn(900));
  EXPECT_EQ(tracker.committed(), Lsn(100));
}

TEST(CommitTracker, APrimaryAloneCommitsWhatIsDurable) {
  CommitTracker tracker(Lsn(100), 0);
  tracker.OnOwnDurable(Lsn(200));
  EXPECT_EQ(tracker.committed(), Lsn(200));
}

TEST(CommitTracker, NeverMovesBack) {
  CommitTracker tracker(Lsn(500), 1);
  // A backup that starts below: its records are delivered again first.
  tracker.OnAcked(0, Lsn(200));
  EXPECT_EQ(tracker.committed(), Lsn(500));
  tracker.OnOwnDurable(Lsn(700));
  tracker.OnAcked(0, Lsn(700));
  tracker.OnAcked(0, Lsn(600));
  tracker.OnOwnDurable(Lsn(650));
  EXPECT_EQ(tracker.committed(), Lsn(700));
}

TEST(CommitTracker, CommitsNothingAfterItsEpochEnded) {
  CommitTracker tracker(Lsn(100), 1);
  tracker.OnOwnDurable(Lsn(500));
  tracker.Stop();
  tracker.OnAcked(0, Lsn(500));
  EXPECT_EQ(tracker.committed(), Lsn(100));
  EXPECT_TRUE(tracker.stopped());
}

}  // namespace
}  // namespace whale::metadata_mcast

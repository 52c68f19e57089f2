// Commit and the order in which it becomes known: cell and readable state
// first, then the answers (protocol, section 4).
#include "primary/committer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "common/hash.h"
#include "common/units.h"
#include "metadata_mcast/cells.h"
#include "metadata_mcast/test_replica.h"

namespace whale::primary {
namespace {

using metadata_mcast::CommitCell;
using metadata_mcast::DeliveryConfig;
using metadata_mcast::DeliverySender;
using metadata_mcast::TestReplica;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr Epoch kEpoch{1};

class CommitterTest : public testing::Test, public CommitEffects {
 protected:
  CommitterTest() : state_(&memory_.pool(), TestReplica::kShard) {
    state_.log.set_end(state_.log.begin());
    state_.history.Add(kEpoch, state_.log.begin());
  }

  // R0, R1 a mirror, R2 a chain backup; `had`: what they have, durably, of the
  // log so far. Delivery begins at its end.
  void Begin(Lsn had) {
    const Lsn start = state_.log.end();
    committer_.emplace(&state_,
                       CommitterOptions{.epoch = kEpoch,
                                        .committed_start = start,
                                        .backups = 2,
                                        .mirrors = 1},
                       this);
    for (size_t backup = 0; backup < 2; ++backup) {
      const bool mirror = backup == 0;
      senders_.emplace_back(
          DeliveryConfig{.epoch = kEpoch,
                         .start = start,
                         .by_value_max_bytes = mirror ? kMaxValueBytes : 256,
                         .ring = backups_[backup].RingGrant(),
                         .ring_slots = backups_[backup].ring_slots(),
                         .delivery_cells = backups_[backup].DeliveryGrant()});
      senders_[backup].AddSegment(1, backups_[backup].SegmentGrant(1));
      committer_->SetStart(backup, had, start);
    }
  }
  void Begin() { Begin(state_.log.end()); }
  Lsn Append(std::string_view key, std::string_view value) {
    const Lsn lsn = memory_.Append(kEpoch, key, value);
    state_.log.set_end(memory_.log().end());
    state_.Learn(lsn, state_.log.HeaderAt(lsn), HashKey(key), true);
    return lsn;
  }
  // What is in the log goes to a backup, and all of it completes.
  void Deliver(size_t backup) {
    std::array<fabric::WorkRequest, 16> out;
    DeliverySender& sender = senders_[backup];
    ASSERT_GT(sender.Plan(state_.log, state_.log.end(), state_.committed,
                          out.data(), out.size(),
                          {memory_.area().rings[0], memory_.ring_slots()}, 1),
              0u);
    sender.OnCompletion();
    committer_->OnDelivered(backup, sender);
  }
  // The chain backup says that it has everything below `lsn`, durably.
  void Progress(Lsn lsn) {
    committer_->OnProgress(1,
                           {.announced = lsn.value(), .durable = lsn.value()});
  }
  // A write's answer, with the LSN as its tag.
  void Wait(Lsn lsn, bool full_durability = false,
            ReplyKind kind = ReplyKind::kWrite) {
    committer_->Wait({.tag = lsn.value(), .full_durability = full_durability},
                     wire::Result::kOk, lsn.value(), lsn, kind);
  }
  Lsn CellSays() {
    const auto cell = metadata_mcast::NewestWhole<CommitCell>(
        memory_.area().commit_cells, kEpoch);
    return cell.has_value() ? Lsn(cell->committed) : Lsn();
  }
  std::vector<uint64_t> Advance() {
    answered_.clear();
    committer_->Advance();
    return answered_;
  }

  // Whoever is answered may look at once, at every replica.
  void Answer(const WaitingReply& reply) override {
    EXPECT_LT(reply.after, state_.committed);
    EXPECT_EQ(CellSays(), state_.committed);
    EXPECT_GT(state_.Applied(), reply.after);
    answered_.push_back(reply.tag);
  }

  TestReplica memory_;
  chain::ReplicaState state_;
  TestReplica backups_[2];
  std::vector<DeliverySender> senders_;
  std::optional<Committer> committer_;
  std::vector<uint64_t> answered_;
};

TEST_F(CommitterTest, AnEpochBeginsWithItsCommittedStart) {
  const Lsn lsn = Append("k", "v");
  Begin();
  EXPECT_EQ(state_.committed, state_.log.end());
  EXPECT_EQ(CellSays(), state_.log.end());
  Wait(lsn);
  EXPECT_THAT(Advance(), ElementsAre(lsn.value()));
}

TEST_F(CommitterTest, NothingIsAnsweredBeforeThePrimaryAndEveryBackupHaveIt) {
  Begin();
  const Lsn lsn = Append("k", "v");
  Wait(lsn);
  Deliver(0);
  committer_->OnOwnDurable(state_.log.end());
  EXPECT_THAT(Advance(), IsEmpty());
  EXPECT_EQ(CellSays(), lsn);
  Deliver(1);
  EXPECT_EQ(CellSays(), lsn) << "one step moves cell and state";
  EXPECT_THAT(Advance(), ElementsAre(lsn.value()));

  const Lsn second = Append("k", "w");
  Wait(second);
  Deliver(0);
  Deliver(1);
  EXPECT_THAT(Advance(), IsEmpty());
  committer_->OnOwnDurable(state_.log.end());
  EXPECT_THAT(Advance(), ElementsAre(second.value()));
}

TEST_F(CommitterTest, FullDurabilityWaitsForTheLastCopyOfTheValue) {
  Begin();
  const Lsn lsn = Append("k", std::string(1000, 'v'));
  const Lsn end = state_.log.end();
  Wait(lsn, /*full_durability=*/true);
  committer_->WaitReplicated({.tag = 1, .after = lsn});
  committer_->Wait({.tag = 2}, wire::Result::kOk, lsn.value(), lsn,
                   ReplyKind::kWrite);
  committer_->OnOwnDurable(end);
  Deliver(0);
  Deliver(1);
  EXPECT_THAT(Advance(), ElementsAre(2));
  EXPECT_TRUE(committer_->awaits_replication());
  Progress(end);
  EXPECT_THAT(Advance(), UnorderedElementsAre(1, lsn.value()));
  EXPECT_FALSE(committer_->awaits_replication());
}

TEST_F(CommitterTest, ARetryFromAnEarlierEpochWaitsForAsManyCopies) {
  const Lsn lsn = Append("k", std::string(1000, 'v'));
  const Lsn end = state_.log.end();
  Begin(lsn);  // neither backup has the value
  Wait(lsn, /*full_durability=*/false, ReplyKind::kEarlierWrite);
  EXPECT_THAT(Advance(), IsEmpty());
  EXPECT_TRUE(committer_->awaits_replication());
  Append("k", "later");
  committer_->OnOwnDurable(state_.log.end());
  Deliver(0);
  Deliver(1);
  EXPECT_THAT(Advance(), IsEmpty());
  Progress(end);
  EXPECT_THAT(Advance(), ElementsAre(lsn.value()));
}

TEST_F(CommitterTest, WhatStillWaitsWhenTheEpochEndsIsAbandonedOnce) {
  Begin();
  const Lsn lsn = Append("k", "v");
  Wait(lsn);
  committer_->WaitReplicated({.tag = 1, .after = lsn});
  std::vector<uint64_t> abandoned;
  const auto visit = [&](const WaitingReply& reply) {
    abandoned.push_back(reply.tag);
  };
  committer_->Abandon(visit);
  EXPECT_THAT(abandoned, UnorderedElementsAre(1, lsn.value()));
  committer_->Abandon(visit);
  EXPECT_EQ(abandoned.size(), 2u);
}

}  // namespace
}  // namespace whale::primary

// States of a record at one replica: announced, here, committed, applied; and
// what a read may see in each (protocol, sections 4 and 6).
#include "chain/replica_state.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "common/hash.h"
#include "logstore/missing.h"
#include "metadata_mcast/test_replica.h"

namespace whale::chain {
namespace {

using logstore::RecordHeader;
using logstore::RecordType;
using metadata_mcast::TestReplica;
using Kind = Visible::Kind;

constexpr Epoch kEpoch{1};

class ReplicaStateTest : public testing::Test {
 protected:
  ReplicaStateTest() : state_(&memory_.pool(), TestReplica::kShard) {
    state_.history.Add(kEpoch, log().begin());
    Learn(memory_.Append(kEpoch, "", "", RecordType::kSessionOpen), true);
  }

  // A record that was delivered by value.
  Lsn PutByValue(std::string_view key, std::string_view value) {
    const Lsn lsn = memory_.Append(kEpoch, key, value);
    Learn(lsn, true);
    return lsn;
  }
  Lsn DeleteByValue(std::string_view key) {
    const Lsn lsn = memory_.Append(kEpoch, key, "", RecordType::kDelete);
    Learn(lsn, true);
    return lsn;
  }
  // A record of which the metadata alone has come.
  Lsn PutByMetadata(std::string_view key, std::string_view value) {
    const Lsn lsn = memory_.Append(kEpoch, key, value);
    const RecordHeader header = log().HeaderAt(lsn);
    const uint64_t bytes = logstore::RecordBytes(header);
    value_.assign(log().At(lsn), log().At(lsn) + bytes);
    std::memset(log().At(lsn), 0, bytes);
    state_.Learn(lsn, header, HashKey(key), false);
    return lsn;
  }
  // The same, but not the cell that says so.
  void ArriveUnsaid(Lsn lsn) {
    std::memcpy(log().At(lsn), value_.data(), value_.size());
  }
  // In the place of the last PutByMetadata.
  void PlaceMissing(Lsn lsn) {
    RecordHeader header;
    std::memcpy(&header, value_.data(), sizeof(header));
    const logstore::MissingRecord record =
        logstore::MakeMissing(header, HashKey("key"));
    std::memcpy(log().At(lsn), &record, sizeof(record));
    state_.Learn(lsn, record.header, record.body.hash, true);
  }
  // The operator gives up that version of "key".
  void GiveUp(Lsn version) {
    const logstore::LostValue lost{
        .hash = HashKey("key"), .key_bytes = 3, .type = RecordType::kPut};
    const Lsn lsn = log().Reserve(0, sizeof(lost));
    log().Write(lsn,
                {.type = RecordType::kLost,
                 .epoch = kEpoch,
                 .session = SessionId(version.value())},
                "", {reinterpret_cast<const char*>(&lost), sizeof(lost)});
    state_.Learn(lsn, log().HeaderAt(lsn), lost.hash, true);
  }
  // The chain brings the value of the last PutByMetadata.
  void ArriveByChain(Lsn lsn) {
    std::memcpy(log().At(lsn), value_.data(), value_.size());
    state_.TakeChain(ChainCell{.sent_upto = log().end().value()});
  }
  void Commit() {
    state_.committed = log().end();
    state_.Apply();
  }
  void Learn(Lsn lsn, bool has_value) {
    const RecordHeader& header = log().HeaderAt(lsn);
    state_.Learn(lsn, header, HashKey(log().KeyAt(lsn)), has_value);
  }

  Visible Read(std::string_view key) { return Read(key, state_.committed); }
  Visible Read(std::string_view key, Lsn watermark, bool final = false) {
    return FindVisible(state_, HashKey(key), key, watermark, final);
  }
  std::string ValueOf(const Visible& visible) {
    EXPECT_EQ(visible.kind, Kind::kHere);
    if (visible.record == nullptr) return "";
    return std::string(log().ValueAt(Lsn(visible.record->lsn)));
  }
  logstore::Log& log() { return memory_.log(); }

  TestReplica memory_;
  ReplicaState state_;

 private:
  std::vector<std::byte> value_;
};

TEST_F(ReplicaStateTest, AKeyThatWasNeverWrittenIsAbsent) {
  EXPECT_EQ(Read("k").kind, Kind::kAbsent);
}

TEST_F(ReplicaStateTest, AnUncommittedValueIsNotExposed) {
  PutByValue("k", "old");
  Commit();
  PutByValue("k", "new");
  EXPECT_EQ(Read("k").kind, Kind::kUncommitted);
  // Once the commit cell said that it is not committed: the older one.
  EXPECT_EQ(ValueOf(Read("k", state_.committed, true)), "old");
}

TEST_F(ReplicaStateTest, ACommittedPendingValueIsServed) {
  PutByValue("k", "old");
  Commit();
  PutByValue("k", "new");
  EXPECT_EQ(ValueOf(Read("k", log().end())), "new");
  Commit();
  EXPECT_TRUE(state_.pending.empty());
  EXPECT_EQ(ValueOf(Read("k")), "new");
}

TEST_F(ReplicaStateTest, OfSeveralPendingTheNewestBelowTheWatermarkCounts) {
  PutByValue("k", "1");
  PutByValue("k", "2");
  const Lsn third = PutByValue("k", "3");
  EXPECT_EQ(Read("k", third).kind, Kind::kUncommitted);
  EXPECT_EQ(ValueOf(Read("k", third, true)), "2");
}

TEST_F(ReplicaStateTest, ACommittedHoleIsReadElsewhereNeverAsTheOlderValue) {
  PutByValue("k", "old");
  Commit();
  const Lsn hole = PutByMetadata("k", "new");
  const Visible visible = Read("k", log().end());
  EXPECT_EQ(visible.kind, Kind::kElsewhere);
  EXPECT_EQ(visible.lsn, hole);
  EXPECT_EQ(visible.record_bytes, log().end() - hole);
  // Committing it does not make it readable here.
  Commit();
  EXPECT_EQ(Read("k").kind, Kind::kElsewhere);
  ArriveByChain(hole);
  EXPECT_EQ(ValueOf(Read("k")), "new");
  state_.Apply();
  EXPECT_TRUE(state_.pending.empty());
}

TEST_F(ReplicaStateTest, AnEarlyChainValueIsNotExposed) {
  PutByValue("k", "old");
  Commit();
  const Lsn hole = PutByMetadata("k", "early");
  ArriveByChain(hole);
  state_.Apply();
  EXPECT_EQ(Read("k").kind, Kind::kUncommitted);
  EXPECT_EQ(ValueOf(Read("k", state_.committed, true)), "old");
}

TEST_F(ReplicaStateTest, RecordsBehindAHoleWaitForIt) {
  const Lsn hole = PutByMetadata("a", std::string(500, 'a'));
  PutByValue("b", "b");
  Commit();
  EXPECT_EQ(state_.Applied(), hole);
  EXPECT_EQ(ValueOf(Read("b")), "b");  // but reads see it
  ArriveByChain(hole);
  state_.Apply();
  EXPECT_EQ(state_.Applied(), log().end());
}

// Until the key can be compared, a hole may be of any key with its hash.
TEST_F(ReplicaStateTest, AHoleOfAnotherKeyWithTheSameHashCanBeExcluded) {
  PutByValue("key-1", "mine");
  Commit();
  const Lsn lsn = memory_.Append(kEpoch, "key-2", "other");
  const RecordHeader header = log().HeaderAt(lsn);
  state_.Learn(lsn, header, HashKey("key-1"), false);
  EXPECT_EQ(Read("key-1", log().end()).kind, Kind::kElsewhere);
  EXPECT_EQ(ValueOf(FindVisible(state_, HashKey("key-1"), "key-1", log().end(),
                                false, lsn)),
            "mine");
}

TEST_F(ReplicaStateTest, ADeletedKeyIsAbsentOnceThatIsCommitted) {
  PutByValue("k", "v");
  Commit();
  DeleteByValue("k");
  EXPECT_EQ(Read("k").kind, Kind::kUncommitted);
  EXPECT_EQ(Read("k", log().end()).kind, Kind::kAbsent);
  Commit();
  EXPECT_EQ(Read("k").kind, Kind::kAbsent);
}

TEST_F(ReplicaStateTest, TheOrderedStateCountsUncommittedWrites) {
  PutByValue("k", "old");
  Commit();
  const Lsn lsn = PutByValue("k", "new");
  EXPECT_EQ(FindOrdered(state_, HashKey("k"), "k")->lsn, lsn.value());
  EXPECT_EQ(FindOrdered(state_, HashKey("x"), "x"), nullptr);
}

TEST_F(ReplicaStateTest, ACutUndoesWhatWasNotCommitted) {
  PutByValue("k", "old");
  Commit();
  const Lsn cut = PutByValue("k", "lost");
  PutByMetadata("k", "lost too");
  const RequestNumber lost(3);  // after the session's opening and one put
  ASSERT_EQ(state_.sessions.Lookup(SessionId(5), lost).answer,
            logstore::SessionTable::Answer::kDuplicate);
  state_.Discard(cut);
  EXPECT_EQ(ValueOf(Read("k", kMaxLsn)), "old");
  EXPECT_EQ(state_.backup_log.announced(), cut);
  EXPECT_EQ(state_.backup_log.hole_count(), 0u);
  EXPECT_EQ(state_.sessions.Lookup(SessionId(5), lost).answer,
            logstore::SessionTable::Answer::kNew);
}

TEST_F(ReplicaStateTest, ARetryIsKnownWhileItsValueIsStillToCome) {
  const Lsn hole = PutByMetadata("k", "v");
  const auto found = state_.sessions.Lookup(SessionId(5), RequestNumber(2));
  EXPECT_EQ(found.answer, logstore::SessionTable::Answer::kDuplicate);
  EXPECT_EQ(found.lsn, hole);
}

// A new epoch delivers again from the first hole on.
TEST_F(ReplicaStateTest, ARecordThatComesAgainByValueFillsItsHole) {
  const Lsn hole = PutByMetadata("k", "v");
  const Lsn after = PutByValue("x", "y");
  const RecordHeader header = log().HeaderAt(after);
  state_.Learn(after, header, HashKey("x"), true);
  EXPECT_EQ(state_.pending.size(), 2u);
  EXPECT_EQ(state_.backup_log.durable(), hole);
  RecordHeader again{};
  again.lsn = hole.value();
  state_.Learn(hole, again, HashKey("k"), true);
  EXPECT_EQ(state_.backup_log.durable(), log().end());
  EXPECT_TRUE(state_.pending.Find(hole)->has_value);
}

// ---------------------------------------------------------- missing values

TEST_F(ReplicaStateTest,
       AMissingValueHidesTheOlderOneBeforeAndAfterItIsApplied) {
  PutByValue("key", "old");
  Commit();
  const Lsn hole = PutByMetadata("key", "new");
  state_.committed = log().end();
  // No member has it: the primary's missing record comes in its place.
  PlaceMissing(hole);
  EXPECT_EQ(
      FindVisible(state_, HashKey("key"), "key", state_.committed, true).kind,
      Kind::kMissing);
  Commit();
  EXPECT_EQ(
      FindVisible(state_, HashKey("key"), "key", state_.committed, true).kind,
      Kind::kMissing);
  EXPECT_EQ(state_.missing.missing_count(), 1u);
  EXPECT_NE(FindHiding(state_, HashKey("key"), "key",
                       state_.index.Find(HashKey("key"), "key")),
            nullptr);
  // Its request is known still.
  EXPECT_EQ(state_.backup_log.durable(), log().end());
}

// As a restart, or a learner's copy, finds it.
TEST_F(ReplicaStateTest, AMissingRecordHidesTheOlderValueBeforeItIsApplied) {
  PutByValue("key", "old");
  Commit();
  PutByMetadata("other", "comes later");
  const Lsn lsn = memory_.Append(kEpoch, "key", "new");
  const logstore::MissingRecord record =
      logstore::MakeMissing(log().HeaderAt(lsn), HashKey("key"));
  std::memcpy(log().At(lsn), &record, sizeof(record));
  state_.Learn(lsn, record.header, record.body.hash, true);
  Commit();
  EXPECT_EQ(state_.missing.missing_count(), 0u) << "a hole is before it";
  EXPECT_EQ(FindVisible(state_, HashKey("key"), "key", log().end(), true).kind,
            Kind::kMissing);
}

TEST_F(ReplicaStateTest, ALaterWriteOfTheKeyIsSeenInSpiteOfAMissingValue) {
  const Lsn hole = PutByMetadata("key", "lost");
  PlaceMissing(hole);
  Commit();
  PutByValue("key", "newer");
  const Visible pending =
      FindVisible(state_, HashKey("key"), "key", log().end(), true);
  EXPECT_EQ(pending.kind, Kind::kHere);
  Commit();
  const Visible applied =
      FindVisible(state_, HashKey("key"), "key", log().end(), true);
  ASSERT_EQ(applied.kind, Kind::kHere);
  EXPECT_EQ(logstore::ValueOf(*applied.record), "newer");
  EXPECT_EQ(state_.missing.missing_count(), 0u);
}

TEST_F(ReplicaStateTest, GivingUpAnOlderValueDoesNotUncoverANewerOne) {
  const Lsn older = PutByMetadata("key", "older");
  PlaceMissing(older);
  const Lsn newer = PutByMetadata("key", "newer");
  PlaceMissing(newer);
  Commit();
  GiveUp(older);
  EXPECT_EQ(Read("key", log().end()).kind, Kind::kMissing);
  Commit();
  EXPECT_EQ(Read("key").kind, Kind::kMissing);
  GiveUp(newer);
  EXPECT_EQ(Read("key", log().end()).kind, Kind::kLost);
  Commit();
  EXPECT_EQ(Read("key").kind, Kind::kLost);
}

// Others lack it: all must say the same.
TEST_F(ReplicaStateTest, AValueThatWasGivenUpIsLostWhereItIsToo) {
  const Lsn lsn = PutByValue("key", "value");
  Commit();
  GiveUp(lsn);
  EXPECT_EQ(Read("key", log().end()).kind, Kind::kLost);
  Commit();
  EXPECT_EQ(Read("key").kind, Kind::kLost);
}

TEST_F(ReplicaStateTest,
       AValueThatLandedWithoutItsCellIsTakenWhenTheEpochEnds) {
  const Lsn hole = PutByMetadata("key", "value");
  const Lsn other = log().end();
  ArriveUnsaid(hole);
  state_.TakeLanded();
  EXPECT_EQ(state_.backup_log.hole_count(), 0u);
  EXPECT_EQ(state_.backup_log.durable(), other);
  Commit();
  EXPECT_EQ(FindVisible(state_, HashKey("key"), "key", log().end(), true).kind,
            Kind::kHere);
}

}  // namespace
}  // namespace whale::chain

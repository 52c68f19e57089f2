#include "control/cut.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kFirst = 100;

// One member's report, in the epoch of the stored configuration unless said
// otherwise.
struct Member {
  uint64_t announced;
  std::vector<std::pair<uint64_t, uint64_t>> holes;
  uint64_t committed = kFirst;
  uint64_t epoch = 5;
  bool damaged = false;
};

// Epoch 3 began at 100, epoch 5, the stored one, at T = 400 with A = 300.
proto::StoredShard Stored() {
  proto::StoredShard stored;
  stored.set_epoch(5);
  stored.set_committed(300);
  stored.set_start(400);
  for (const auto& [epoch, start] :
       {std::pair<uint64_t, uint64_t>{3, 100}, {5, 400}}) {
    proto::EpochStart* entry = stored.add_history();
    entry->set_epoch(epoch);
    entry->set_start(start);
  }
  return stored;
}

absl::StatusOr<Cut> CutOf(const std::vector<Member>& members,
                          const proto::StoredShard& stored = Stored(),
                          uint32_t least = 1, uint32_t wanted = 0) {
  std::deque<proto::ShardReport> reports;
  std::vector<SealedMember> sealed;
  for (const Member& member : members) {
    proto::ShardReport& report = reports.emplace_back();
    report.set_announced(member.announced);
    report.set_committed(member.committed);
    report.set_epoch(member.epoch);
    report.set_damaged(member.damaged);
    for (const auto& [begin, end] : member.holes) {
      proto::LsnRange* hole = report.add_holes();
      hole->set_begin(begin);
      hole->set_end(end);
    }
    sealed.push_back({static_cast<uint32_t>(sealed.size() + 1), &report});
  }
  return ComputeCut(stored, sealed,
                    {.first_lsn = kFirst,
                     .least_survivors = least,
                     .wanted_primary = wanted});
}

struct Case {
  std::string name;
  std::vector<Member> members;
  uint64_t committed;  // A
  uint64_t start;      // T
  std::vector<uint32_t> order;
};

class CutTable : public ::testing::TestWithParam<Case> {};

TEST_P(CutTable, Computes) {
  const Case& c = GetParam();
  const absl::StatusOr<Cut> cut = CutOf(c.members);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->committed, c.committed);
  EXPECT_EQ(cut->start, c.start);
  EXPECT_EQ(cut->members, c.order);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CutTable,
    ::testing::Values(
        Case{
            "AllEqual", {{500, {}}, {500, {}}, {500, {}}}, 500, 500, {1, 2, 3}},
        Case{"PrimaryAheadEndsTheLog",
             {{900, {}}, {500, {}}, {600, {}}},
             500,
             900,
             {1, 2, 3}},
        // Nobody can have been told of what a survivor has not announced.
        Case{"WhatOnlyABackupHasIsCut",
             {{500, {}}, {900, {}}, {600, {}}},
             500,
             500,
             {1, 2, 3}},
        // Chain backups have announced values that they do not have.
        Case{"HolesOfBackupsDoNotMatterWithThePrimary",
             {{900, {}}, {900, {{500, 900}}}, {900, {{450, 900}}}},
             900,
             900,
             {1, 2, 3}},
        Case{"FirstThatHasAllBelowALeads",
             {{900, {{500, 700}}}, {900, {}}, {900, {}}},
             900,
             900,
             {2, 1, 3}},
        Case{"HoleOfThePrimaryAboveAEndsTheLog",
             {{900, {{700, 800}}}, {500, {}}, {900, {}}},
             500,
             700,
             {1, 2, 3}},
        Case{"HoleOfThePrimaryAtAEndsTheLogThere",
             {{900, {{500, 600}}}, {500, {}}, {900, {}}},
             500,
             500,
             {1, 2, 3}},
        // A survivor of epoch 3 wrote up to 800; all from 400 on is not of
        // this log.
        Case{"SurvivorThatMissedACutCountsUpToIt",
             {{800, {}, kFirst, 3}, {600, {}}, {600, {}}},
             400,
             400,
             {1, 2, 3}},
        Case{"SurvivorThatMissedACutBelowIt",
             {{350, {}, kFirst, 3}, {600, {}}, {600, {}}},
             350,
             350,
             {1, 2, 3}},
        Case{"OnlySurvivorsOfTheOldEpoch",
             {{800, {}, kFirst, 3}, {800, {}, kFirst, 3}, {380, {}, kFirst, 3}},
             380,
             400,
             {1, 2, 3}},
        Case{"HolesBeyondAnnouncedOrEmptyMeanNothing",
             {{500, {{500, 900}, {450, 450}}}, {500, {}}, {500, {}}},
             500,
             500,
             {1, 2, 3}},
        Case{"OneMember", {{777, {}}}, 777, 777, {1}}),
    [](const auto& info) { return info.param.name; });

TEST(Cut, EpochThatWasNeverStoredCountsUpToTheNextStored) {
  // Epoch 4 was adopted nowhere that counts; 5 begins at 400.
  const auto cut = CutOf({{700, {}, kFirst, 4}, {500, {}}, {500, {}}});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->committed, 400u);
  EXPECT_EQ(cut->start, 400u);
}

TEST(Cut, WantedPrimaryLeadsIfItHasAllElseItIsNext) {
  const Member whole{900, {}};
  const Member lacks{900, {{500, 600}}};
  EXPECT_THAT(CutOf({whole, lacks, whole}, Stored(), 1, 3)->members,
              ElementsAre(3, 1, 2));
  EXPECT_THAT(CutOf({whole, whole, lacks}, Stored(), 1, 3)->members,
              ElementsAre(1, 3, 2));
  EXPECT_THAT(CutOf({whole, whole, whole}, Stored(), 1, 9)->members,
              ElementsAre(1, 2, 3));
}

TEST(Cut, WithoutAllValuesTheFirstThatHasWhatAnybodyHasLeads) {
  const auto cut = CutOf({{900, {{450, 500}, {600, 700}}},
                          {900, {{460, 500}, {600, 620}, {650, 700}}},
                          {950, {{440, 900}}}});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(cut->lacks_values);
  EXPECT_THAT(cut->members, ElementsAre(2, 1, 3));
  EXPECT_EQ(cut->committed, 900u);
  EXPECT_EQ(cut->start, 900u);
  EXPECT_FALSE(CutOf({{900, {{450, 500}}}, {900, {}}})->lacks_values);
}

TEST(Cut, OfThoseThatLackTheSameTheWantedOneLeads) {
  const Member lacks{900, {{450, 500}, {500, 520}}};
  const Member lacks_so_too{900, {{450, 520}}};
  EXPECT_THAT(CutOf({lacks, lacks_so_too}, Stored(), 1, 2)->members,
              ElementsAre(2, 1));
  EXPECT_THAT(CutOf({lacks, lacks_so_too})->members, ElementsAre(1, 2));
}

TEST(Cut, HoleAboveAEndsTheLogOfWhoLacksOthersBelow) {
  const auto cut =
      CutOf({{950, {{450, 500}, {920, 930}}}, {900, {{450, 600}}}});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(cut->lacks_values);
  EXPECT_EQ(cut->committed, 900u);
  EXPECT_EQ(cut->start, 920u);
}

TEST(Cut, WhereEachLacksWhatAnotherHasWhoLacksLeastLeadsWithoutThose) {
  const Member lacks_more{900, {{600, 750}}};
  const Member lacks_least{950, {{450, 500}, {920, 930}}};
  const Member lacks_both{920, {{450, 500}, {600, 750}}};
  const auto cut = CutOf({lacks_more, lacks_both, lacks_least});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(cut->lacks_values);
  EXPECT_THAT(cut->members, ElementsAre(3, 2));
  EXPECT_EQ(cut->committed, 900u);
  EXPECT_EQ(cut->start, 920u);
}

TEST(Cut, WhereEachLacksWhatAnotherHasItWaitsIfTooFewWouldGoOn) {
  const auto cut =
      CutOf({{900, {{450, 520}}}, {900, {{600, 660}}}}, Stored(), 2);
  EXPECT_EQ(cut.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(cut.status().message()),
              HasSubstr("each lacks what another has: bring back"));
  EXPECT_THAT(std::string(cut.status().message()),
              HasSubstr("let server 2 go on"));
}

TEST(Cut, DamagedMemberIsLeftOutIfEnoughAreLeft) {
  const std::vector<Member> members = {
      {500, {}, kFirst, 5, /*damaged=*/true}, {500, {}}, {600, {}}};
  const auto cut = CutOf(members, Stored(), 2);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_THAT(cut->members, ElementsAre(2, 3));
  const absl::Status status = CutOf(members, Stored(), 3).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("server 1 is damaged"));
}

TEST(Cut, WhatADamagedMemberSaysIsCommittedIsNotBelieved) {
  const auto cut = CutOf({{500, {}}, {500, {}, 999'999, 5, /*damaged=*/true}});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_THAT(cut->members, ElementsAre(1));
}

TEST(Cut, MemberBelowTheCommittedOfItsConfigurationIsIncomplete) {
  const std::vector<Member> members = {{500, {}}, {299, {}}, {500, {}}};
  EXPECT_THAT(CutOf(members)->members, ElementsAre(1, 3));
  EXPECT_EQ(CutOf(members)->committed, 500u);
  EXPECT_THAT(std::string(CutOf(members, Stored(), 3).status().message()),
              HasSubstr("server 2 is incomplete: its log ends at 299, but all "
                        "below 300"));
  EXPECT_EQ(CutOf({{500, {}}, {300, {}}, {500, {}}})->committed, 300u);
}

TEST(Cut, MemberBelowACommitWatermarkThatAnyoneKnowsIsIncomplete) {
  const auto cut = CutOf({{600, {}, 550}, {500, {}}, {600, {}}});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_THAT(cut->members, ElementsAre(1, 3));
  EXPECT_EQ(cut->committed, 600u);
}

TEST(Cut, StoreThatIsOlderThanAMemberIsRefused) {
  const auto cut = CutOf({{500, {}}, {500, {}, kFirst, 6}, {500, {}}});
  EXPECT_THAT(std::string(cut.status().message()),
              HasSubstr("the store is older than the cluster"));
}

TEST(Cut, FreshLogsBeginAtTheFirstSegment) {
  proto::StoredShard stored;
  stored.set_epoch(1);
  stored.set_committed(kFirst);
  stored.set_start(kFirst);
  proto::EpochStart* entry = stored.add_history();
  entry->set_epoch(1);
  entry->set_start(kFirst);
  const auto cut =
      CutOf({{0, {}, 0, 0}, {0, {}, 0, 1}, {kFirst, {}, kFirst, 1}}, stored);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->committed, kFirst);
  EXPECT_EQ(cut->start, kFirst);
  EXPECT_THAT(cut->members, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace whale::control

#include "logstore/session_table.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "common/prng.h"

namespace whale::logstore {
namespace {

using Answer = SessionTable::Answer;
constexpr SessionId kSession{5};

RequestNumber R(uint64_t number) { return RequestNumber(number); }

TEST(SessionTableTest, UnknownSessionIsRefused) {
  SessionTable table;
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kUnknownSession);
  table.Record(kSession, R(1), Lsn(100));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kUnknownSession);
}

TEST(SessionTableTest, RetryFindsTheOutcome) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kNew);
  table.Record(kSession, R(1), Lsn(100));
  const auto found = table.Lookup(kSession, R(1));
  EXPECT_EQ(found.answer, Answer::kDuplicate);
  EXPECT_EQ(found.lsn, Lsn(100));
  EXPECT_EQ(table.Lookup(kSession, R(2)).answer, Answer::kNew);
  EXPECT_EQ(table.Lookup(kSession, R(0)).answer, Answer::kTooOld);
}

TEST(SessionTableTest, RequestsMayOvertakeEachOther) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  table.Record(kSession, R(7), Lsn(100));
  EXPECT_EQ(table.Lookup(kSession, R(3)).answer, Answer::kNew);
  table.Record(kSession, R(3), Lsn(200));
  EXPECT_EQ(table.Lookup(kSession, R(3)).lsn, Lsn(200));
  EXPECT_EQ(table.Lookup(kSession, R(7)).lsn, Lsn(100));
}

TEST(SessionTableTest, WindowIsKeptWhole) {
  SessionTable table(512);
  table.Open(kSession, Lsn(10));
  for (uint64_t r = 1; r <= 2000; ++r) {
    table.Record(kSession, R(r), Lsn(1000 + r));
  }
  EXPECT_EQ(table.Lookup(kSession, R(2000 - 512)).answer, Answer::kTooOld);
  for (uint64_t r = 2000 - 511; r <= 2000; ++r) {
    ASSERT_EQ(table.Lookup(kSession, R(r)).lsn, Lsn(1000 + r));
  }
}

TEST(SessionTableTest, AnyRequestNumberIsHarmless) {
  SessionTable table(512);
  table.Open(kSession, Lsn(10));
  table.Record(kSession, R(1), Lsn(100));
  table.Record(kSession, R(UINT64_MAX), Lsn(200));
  EXPECT_EQ(table.Lookup(kSession, R(UINT64_MAX)).lsn, Lsn(200));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kTooOld);
  table.Record(kSession, R(1), Lsn(300));
  EXPECT_EQ(table.Lookup(kSession, R(UINT64_MAX - 1)).answer, Answer::kNew);
}

TEST(SessionTableTest, ForgottenRequestIsNewAgain) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  table.Record(kSession, R(1), Lsn(100));
  table.Forget(kSession, R(1));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kNew);
  table.Forget(kSession, R(9));
  table.Forget(SessionId(99), R(1));
}

TEST(SessionTableTest, CutUndoesOutcomesAndSessions) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  table.Record(kSession, R(1), Lsn(100));
  table.Record(kSession, R(2), Lsn(200));
  table.Open(SessionId(6), Lsn(210));
  table.Undo(Lsn(200));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kDuplicate);
  EXPECT_EQ(table.Lookup(kSession, R(2)).answer, Answer::kNew);
  EXPECT_FALSE(table.IsOpen(SessionId(6)));
  EXPECT_EQ(table.size(), 1u);
}

TEST(SessionTableTest, CutUndoesTheEndOfASession) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  table.Record(kSession, R(1), Lsn(100));
  table.End(kSession, Lsn(300));
  EXPECT_EQ(table.Lookup(kSession, R(1)).answer, Answer::kUnknownSession);
  EXPECT_EQ(table.size(), 0u);
  table.Release(Lsn(300));  // not committed yet
  table.Undo(Lsn(300));
  EXPECT_EQ(table.Lookup(kSession, R(1)).lsn, Lsn(100));
  EXPECT_EQ(table.size(), 1u);
}

TEST(SessionTableTest, CommittedEndIsFinal) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  table.Open(SessionId(6), Lsn(20));
  table.End(kSession, Lsn(300));
  table.End(SessionId(6), Lsn(400));
  table.Release(Lsn(301));
  table.Undo(Lsn(300));
  EXPECT_FALSE(table.IsOpen(kSession));
  EXPECT_TRUE(table.IsOpen(SessionId(6)));
}

TEST(SessionTableTest, MemoryGrowsWithRequestsUpToTheWindow) {
  SessionTable table;
  table.Open(kSession, Lsn(10));
  const size_t empty = table.memory_bytes();
  table.Record(kSession, R(3), Lsn(100));
  EXPECT_LE(table.memory_bytes(), empty + 64);
  for (uint64_t r = 4; r < 600; ++r) table.Record(kSession, R(r), Lsn(100 * r));
  const size_t full = table.memory_bytes();
  EXPECT_LE(full, empty + 512 * 8);
  for (uint64_t r = 600; r < 9000; ++r) {
    table.Record(kSession, R(r), Lsn(100 * r));
  }
  EXPECT_EQ(table.memory_bytes(), full);
}

TEST(SessionTableTest, IdleSessionsCanBeFound) {
  SessionTable table;
  table.Open(SessionId(1), Lsn(10), 100);
  table.Open(SessionId(2), Lsn(20), 200);
  table.Open(SessionId(3), Lsn(30), 300);
  table.End(SessionId(3), Lsn(40));
  table.Touch(SessionId(1), 900);
  table.Touch(SessionId(1), 500);  // late news
  std::map<uint64_t, int64_t> seen;
  table.ForEachOpen([&](SessionId session, int64_t active_ns) {
    seen[session.value()] = active_ns;
  });
  EXPECT_EQ(seen, (std::map<uint64_t, int64_t>{{1, 900}, {2, 200}}));
}

// The model keeps all that ever happened and takes the window from it.
TEST(SessionTableTest, AgreesWithAModel) {
  Prng prng(3);
  constexpr uint64_t kWindow = 16;
  SessionTable table(kWindow);
  struct Model {
    std::map<uint64_t, uint64_t> outcomes;
    uint64_t newest = 0;
  };
  std::map<uint64_t, Model> model;
  uint64_t lsn = 16;
  for (int step = 0; step < 200'000; ++step) {
    const uint64_t id = 1 + prng.Below(8);
    const SessionId session(id);
    lsn += 16;
    const uint64_t dice = prng.Below(1000);
    if (dice < 20) {
      table.Open(session, Lsn(lsn));
      model.try_emplace(id);
    } else if (dice < 24) {
      table.End(session, Lsn(lsn));
      table.Release(Lsn(lsn + 1));
      model.erase(id);
    } else if (dice < 28) {
      const uint64_t from = lsn - 16 * prng.Below(10);
      // No session opens or ends in what is cut here.
      bool plain = true;
      for (const auto& [open_id, state] : model) {
        plain &= table.OpenedAt(SessionId(open_id)) < Lsn(from);
      }
      if (!plain) continue;
      table.Undo(Lsn(from));
      for (auto& [open_id, state] : model) {
        std::erase_if(state.outcomes,
                      [&](const auto& o) { return o.second >= from; });
      }
    } else {
      const auto it = model.find(id);
      const uint64_t newest = it == model.end() ? 0 : it->second.newest;
      const uint64_t r = 1 + (newest > 20 ? newest - 20 : 0) + prng.Below(24);
      table.Record(session, R(r), Lsn(lsn));
      if (it != model.end() && r + kWindow > newest) {
        it->second.outcomes[r] = lsn;
        it->second.newest = std::max(newest, r);
      }
    }
    const uint64_t asked = 1 + prng.Below(8);
    const auto it = model.find(asked);
    const uint64_t newest = it == model.end() ? 0 : it->second.newest;
    const uint64_t r = 1 + (newest > 18 ? newest - 18 : 0) + prng.Below(20);
    const auto found = table.Lookup(SessionId(asked), R(r));
    if (it == model.end()) {
      ASSERT_EQ(found.answer, Answer::kUnknownSession);
    } else if (r + kWindow <= newest) {
      ASSERT_EQ(found.answer, Answer::kTooOld);
    } else if (const auto o = it->second.outcomes.find(r);
               o != it->second.outcomes.end()) {
      ASSERT_EQ(found.answer, Answer::kDuplicate);
      ASSERT_EQ(found.lsn.value(), o->second);
    } else {
      ASSERT_EQ(found.answer, Answer::kNew);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  std::set<std::pair<uint64_t, uint64_t>> kept, expected;
  table.ForEachOutcome([&](SessionId session, RequestNumber request, Lsn) {
    kept.emplace(session.value(), request.value());
  });
  for (const auto& [id, state] : model) {
    for (const auto& [r, outcome] : state.outcomes) {
      if (r + kWindow > state.newest) expected.emplace(id, r);
    }
  }
  EXPECT_EQ(kept, expected);
}

}  // namespace
}  // namespace whale::logstore

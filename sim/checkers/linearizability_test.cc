#include "sim/checkers/linearizability.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/prng.h"
#include "gtest/gtest.h"

namespace whale::checkers {
namespace {

using Type = OperationType;

// Builds histories of one key in the order of the arguments
// (invoked, answered, ...).
class Builder {
 public:
  Builder& Put(int64_t from, int64_t to, std::string value, uint64_t version) {
    return Add(Type::kPut, Answer::kOk, from, to, std::move(value), version);
  }
  Builder& Get(int64_t from, int64_t to, std::string value, uint64_t version) {
    return Add(Type::kGet, Answer::kOk, from, to, std::move(value), version);
  }
  Builder& Absent(int64_t from, int64_t to) {
    return Add(Type::kGet, Answer::kNotFound, from, to, "", 0);
  }
  Builder& Delete(int64_t from, int64_t to, uint64_t version) {
    return Add(Type::kDelete, Answer::kOk, from, to, "", version);
  }
  Builder& Unknown(Type type, int64_t from, std::string value,
                   uint64_t expected = 0) {
    return Add(type, Answer::kUnknown, from, kNever, std::move(value), 0,
               expected);
  }
  Builder& Add(Type type, Answer answer, int64_t from, int64_t to,
               std::string value, uint64_t version, uint64_t expected = 0) {
    Operation o;
    o.type = type;
    o.answer = answer;
    o.key = "k";
    o.value = std::move(value);
    o.version = version;
    o.expected_version = expected;
    o.invoked = from;
    o.answered = to;
    history_.Invoke(o);
    return *this;
  }
  bool Ok() {
    verdict_ = CheckLinearizability(history_);
    return verdict_.ok();
  }
  const std::string& problem() const { return verdict_.problem; }

 private:
  History history_;
  Verdict verdict_;
};

TEST(LinearizabilityTest, AcceptsSequential) {
  Builder b;
  b.Absent(1, 2).Put(3, 4, "a", 16).Get(5, 6, "a", 16).Put(7, 8, "b", 32);
  b.Get(9, 10, "b", 32).Delete(11, 12, 48).Absent(13, 14);
  EXPECT_TRUE(b.Ok()) << b.problem();
}

TEST(LinearizabilityTest, RejectsStaleRead) {
  EXPECT_FALSE(
      Builder().Put(1, 2, "a", 16).Put(3, 4, "b", 32).Get(5, 6, "a", 16).Ok());
}

TEST(LinearizabilityTest, RejectsAbsentAfterPut) {
  EXPECT_FALSE(Builder().Put(1, 2, "a", 16).Absent(3, 4).Ok());
}

TEST(LinearizabilityTest, AcceptsEitherDuringOverlap) {
  EXPECT_TRUE(Builder().Put(1, 10, "a", 16).Absent(2, 3).Ok());
  EXPECT_TRUE(Builder().Put(1, 10, "a", 16).Get(2, 3, "a", 16).Ok());
  EXPECT_TRUE(
      Builder().Put(1, 10, "a", 16).Absent(2, 3).Get(4, 5, "a", 16).Ok());
}

TEST(LinearizabilityTest, RejectsNewThenOld) {
  EXPECT_FALSE(
      Builder().Put(1, 10, "a", 16).Get(2, 3, "a", 16).Absent(4, 5).Ok());
}

TEST(LinearizabilityTest, VersionsOrderConcurrentWrites) {
  EXPECT_TRUE(Builder()
                  .Put(1, 10, "a", 16)
                  .Put(1, 10, "b", 32)
                  .Get(11, 12, "b", 32)
                  .Ok());
  EXPECT_FALSE(Builder()
                   .Put(1, 10, "a", 16)
                   .Put(1, 10, "b", 32)
                   .Get(11, 12, "a", 16)
                   .Ok());
  // A later write with a smaller version.
  EXPECT_FALSE(Builder().Put(1, 2, "a", 32).Put(3, 4, "b", 16).Ok());
}

TEST(LinearizabilityTest, WritesWithoutVersionsAreTriedInEveryOrder) {
  EXPECT_TRUE(
      Builder().Put(1, 9, "a", 0).Put(1, 9, "b", 0).Get(10, 11, "a", 0).Ok());
  EXPECT_FALSE(Builder()
                   .Put(1, 9, "a", 0)
                   .Put(1, 9, "b", 0)
                   .Get(10, 11, "a", 0)
                   .Get(12, 13, "b", 0)
                   .Ok());
}

TEST(LinearizabilityTest, UnknownPutMayOrMayNotTakeEffect) {
  EXPECT_TRUE(Builder().Unknown(Type::kPut, 1, "a").Absent(5, 6).Ok());
  EXPECT_TRUE(Builder().Unknown(Type::kPut, 1, "a").Get(5, 6, "a", 16).Ok());
  EXPECT_TRUE(Builder()
                  .Unknown(Type::kPut, 1, "a")
                  .Absent(5, 6)
                  .Get(7, 8, "a", 16)
                  .Ok());
  // Once seen it stays.
  EXPECT_FALSE(Builder()
                   .Unknown(Type::kPut, 1, "a")
                   .Get(5, 6, "a", 16)
                   .Absent(7, 8)
                   .Ok());
  // Not before it was asked for.
  EXPECT_FALSE(Builder().Get(5, 6, "a", 16).Unknown(Type::kPut, 7, "a").Ok());
}

TEST(LinearizabilityTest, UnknownPutExplainsADeleteThatFoundSomething) {
  EXPECT_FALSE(Builder().Delete(3, 4, 32).Ok());
  EXPECT_TRUE(
      Builder().Unknown(Type::kPut, 1, "a").Delete(3, 4, 32).Absent(5, 6).Ok());
  // One unknown put explains one delete only.
  EXPECT_FALSE(Builder()
                   .Unknown(Type::kPut, 1, "a")
                   .Delete(3, 4, 32)
                   .Delete(5, 6, 48)
                   .Ok());
}

TEST(LinearizabilityTest, UnknownDeleteExplainsAbsence) {
  EXPECT_TRUE(Builder()
                  .Put(1, 2, "a", 16)
                  .Unknown(Type::kDelete, 3, "")
                  .Get(4, 5, "a", 16)
                  .Absent(6, 7)
                  .Ok());
  EXPECT_FALSE(Builder()
                   .Put(1, 2, "a", 16)
                   .Unknown(Type::kDelete, 3, "")
                   .Absent(4, 5)
                   .Get(6, 7, "a", 16)
                   .Ok());
}

TEST(LinearizabilityTest, CompareAndPut) {
  Builder good;
  good.Add(Type::kCompareAndPut, Answer::kOk, 1, 2, "a", 16, 0);
  good.Add(Type::kCompareAndPut, Answer::kCompareFailed, 3, 4, "b", 16, 0);
  good.Add(Type::kCompareAndPut, Answer::kOk, 5, 6, "c", 48, 16);
  good.Get(7, 8, "c", 48);
  EXPECT_TRUE(good.Ok()) << good.problem();

  Builder both;  // two compares against one version succeed
  both.Put(1, 2, "a", 16);
  both.Add(Type::kCompareAndPut, Answer::kOk, 3, 9, "b", 32, 16);
  both.Add(Type::kCompareAndPut, Answer::kOk, 3, 9, "c", 48, 16);
  EXPECT_FALSE(both.Ok());

  Builder wrong;  // failed though nothing else was there
  wrong.Put(1, 2, "a", 16);
  wrong.Add(Type::kCompareAndPut, Answer::kCompareFailed, 3, 4, "b", 0, 16);
  EXPECT_FALSE(wrong.Ok());

  Builder told;  // told a version that equals what was expected
  told.Put(1, 2, "a", 16);
  told.Add(Type::kCompareAndPut, Answer::kCompareFailed, 3, 4, "b", 16, 16);
  EXPECT_FALSE(told.Ok());
}

TEST(LinearizabilityTest, FailedCompareMaySeeAnUnreadWrite) {
  Builder b;
  b.Put(1, 2, "a", 16).Unknown(Type::kPut, 3, "b");
  b.Add(Type::kCompareAndPut, Answer::kCompareFailed, 4, 5, "c", 32, 16);
  EXPECT_TRUE(b.Ok()) << b.problem();
  Builder older;  // a version smaller than what was there already
  older.Put(1, 2, "a", 64).Unknown(Type::kPut, 3, "b");
  older.Add(Type::kCompareAndPut, Answer::kCompareFailed, 4, 5, "c", 32, 64);
  EXPECT_FALSE(older.Ok());
}

TEST(LinearizabilityTest, DeleteIf) {
  Builder good;
  good.Put(1, 2, "a", 16);
  good.Add(Type::kDeleteIf, Answer::kCompareFailed, 3, 4, "", 16, 99);
  good.Add(Type::kDeleteIf, Answer::kOk, 5, 6, "", 32, 16);
  good.Absent(7, 8);
  EXPECT_TRUE(good.Ok()) << good.problem();
  Builder bad;
  bad.Put(1, 2, "a", 16).Put(3, 4, "b", 32);
  bad.Add(Type::kDeleteIf, Answer::kOk, 5, 6, "", 48, 16);
  EXPECT_FALSE(bad.Ok());
}

TEST(LinearizabilityTest, ValuesOutOfNowhereAndOfRefusedWrites) {
  EXPECT_FALSE(Builder().Get(1, 2, "x", 16).Ok());
  Builder refused;
  refused.Add(Type::kPut, Answer::kRefused, 1, 2, "a", 0).Get(3, 4, "a", 16);
  EXPECT_FALSE(refused.Ok());
}

TEST(LinearizabilityTest, WeakReadsMayBeOldButNotInvented) {
  History history;
  auto add = [&](Type type, bool weak, int64_t at, const char* value,
                 uint64_t version) {
    Operation o;
    o.type = type;
    o.answer = Answer::kOk;
    o.weak = weak;
    o.key = "k";
    o.value = value;
    o.version = version;
    o.invoked = at;
    o.answered = at + 1;
    history.Invoke(o);
  };
  add(Type::kPut, false, 1, "a", 16);
  add(Type::kPut, false, 3, "b", 32);
  add(Type::kGet, true, 5, "a", 16);
  EXPECT_TRUE(CheckLinearizability(history).ok());
  add(Type::kGet, true, 7, "a", 32);
  EXPECT_FALSE(CheckLinearizability(history).ok());
}

// Runs random operations against a real register: each takes effect at one
// moment between invocation and answer. Some answers get lost.
struct RandomRun {
  explicit RandomRun(uint64_t seed, int count, int clients, int keys)
      : random(seed) {
    struct Register {
      bool present = false;
      std::string value;
      uint64_t version = 0;
    };
    std::vector<Register> registers(keys);
    std::vector<int64_t> free_at(clients, 0);
    struct Plan {
      Operation operation;
      int64_t effect;
      int key;
      bool lost;
    };
    std::vector<Plan> plans;
    for (int i = 0; i < count; ++i) {
      const int client = random.Below(clients);
      Plan plan;
      plan.key = random.Below(keys);
      Operation& o = plan.operation;
      o.client = client;
      o.key = absl::StrCat("k", plan.key);
      o.type = static_cast<Type>(random.Below(5));
      o.invoked = free_at[client] + 1 + random.Below(20);
      plan.effect = o.invoked + random.Below(200);
      o.answered = plan.effect + random.Below(200);
      plan.lost = random.Chance(0.03);
      free_at[client] = o.answered;
      o.value = absl::StrCat("v", i);
      plans.push_back(plan);
    }
    std::stable_sort(
        plans.begin(), plans.end(),
        [](const Plan& a, const Plan& b) { return a.effect < b.effect; });
    uint64_t lsn = 16;
    for (Plan& plan : plans) {
      Operation& o = plan.operation;
      Register& r = registers[plan.key];
      const bool conditional =
          o.type == Type::kCompareAndPut || o.type == Type::kDeleteIf;
      if (conditional) {
        o.expected_version =
            random.Chance(0.7) ? (r.present ? r.version : 0) : lsn - 16;
      }
      const bool writes_value =
          o.type == Type::kPut || o.type == Type::kCompareAndPut;
      if (!writes_value) o.value.clear();
      const uint64_t version = r.present ? r.version : 0;
      o.answer = Answer::kOk;
      if (o.type == Type::kGet) {
        o.answer = r.present ? Answer::kOk : Answer::kNotFound;
        if (r.present) o.value = r.value;
        o.version = version;
      } else if (conditional && o.expected_version != version) {
        o.answer = Answer::kCompareFailed;
        o.version = version;
      } else if (!writes_value && !r.present) {
        o.answer = o.type == Type::kDelete ? Answer::kNotFound
                                           : Answer::kCompareFailed;
        // delete-if 0 of an absent key: neither deletes nor fails; left out.
        if (o.type == Type::kDeleteIf) o.answer = Answer::kRefused;
      } else {
        r.present = writes_value;
        r.value = o.value;
        r.version = o.version = lsn;
        lsn += 16;
      }
      if (plan.lost) {
        o.answer = Answer::kUnknown;
        o.version = 0;
        o.answered = kNever;
        if (o.type == Type::kGet) o.value.clear();
      }
      history.Invoke(o);
    }
  }
  Prng random;
  History history;
};

TEST(LinearizabilityTest, AcceptsRandomRuns) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    RandomRun run(seed, 200, 1 + seed % 32, 1 + seed % 3);
    EXPECT_TRUE(CheckLinearizability(run.history).ok())
        << seed << " " << CheckLinearizability(run.history).problem;
  }
}

TEST(LinearizabilityTest, RejectsMutatedRuns) {
  int tried = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    RandomRun run(seed, 200, 4, 1);
    const auto& all = run.history.operations();
    // A read that answers with what an earlier read had seen, although a
    // write between the two was acknowledged before it began.
    for (size_t i = all.size(); i-- > 0;) {
      if (all[i].type != Type::kGet || all[i].answer != Answer::kOk) continue;
      const Operation* old = nullptr;
      for (const Operation& o : all) {
        const bool write = o.type == Type::kPut && o.answer == Answer::kOk;
        if (!write || o.version >= all[i].version) continue;
        for (const Operation& newer : all) {
          if (newer.type == Type::kPut && newer.answer == Answer::kOk &&
              newer.version > o.version && newer.answered < all[i].invoked) {
            old = &o;
          }
        }
      }
      if (old == nullptr) continue;
      Operation& read = run.history.at(i);
      read.value = old->value;
      read.version = old->version;
      ++tried;
      EXPECT_FALSE(CheckLinearizability(run.history).ok()) << seed;
      break;
    }
  }
  EXPECT_GT(tried, 200);
}

TEST(LinearizabilityTest, RejectsRunsWithALostWrite) {
  int tried = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    RandomRun run(seed, 150, 8, 1);
    const auto& all = run.history.operations();
    // Only the puts stay, and a read that finds none of them.
    History without;
    for (const Operation& o : all) {
      if (o.type == Type::kPut) without.Invoke(o);
    }
    Operation absent;
    absent.type = Type::kGet;
    absent.answer = Answer::kNotFound;
    absent.key = "k0";
    absent.invoked = 1'000'000'000;
    absent.answered = absent.invoked + 1;
    without.Invoke(absent);
    ++tried;
    EXPECT_FALSE(CheckLinearizability(without).ok()) << seed;
  }
  EXPECT_EQ(tried, 200);
}

TEST(LinearizabilityTest, LongHistories) {
  RandomRun run(7, 100'000, 32, 4);
  const Verdict verdict = CheckLinearizability(run.history);
  EXPECT_TRUE(verdict.ok()) << verdict.problem;
}

}  // namespace
}  // namespace whale::checkers

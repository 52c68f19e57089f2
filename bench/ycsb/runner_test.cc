#include "bench/ycsb/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <mutex>
#include <utility>

namespace whale::bench::ycsb {
namespace {

// A map shared by all threads; callbacks come in reverse order.
struct Shared {
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> map;
  size_t most_in_flight = 0;
  bool fail_writes = false;
  bool corrupt_reads = false;
};

class MapStore final : public Store {
 public:
  explicit MapStore(Shared* shared) : shared_(shared) {}

  void Read(std::string_view key, ReadDone done) override {
    absl::StatusOr<std::string> value = absl::NotFoundError("absent");
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      const auto it = shared_->map.find(key);
      if (it != shared_->map.end()) value = it->second;
      if (value.ok() && shared_->corrupt_reads) value->back() ^= 1;
    }
    Add([done = std::move(done), value]() mutable { done(value); });
  }
  void Write(std::string_view key, std::string_view value,
             WriteDone done) override {
    absl::Status status;
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      if (shared_->fail_writes) {
        status = absl::UnavailableError("told to fail");
      } else {
        shared_->map.insert_or_assign(std::string(key), std::string(value));
      }
    }
    Add([done = std::move(done), status]() mutable { done(status); });
  }
  size_t Poll(int64_t) override {
    if (pending_.empty()) return 0;
    auto call = std::move(pending_.back());
    pending_.pop_back();
    call();
    return 1;
  }

 private:
  void Add(absl::AnyInvocable<void()> call) {
    pending_.push_back(std::move(call));
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->most_in_flight =
        std::max(shared_->most_in_flight, pending_.size());
  }
  Shared* shared_;
  std::deque<absl::AnyInvocable<void()>> pending_;
};

class RunnerTest : public testing::Test {
 protected:
  StoreFactory Factory() {
    return [this](int) -> absl::StatusOr<std::unique_ptr<Store>> {
      return std::make_unique<MapStore>(&shared_);
    };
  }
  absl::StatusOr<PhaseResult> Run(Phase phase) {
    return RunPhase(phase, options_, Factory(), &sequence_,
                    [](const Progress&) { return true; });
  }

  Shared shared_;
  RunOptions options_{.workload = *WorkloadByName("a"),
                      .records = 500,
                      .operations = 20'000,
                      .threads = 3,
                      .pipeline = 7,
                      .value_bytes = 100};
  InsertSequence sequence_{500};
};

TEST_F(RunnerTest, LoadWritesEveryRecordOnce) {
  const auto result = Run(Phase::kLoad);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(shared_.map.size(), 500u);
  EXPECT_TRUE(shared_.map.contains(KeyName(0)));
  EXPECT_TRUE(shared_.map.contains(KeyName(499)));
  EXPECT_EQ(result->of(OperationKind::kInsert).ok, 500u);
  EXPECT_EQ(result->operations, 500u);
  EXPECT_EQ(shared_.most_in_flight, 7u);
}

TEST_F(RunnerTest, RunDoesAllOperationsInTheMixAsked) {
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->operations, 20'000u);
  EXPECT_EQ(result->of(OperationKind::kRead).ok +
                result->of(OperationKind::kUpdate).ok,
            20'000u);
  EXPECT_NEAR(result->of(OperationKind::kRead).ok, 10'000, 500);
  EXPECT_EQ(result->failures(), 0u);
  EXPECT_EQ(result->of(OperationKind::kRead).latency_ns.count(),
            result->of(OperationKind::kRead).ok);
}

TEST_F(RunnerTest, InsertsOfWorkloadDAreReadBack) {
  options_.workload = *WorkloadByName("d");
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok());
  const uint64_t inserted = result->of(OperationKind::kInsert).ok;
  EXPECT_NEAR(inserted, 1000, 200);
  EXPECT_EQ(shared_.map.size(), 500 + inserted);
  EXPECT_EQ(sequence_.stored(), 500 + inserted);
  EXPECT_EQ(result->of(OperationKind::kRead).not_found, 0u);
}

TEST_F(RunnerTest, ReadModifyWriteCountsAsAllThree) {
  options_.workload = *WorkloadByName("f");
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok());
  const uint64_t both = result->of(OperationKind::kReadModifyWrite).ok;
  EXPECT_NEAR(both, 10'000, 500);
  EXPECT_EQ(result->of(OperationKind::kUpdate).ok, both);
  EXPECT_EQ(result->of(OperationKind::kRead).ok, 20'000u);
  EXPECT_EQ(result->operations, 20'000u);
}

TEST_F(RunnerTest, MissingRecordsAreCountedNotFailures) {
  const auto result = Run(Phase::kRun);  // nothing was loaded
  ASSERT_TRUE(result.ok());
  EXPECT_GT(result->of(OperationKind::kRead).not_found, 0u);
  EXPECT_EQ(result->failures(), 0u);
}

TEST_F(RunnerTest, WrongBytesAreSeen) {
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  shared_.corrupt_reads = true;
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->of(OperationKind::kRead).wrong_value,
            result->of(OperationKind::kRead).ok);
  EXPECT_TRUE(result->errors.contains("WRONG_VALUE"));
}

TEST_F(RunnerTest, GivesUpWhenNothingWorks) {
  shared_.fail_writes = true;
  const auto result = Run(Phase::kLoad);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->gave_up);
  EXPECT_LT(result->operations, 500u);
  EXPECT_EQ(result->errors.at("UNAVAILABLE"), "told to fail");
}

TEST_F(RunnerTest, AStoreThatCannotBeOpenedEndsThePhase) {
  const StoreFactory open =
      [this](int thread) -> absl::StatusOr<std::unique_ptr<Store>> {
    if (thread == 1) return absl::UnavailableError("nobody there");
    return std::make_unique<MapStore>(&shared_);
  };
  const auto result = RunPhase(Phase::kLoad, options_, open, &sequence_,
                               [](const Progress&) { return true; });
  EXPECT_EQ(result.status().message(), "nobody there");
  EXPECT_TRUE(shared_.map.empty());
}

TEST_F(RunnerTest, OneThreadAndOneSeedGiveTheSameData) {
  options_.threads = 1;
  options_.pipeline = 1;
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  ASSERT_TRUE(Run(Phase::kRun).ok());
  const auto first = std::exchange(shared_.map, {});
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  ASSERT_TRUE(Run(Phase::kRun).ok());
  EXPECT_EQ(first, shared_.map);
  options_.seed = 2;
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  EXPECT_NE(first, shared_.map);
}

TEST_F(RunnerTest, ProcessesShareTheWorkAndTheirInsertsDoNotCollide) {
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  options_.workload = *WorkloadByName("d");
  options_.processes = 2;
  uint64_t operations = 0, inserts = 0;
  for (options_.process = 0; options_.process < 2; ++options_.process) {
    InsertSequence sequence(500, options_.process, 2);
    const auto result = RunPhase(Phase::kRun, options_, Factory(), &sequence,
                                 [](const Progress&) { return true; });
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->failures(), 0u);
    EXPECT_EQ(result->of(OperationKind::kRead).not_found, 0u);
    operations += result->operations;
    inserts += result->of(OperationKind::kInsert).ok;
  }
  EXPECT_EQ(operations, 20'000u);
  EXPECT_EQ(shared_.map.size(), 500u + inserts);
}

TEST_F(RunnerTest, TheSeriesHasEveryOperationOnce) {
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  options_.workload = *WorkloadByName("f");
  options_.interval_ns = 1'000'000;
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok());
  uint64_t sum = 0;
  for (const Histogram& interval : result->series) sum += interval.count();
  EXPECT_EQ(sum, 20'000u);
  EXPECT_GT(result->series.size(), 1u);
}

TEST_F(RunnerTest, WarmingUpIsNotCounted) {
  ASSERT_TRUE(Run(Phase::kLoad).ok());
  options_.warmup_ns = 5'000'000;
  options_.operations = 300;
  const auto result = Run(Phase::kRun);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->operations, 300u);
  EXPECT_EQ(result->of(OperationKind::kRead).ok +
                result->of(OperationKind::kUpdate).ok,
            300u);
}

// Answers nothing for a while, once.
class StallingStore final : public Store {
 public:
  void Read(std::string_view, ReadDone done) override {
    pending_.push_back([done = std::move(done)]() mutable {
      done(absl::NotFoundError("nothing is stored"));
    });
  }
  void Write(std::string_view, std::string_view, WriteDone) override {}
  size_t Poll(int64_t) override {
    if (!stalled_ && !pending_.empty()) {
      stalled_ = true;
      SleepUntil(MonotonicNs() + kStallNs);
    }
    const size_t count = pending_.size();
    for (auto& call : pending_) call();
    pending_.clear();
    return count;
  }
  static constexpr int64_t kStallNs = 100'000'000;

 private:
  std::vector<absl::AnyInvocable<void()>> pending_;
  bool stalled_ = false;
};

TEST(OpenLoop, AStallIsChargedToAllThatWasDueMeanwhile) {
  const StoreFactory open = [](int) -> absl::StatusOr<std::unique_ptr<Store>> {
    return std::make_unique<StallingStore>();
  };
  RunOptions options{.workload = *WorkloadByName("c"),
                     .records = 1,
                     .operations = 200,
                     .pipeline = 1,
                     .rate = 1000};
  InsertSequence sequence(1);
  const auto result = RunPhase(Phase::kRun, options, open, &sequence,
                               [](const Progress&) { return true; });
  ASSERT_TRUE(result.ok());
  // The first one stalls for as long as 100 more become due. A closed loop
  // would see a single slow operation.
  const Histogram& latency = result->of(OperationKind::kRead).latency_ns;
  EXPECT_GE(latency.max(), StallingStore::kStallNs);
  EXPECT_GE(latency.Percentile(75), StallingStore::kStallNs / 4);
  EXPECT_GE(result->elapsed_ns, 199'000'000);
}

}  // namespace
}  // namespace whale::bench::ycsb

// The loop's thread among threads that ask it, without gRPC, so that the thread
// sanitizer sees all there is.

#include "control/coordinator_loop.h"

#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

// A store in memory that outlives the loop.
class MemoryStore final : public ConfigStore {
 public:
  explicit MemoryStore(std::optional<proto::StoredState>* state)
      : state_(state) {}
  absl::StatusOr<std::optional<proto::StoredState>> Load() override {
    return *state_;
  }
  absl::Status CompareAndSwap(uint64_t expected_revision,
                              const proto::StoredState& next) override {
    const uint64_t revision = *state_ ? (*state_)->revision() : 0;
    if (revision != expected_revision) return absl::AbortedError("revision");
    *state_ = next;
    return absl::OkStatus();
  }
  int64_t LeadershipEndNs() const override { return INT64_MAX; }
  std::string Name() const override { return "memory"; }

 private:
  std::optional<proto::StoredState>* const state_;
};

// Waits for the answer of an asynchronous call.
template <typename T>
class Answer {
 public:
  CoordinatorLoop::Callback<T> Callback() {
    return [this](absl::StatusOr<T> answer) {
      promise_.set_value(std::move(answer));
    };
  }
  absl::StatusOr<T> Get() { return promise_.get_future().get(); }

 private:
  std::promise<absl::StatusOr<T>> promise_;
};

class CoordinatorLoopTest : public ::testing::Test {
 protected:
  CoordinatorLoopTest() {
    options_.new_cluster_uuid = "0123456789abcdef";
    options_.cluster.shard_count = 2;
    options_.cluster.lease_us = kMaxLeaseUs;  // nobody renews here
    for (uint32_t id = 1; id <= 3; ++id) {
      servers_.push_back(std::make_unique<FakeServer>(id, 10 + id));
    }
  }

  ~CoordinatorLoopTest() override {
    if (loop_) loop_->Stop();
  }

  void Start() {
    auto loop = CoordinatorLoop::Create(
        options_, std::make_unique<MemoryStore>(&state_), &clock_);
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    // Runs on the loop's thread: the answer of a server is a new event.
    loop_->Start([this](const SendDirective& send) {
      FakeServer& server = *servers_[send.server.value() - 1];
      std::unique_lock lock(mutex_);
      if (!server.Obey(send.directive)) return;
      proto::ServerReport report = server.Report();
      lock.unlock();
      loop_->Report(std::move(report), [] {});
    });
  }
  void Attach() {
    for (auto& server : servers_) {
      std::unique_lock lock(mutex_);
      proto::ServerReport report = server->Report();
      lock.unlock();
      loop_->Report(std::move(report), [] {});
    }
  }
  proto::ClusterMap WaitForActive() {
    for (uint64_t known = 0;;) {
      Answer<proto::ClusterMap> answer;
      loop_->GetMap(known, 10'000'000, answer.Callback());
      const proto::ClusterMap map = answer.Get().value();
      bool active = map.shards_size() != 0;
      for (const auto& shard : map.shards()) active &= shard.active();
      if (active) return map;
      known = map.version();
    }
  }

  BootClock clock_;
  CoreOptions options_;
  std::optional<proto::StoredState> state_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<FakeServer>> servers_;  // guarded by mutex_
  std::unique_ptr<CoordinatorLoop> loop_;  // last: its thread uses the others
};

TEST_F(CoordinatorLoopTest, ManyThreadsGetDistinctSessions) {
  Start();
  Attach();
  WaitForActive();
  constexpr int kThreads = 4, kEach = 600;
  std::mutex mutex;
  std::set<uint64_t> sessions;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        Answer<proto::OpenSessionReply> answer;
        loop_->OpenSession(answer.Callback());
        const uint64_t session = answer.Get().value().session();
        std::lock_guard lock(mutex);
        sessions.insert(session);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sessions.size(), size_t{kThreads * kEach});
}

TEST_F(CoordinatorLoopTest, AllWhoWaitForTheMapAreAnsweredWhenItChanges) {
  Start();
  Attach();
  const uint64_t known = WaitForActive().version();
  std::vector<Answer<proto::ClusterMap>> answers(20);
  for (auto& answer : answers) {
    loop_->GetMap(known, 10'000'000, answer.Callback());
  }
  loop_->Gone(ServerId(2), Incarnation(12));
  for (auto& answer : answers) {
    EXPECT_NE(answer.Get().value().version(), known);
  }
}

TEST_F(CoordinatorLoopTest, PolicyIsAnsweredWhenItIsInForce) {
  Start();
  Attach();
  WaitForActive();
  proto::SetPolicyRequest request;
  request.mutable_policy()->set_mirrors(0);
  Answer<proto::AdminReply> answer;
  loop_->SetPolicy(request, answer.Callback());
  EXPECT_EQ(answer.Get().value().message(), "the policy is in force");
  const proto::ClusterMap map = WaitForActive();
  for (const auto& shard : map.shards()) {
    EXPECT_EQ(shard.policy().mirrors(), 0u);
    EXPECT_EQ(shard.epoch(), 2u);
  }
}

TEST_F(CoordinatorLoopTest, StopAnswersWhoWaitsAndWhoComesLater) {
  Start();
  Attach();
  const uint64_t known = WaitForActive().version();
  Answer<proto::ClusterMap> waiting, later;
  loop_->GetMap(known, 10'000'000, waiting.Callback());
  loop_->Stop();
  loop_->GetMap(0, 0, later.Callback());
  EXPECT_EQ(waiting.Get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(later.Get().status().code(), absl::StatusCode::kUnavailable);
  bool read_on = false;
  loop_->Report({}, [&] { read_on = true; });
  EXPECT_TRUE(read_on);
}

TEST_F(CoordinatorLoopTest, AnotherLoopGoesOnFromTheStore) {
  Start();
  Attach();
  const proto::ClusterMap before = WaitForActive();
  loop_->Stop();
  Start();
  Attach();
  const proto::ClusterMap after = WaitForActive();
  EXPECT_GT(after.version(), before.version());
  EXPECT_EQ(after.cluster_uuid(), before.cluster_uuid());
  EXPECT_EQ(after.shards(0).epoch(), 1u);
}

TEST_F(CoordinatorLoopTest, DamagedStateIsNotServed) {
  state_.emplace();
  state_->set_format_version(kStoredFormatVersion);
  state_->set_revision(3);
  const auto loop = CoordinatorLoop::Create(
      options_, std::make_unique<MemoryStore>(&state_), &clock_);
  EXPECT_EQ(loop.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(loop.status().message()),
              HasSubstr("contradicts itself"));
}

}  // namespace
}  // namespace whale::control

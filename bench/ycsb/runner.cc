#include "bench/ycsb/runner.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "bench/ycsb/worker.h"
#include "common/check.h"

namespace whale::bench::ycsb {
namespace {

using SteadyClock = std::chrono::steady_clock;

int64_t NsBetween(SteadyClock::time_point a, SteadyClock::time_point b) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(b - a).count();
}

void PinThisThread(const std::vector<int>& cpus, uint32_t thread) {
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus[thread % cpus.size()], &set);
  // A CPU that does not exist was refused when the flags were read.
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// The threads of a phase: all open their stores first, then start together.
class Crew {
 public:
  Crew(Phase phase, const RunOptions& options, const StoreFactory& open,
       InsertSequence* sequence)
      : phase_(phase),
        options_(options),
        open_(open),
        sequence_(sequence),
        total_(phase == Phase::kLoad ? options.records : options.operations),
        workers_(options.threads) {}

  absl::StatusOr<PhaseResult> Run(
      const std::function<bool(const Progress&)>& report) {
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < options_.threads; ++t) {
      threads.emplace_back([this, t] { Thread(t); });
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ready_ == options_.threads; });
    const auto start = SteadyClock::now();
    go_ = true;
    changed_.notify_all();
    if (status_.ok()) Watch(lock, start, report);
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
    if (!status_.ok()) return status_;
    if (cancelled_) return absl::CancelledError("interrupted");
    return Collect(NsBetween(start, end_));
  }

 private:
  void Thread(uint32_t t) {
    PinThisThread(options_.pin_cpus, t);
    auto store = open_(static_cast<int>(t));
    std::unique_lock<std::mutex> lock(mutex_);
    if (store.ok()) {
      workers_[t] = std::make_unique<Worker>(
          phase_, options_, Worker::Share{t, options_.threads, total_},
          sequence_, store->get(), &cancel_);
    } else if (status_.ok()) {
      status_ = store.status();
    }
    ++ready_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return go_; });
    if (!status_.ok()) return;
    lock.unlock();
    workers_[t]->Run();
    lock.lock();
    end_ = SteadyClock::now();
    ++finished_;
    changed_.notify_all();
  }

  // Reports once a second until all have finished. `lock` holds mutex_.
  void Watch(std::unique_lock<std::mutex>& lock, SteadyClock::time_point start,
             const std::function<bool(const Progress&)>& report) {
    uint64_t last_done = 0;
    auto last = start;
    const auto finished = [this] { return finished_ == options_.threads; };
    while (
        !changed_.wait_until(lock, last + std::chrono::seconds(1), finished)) {
      const auto now = SteadyClock::now();
      uint64_t done = 0;
      for (const auto& worker : workers_) done += worker->done();
      const Progress progress{phase_,           NsBetween(start, now), done,
                              done - last_done, NsBetween(last, now),  total_};
      if (!report(progress)) {
        cancel_.store(true, std::memory_order_relaxed);
        cancelled_ = true;
      }
      last_done = done;
      last = now;
    }
  }

  PhaseResult Collect(int64_t elapsed_ns) const {
    PhaseResult all;
    all.phase = phase_;
    all.elapsed_ns = std::max<int64_t>(elapsed_ns, 1);
    for (const auto& worker : workers_) {
      const PhaseResult& one = worker->result();
      for (int i = 0; i < kOperationKinds; ++i) {
        all.kinds[i].Merge(one.kinds[i]);
      }
      all.operations += worker->done();
      all.errors.insert(one.errors.begin(), one.errors.end());
      all.gave_up |= one.gave_up;
    }
    return all;
  }

  const Phase phase_;
  const RunOptions& options_;
  const StoreFactory& open_;
  InsertSequence* const sequence_;
  const uint64_t total_;
  std::atomic<bool> cancel_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, except that a worker belongs to its thread between
  // go_ and finished_.
  std::vector<std::unique_ptr<Worker>> workers_;
  absl::Status status_;
  uint32_t ready_ = 0;
  uint32_t finished_ = 0;
  bool go_ = false;
  bool cancelled_ = false;
  SteadyClock::time_point end_;
};

}  // namespace

void OperationStats::Merge(const OperationStats& other) {
  latency_ns.Merge(other.latency_ns);
  ok += other.ok;
  not_found += other.not_found;
  failed += other.failed;
  wrong_value += other.wrong_value;
}

uint64_t PhaseResult::failures() const {
  uint64_t sum = 0;
  for (const OperationStats& stats : kinds) {
    sum += stats.failed + stats.wrong_value;
  }
  return sum;
}

double PhaseResult::throughput() const {
  return static_cast<double>(operations) * 1e9 /
         static_cast<double>(elapsed_ns);
}

absl::StatusOr<PhaseResult> RunPhase(
    Phase phase, const RunOptions& options, const StoreFactory& open,
    InsertSequence* sequence,
    const std::function<bool(const Progress&)>& report) {
  WHALE_CHECK(options.threads > 0 && options.pipeline > 0);
  return Crew(phase, options, open, sequence).Run(report);
}

}  // namespace whale::bench::ycsb

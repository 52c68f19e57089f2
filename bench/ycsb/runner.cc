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

void PinThisThread(const std::vector<int>& cpus, uint64_t thread) {
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
      const std::function<bool(const Progress&)>& report,
      const std::function<int64_t()>& start) {
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < options_.threads; ++t) {
      threads.emplace_back([this, t] { Thread(t); });
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ready_ == options_.threads; });
    if (status_.ok()) start_ns_ = start();
    go_ = true;
    changed_.notify_all();
    if (status_.ok()) Watch(lock, report);
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
    if (!status_.ok()) return status_;
    if (cancelled_) return absl::CancelledError("interrupted");
    return Collect();
  }

 private:
  void Thread(uint32_t t) {
    PinThisThread(options_.pin_cpus, ShareOf(t).first);
    auto store = open_(static_cast<int>(t));
    std::unique_lock<std::mutex> lock(mutex_);
    if (store.ok()) {
      workers_[t] = std::make_unique<Worker>(phase_, options_, ShareOf(t),
                                             sequence_, store->get(), &cancel_);
    } else if (status_.ok()) {
      status_ = store.status();
    }
    ++ready_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return go_; });
    if (!status_.ok()) return;
    lock.unlock();
    workers_[t]->Run(start_ns_);
    lock.lock();
    ++finished_;
    changed_.notify_all();
  }

  // Threads of all processes take turns.
  Worker::Share ShareOf(uint32_t thread) const {
    return {options_.process * options_.threads + thread,
            options_.processes * options_.threads, total_};
  }

  // Reports once a second until all have finished. `lock` holds mutex_.
  void Watch(std::unique_lock<std::mutex>& lock,
             const std::function<bool(const Progress&)>& report) {
    uint64_t last_done = 0;
    const SteadyClock::time_point start{std::chrono::nanoseconds(start_ns_)};
    auto last = start;
    const auto finished = [this] { return finished_ == options_.threads; };
    while (
        !changed_.wait_until(lock, last + std::chrono::seconds(1), finished)) {
      const auto now = SteadyClock::now();
      uint64_t done = 0;
      for (const auto& worker : workers_) done += worker->done();
      // What was done while warming up does not count.
      const uint64_t recent = done - std::min(done, last_done);
      const Progress progress{phase_, NsBetween(start, now), done,
                              recent, NsBetween(last, now),  total_};
      if (!report(progress)) {
        cancel_.store(true, std::memory_order_relaxed);
        cancelled_ = true;
      }
      last_done = done;
      last = now;
    }
  }

  PhaseResult Collect() const {
    PhaseResult all;
    all.phase = phase_;
    for (const auto& worker : workers_) all.Merge(worker->result());
    all.elapsed_ns = std::max<int64_t>(all.elapsed_ns, 1);
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
  int64_t start_ns_ = 0;
};

}  // namespace

void OperationStats::Merge(const OperationStats& other) {
  latency_ns.Merge(other.latency_ns);
  ok += other.ok;
  not_found += other.not_found;
  failed += other.failed;
  wrong_value += other.wrong_value;
}

void PhaseResult::Merge(const PhaseResult& other) {
  elapsed_ns = std::max(elapsed_ns, other.elapsed_ns);
  operations += other.operations;
  for (int i = 0; i < kOperationKinds; ++i) kinds[i].Merge(other.kinds[i]);
  errors.insert(other.errors.begin(), other.errors.end());
  gave_up |= other.gave_up;
  if (series.size() < other.series.size()) series.resize(other.series.size());
  for (size_t i = 0; i < other.series.size(); ++i) {
    series[i].Merge(other.series[i]);
  }
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
    const std::function<bool(const Progress&)>& report,
    const std::function<int64_t()>& start) {
  WHALE_CHECK(options.threads > 0 && options.pipeline > 0 &&
              options.process < options.processes && options.interval_ns > 0);
  return Crew(phase, options, open, sequence).Run(report, start);
}

}  // namespace whale::bench::ycsb

#include "bench/ycsb/worker.h"

#include <algorithm>
#include <string>

#include "bench/monotonic.h"

namespace whale::bench::ycsb {
namespace {

constexpr int64_t kLongestWaitNs = 10'000'000;
// What a sleep may take longer than asked: so much sooner it ends, and what is
// left is spun, so that an operation starts when it is due.
constexpr int64_t kOversleepNs = 100'000;

// Streams of one seed that have nothing in common.
uint64_t StreamSeed(uint64_t seed, uint64_t thread, uint64_t stream) {
  return FnvHash64(FnvHash64(FnvHash64(seed) + thread) + stream);
}

}  // namespace

Worker::Worker(Phase phase, const RunOptions& options, const Share& share,
               InsertSequence* sequence, Store* store,
               std::atomic<bool>* cancel)
    : phase_(phase),
      options_(options),
      sequence_(sequence),
      store_(store),
      cancel_(cancel),
      share_(share),
      open_loop_(phase == Phase::kRun && options.rate > 0),
      stamps_(
          StreamSeed(options.seed, share.first, phase == Phase::kLoad ? 1 : 2)),
      values_(options.value_bytes),
      slots_(options.pipeline) {
  if (phase == Phase::kRun) {
    chooser_.emplace(options.workload, sequence,
                     StreamSeed(options.seed, share.first, 3));
  }
  for (uint32_t i = options.pipeline; i > 0; --i) free_.push_back(i - 1);
}

void Worker::Run(int64_t start_ns) {
  SleepUntil(start_ns);
  if (phase_ == Phase::kRun && options_.warmup_ns > 0) {
    Stage(start_ns, start_ns + options_.warmup_ns);
    if (cancel_->load(std::memory_order_relaxed)) return;
    result_ = PhaseResult{};
    done_.store(0, std::memory_order_relaxed);
    start_ns += options_.warmup_ns;
  }
  Stage(start_ns, INT64_MAX);
  result_.elapsed_ns = MonotonicNs() - start_ns;
  result_.operations = done();
}

void Worker::Stage(int64_t start_ns, int64_t end_ns) {
  next_ = share_.first;
  stage_start_ns_ = start_ns;
  stage_end_ns_ = end_ns;
  while (More() || free_.size() < slots_.size()) {
    StartDue();
    Wait();
  }
}

bool Worker::More() const {
  if (cancel_->load(std::memory_order_relaxed)) return false;
  if (stage_end_ns_ == INT64_MAX) return next_ < share_.total;
  return MonotonicNs() < stage_end_ns_;
}

int64_t Worker::DueNs() const {
  return stage_start_ns_ +
         static_cast<int64_t>(static_cast<double>(next_) * 1e9 / options_.rate);
}

// What starts together is timed from the same moment: with a closed loop that
// of the first.
void Worker::StartDue() {
  if (free_.empty()) return;
  const int64_t now_ns = MonotonicNs();
  while (!free_.empty() && More()) {
    int64_t start_ns = now_ns;
    if (open_loop_) {
      start_ns = DueNs();
      if (start_ns > now_ns) return;
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    Start(slot, start_ns);
    next_ += share_.step;
  }
}

// For an answer, or until the next operation is due.
void Worker::Wait() {
  int64_t wait_ns = kLongestWaitNs;
  if (open_loop_ && !free_.empty() && More()) {
    const int64_t left_ns = DueNs() - MonotonicNs() - kOversleepNs;
    wait_ns = std::clamp<int64_t>(left_ns, 0, kLongestWaitNs);
    if (free_.size() == slots_.size() && wait_ns > 0) {
      SleepUntil(MonotonicNs() + wait_ns);
    }
  }
  store_->Poll(wait_ns);
}

void Worker::Start(uint32_t slot, int64_t start_ns) {
  Slot& s = slots_[slot];
  s.kind =
      phase_ == Phase::kLoad ? OperationKind::kInsert : chooser_->NextKind();
  if (phase_ == Phase::kLoad) {
    s.number = next_;
  } else if (s.kind == OperationKind::kInsert) {
    s.record = sequence_->Next();
    s.number = sequence_->NumberOf(s.record);
  } else {
    s.number = chooser_->NextRecord();
  }
  s.start_ns = s.half_ns = start_ns;
  if (s.kind == OperationKind::kRead ||
      s.kind == OperationKind::kReadModifyWrite) {
    StartRead(slot);
  } else {
    StartWrite(slot);
  }
}

void Worker::StartRead(uint32_t slot) {
  KeyBuffer key;
  store_->Read(
      KeyName(slots_[slot].number, &key),
      [this, slot](absl::StatusOr<std::string> value) { OnRead(slot, value); });
}

void Worker::StartWrite(uint32_t slot) {
  const uint64_t number = slots_[slot].number;
  KeyBuffer key;
  store_->Write(KeyName(number, &key), values_.Make(number, stamps_.Next()),
                [this, slot](absl::Status status) { OnWritten(slot, status); });
}

void Worker::OnRead(uint32_t slot, const absl::StatusOr<std::string>& value) {
  Slot& s = slots_[slot];
  const bool ok = Count(OperationKind::kRead, value.status(), s.start_ns);
  if (ok && !values_.Matches(s.number, *value)) {
    ++result_.kinds[static_cast<int>(OperationKind::kRead)].wrong_value;
    result_.errors.try_emplace("WRONG_VALUE",
                               "the bytes read under " + KeyName(s.number) +
                                   " were never written under that key");
  }
  if (s.kind == OperationKind::kRead) {
    Finish(slot);
  } else if (!ok) {
    Count(s.kind, value.status(), s.start_ns);
    Finish(slot);
  } else {
    s.half_ns = MonotonicNs();
    StartWrite(slot);
  }
}

void Worker::OnWritten(uint32_t slot, const absl::Status& status) {
  Slot& s = slots_[slot];
  if (s.kind == OperationKind::kReadModifyWrite) {
    Count(OperationKind::kUpdate, status, s.half_ns);
  }
  Count(s.kind, status, s.start_ns);
  // A failed insert must not hide the later ones from readers.
  if (phase_ == Phase::kRun && s.kind == OperationKind::kInsert) {
    sequence_->Stored(s.record);
  }
  Finish(slot);
}

bool Worker::Count(OperationKind kind, const absl::Status& status,
                   int64_t start_ns) {
  OperationStats& stats = result_.kinds[static_cast<int>(kind)];
  finished_ns_ = MonotonicNs();
  if (status.ok() || absl::IsNotFound(status)) {
    status.ok() ? ++stats.ok : ++stats.not_found;
    stats.latency_ns.Record(finished_ns_ - start_ns);
    failures_in_a_row_ = 0;
    return status.ok();
  }
  ++stats.failed;
  result_.errors.try_emplace(absl::StatusCodeToString(status.code()),
                             std::string(status.message()));
  if (++failures_in_a_row_ >= options_.max_failures_in_a_row) {
    result_.gave_up = true;
    cancel_->store(true, std::memory_order_relaxed);
  }
  return false;
}

// Into the interval in which it finished.
void Worker::Record(const Slot& slot) {
  const auto interval = static_cast<size_t>((finished_ns_ - stage_start_ns_) /
                                            options_.interval_ns);
  if (result_.series.size() <= interval) result_.series.resize(interval + 1);
  result_.series[interval].Record(finished_ns_ - slot.start_ns);
}

void Worker::Finish(uint32_t slot) {
  Record(slots_[slot]);
  free_.push_back(slot);
  done_.store(done_.load(std::memory_order_relaxed) + 1,
              std::memory_order_relaxed);
}

}  // namespace whale::bench::ycsb

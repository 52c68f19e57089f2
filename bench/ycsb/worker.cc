#include "bench/ycsb/worker.h"

#include <time.h>

#include <string>

namespace whale::bench::ycsb {
namespace {

int64_t NowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

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
      next_(share.first),
      step_(share.step),
      total_(share.total),
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

bool Worker::More() const {
  return next_ < total_ && !cancel_->load(std::memory_order_relaxed);
}

void Worker::Run() {
  while (More() || free_.size() < slots_.size()) {
    while (!free_.empty() && More()) {
      const uint32_t slot = free_.back();
      free_.pop_back();
      Start(slot);
      next_ += step_;
    }
    store_->Poll();
  }
}

void Worker::Start(uint32_t slot) {
  Slot& s = slots_[slot];
  s.kind =
      phase_ == Phase::kLoad ? OperationKind::kInsert : chooser_->NextKind();
  if (phase_ == Phase::kLoad) {
    s.number = next_;
  } else if (s.kind == OperationKind::kInsert) {
    s.number = sequence_->Next();
  } else {
    s.number = chooser_->NextRecord();
  }
  s.start_ns = s.half_ns = NowNs();
  if (s.kind == OperationKind::kRead ||
      s.kind == OperationKind::kReadModifyWrite) {
    StartRead(slot);
  } else {
    StartWrite(slot);
  }
}

void Worker::StartRead(uint32_t slot) {
  store_->Read(
      KeyName(slots_[slot].number),
      [this, slot](absl::StatusOr<std::string> value) { OnRead(slot, value); });
}

void Worker::StartWrite(uint32_t slot) {
  const uint64_t number = slots_[slot].number;
  store_->Write(KeyName(number), values_.Make(number, stamps_.Next()),
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
    s.half_ns = NowNs();
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
    sequence_->Stored(s.number);
  }
  Finish(slot);
}

bool Worker::Count(OperationKind kind, const absl::Status& status,
                   int64_t start_ns) {
  OperationStats& stats = result_.kinds[static_cast<int>(kind)];
  if (status.ok() || absl::IsNotFound(status)) {
    status.ok() ? ++stats.ok : ++stats.not_found;
    stats.latency_ns.Record(NowNs() - start_ns);
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

void Worker::Finish(uint32_t slot) {
  free_.push_back(slot);
  done_.store(done_.load(std::memory_order_relaxed) + 1,
              std::memory_order_relaxed);
}

}  // namespace whale::bench::ycsb

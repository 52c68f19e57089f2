#include "tools/snapshot.h"

namespace whale::tools {

std::optional<Snapshot> SnapshotExchange::Get(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t seen = generation_;
  wanted_.store(true, std::memory_order_relaxed);
  wake_();
  const bool answered =
      published_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                          [this, seen] { return generation_ != seen; });
  if (!answered) return std::nullopt;
  return snapshot_;
}

void SnapshotExchange::Publish(const node::Server& server) {
  const std::lock_guard<std::mutex> lock(mutex_);
  wanted_.store(false, std::memory_order_relaxed);
  snapshot_.counters = server.counters();
  snapshot_.report = server.last_report();
  if (verbs_ != nullptr) {
    snapshot_.verbs = verbs_->counters();
    snapshot_.verbs_description = verbs_->description();
  }
  ++generation_;
  published_.notify_all();
}

}  // namespace whale::tools

// How a worker's counters get to the HTTP threads without locks on the worker's
// way: a reader asks, wakes the worker and waits; the worker answers between
// two turns.
//
// Thread-safety: Get from any thread; PublishIfWanted from the worker.
#ifndef WHALE_TOOLS_SNAPSHOT_H_
#define WHALE_TOOLS_SNAPSHOT_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "fabric/verbs/verbs_fabric.h"
#include "node/server.h"

namespace whale::tools {

struct Snapshot {
  node::Server::Counters counters;
  // Of the fabric verbs, if that is in use; and what it chose.
  std::optional<fabric::VerbsFabric::Counters> verbs;
  std::string verbs_description;
  proto::ServerReport report;
};

class SnapshotExchange {
 public:
  // `wake` ends the worker's sleep.
  explicit SnapshotExchange(std::function<void()> wake)
      : wake_(std::move(wake)) {}

  // A snapshot taken after the call began; nullopt: the worker did not answer
  // in time, it hangs or has ended.
  std::optional<Snapshot> Get(absl::Duration timeout);

  // The fabric whose counters are published, too. Before the worker runs.
  void set_verbs(const fabric::VerbsFabric* verbs) { verbs_ = verbs; }

  void PublishIfWanted(const node::Server& server) {
    if (wanted_.load(std::memory_order_relaxed)) Publish(server);
  }

 private:
  void Publish(const node::Server& server);

  const std::function<void()> wake_;
  const fabric::VerbsFabric* verbs_ = nullptr;
  std::atomic<bool> wanted_{false};
  std::mutex mutex_;
  std::condition_variable published_;
  uint64_t generation_ = 0;  // of snapshot_; guarded by mutex_
  Snapshot snapshot_;        // guarded by mutex_
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SNAPSHOT_H_

// The loop of a worker thread: directives in, turns of the server, a short
// spin, sleep.
//
// A worker that has nothing to do looks for work for a while (at most
// `most_spin_ns`, see AdaptiveSpin), then sleeps until a message, a
// doorbell or a deadline of the server ends it: an idle server uses next to no
// CPU, a busy one never waits for a wake-up.
//
// Thread-safety: Run on the worker's thread; Post and Stop from any thread.
// Ownership: server, fabric and clock outlive the loop.
#ifndef WHALE_TOOLS_WORKER_LOOP_H_
#define WHALE_TOOLS_WORKER_LOOP_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "common/adaptive_spin.h"
#include "common/clock.h"
#include "fabric/fabric.h"
#include "node/server.h"
#include "tools/snapshot.h"

namespace whale::tools {

class WorkerLoop {
 public:
  WorkerLoop(fabric::Fabric* fabric, Clock* clock, int64_t most_spin_ns);

  // Runs until Stop, or until the coordinator refuses the server; then shuts
  // the server down. Returns why it was refused; empty otherwise.
  std::string Run(node::Server* server);

  void Post(const proto::Directive& directive);
  void Stop();
  SnapshotExchange& snapshots() { return snapshots_; }

 private:
  void TakeDirectives(node::Server* server);
  void Shutdown(node::Server* server);

  fabric::Fabric* const fabric_;
  Clock* const clock_;
  AdaptiveSpin spin_;
  SnapshotExchange snapshots_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> has_directives_{false};
  std::mutex mutex_;
  std::deque<proto::Directive> directives_;  // guarded by mutex_
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_WORKER_LOOP_H_

#include "tools/worker_loop.h"

namespace whale::tools {
namespace {

// A server that shuts down persists and tells its peers; what takes longer
// than this waits for somebody who does not answer.
constexpr int64_t kShutdownNs = 2'000'000'000;

}  // namespace

WorkerLoop::WorkerLoop(fabric::Fabric* fabric, Clock* clock,
                       int64_t most_spin_ns)
    : fabric_(fabric),
      clock_(clock),
      spin_(clock, most_spin_ns),
      snapshots_([fabric] { fabric->Wake(); }) {}

std::string WorkerLoop::Run(node::Server* server) {
  while (!stop_.load(std::memory_order_relaxed)) {
    TakeDirectives(server);
    snapshots_.PublishIfWanted(*server);
    const bool worked = server->Step();
    if (!server->refused().empty()) return server->refused();
    const int64_t now_ns = clock_->NowNs();
    if (worked) {
      if (server->urgent()) spin_.OnWork(now_ns);
    } else if (!spin_.KeepLooking(now_ns)) {
      spin_.OnSleep();
      fabric_->Wait(server->NextDeadlineNs());
    }
  }
  Shutdown(server);
  return "";
}

void WorkerLoop::Shutdown(node::Server* server) {
  const int64_t end_ns = clock_->NowNs() + kShutdownNs;
  server->Shutdown();
  while (server->Step() && clock_->NowNs() < end_ns) {
    TakeDirectives(server);
  }
}

void WorkerLoop::TakeDirectives(node::Server* server) {
  if (!has_directives_.load(std::memory_order_acquire)) return;
  std::deque<proto::Directive> directives;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    directives.swap(directives_);
    has_directives_.store(false, std::memory_order_relaxed);
  }
  for (const proto::Directive& directive : directives) {
    server->OnDirective(directive);
  }
}

void WorkerLoop::Post(const proto::Directive& directive) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    directives_.push_back(directive);
    has_directives_.store(true, std::memory_order_release);
  }
  fabric_->Wake();
}

void WorkerLoop::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  fabric_->Wake();
}

}  // namespace whale::tools

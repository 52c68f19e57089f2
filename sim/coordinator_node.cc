#include "sim/coordinator_node.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::sim {

inline constexpr int64_t kTickNs = 50 * kMillisecond;

void CoordinatorNode::Start() {
  if (running()) return;
  if (world_->now_ns() < store_->led_until_ns()) {
    world_->At(store_->led_until_ns(), [this] { Start(); });
    return;
  }
  ++life_;
  store_lost_ = false;
  auto stored = store_->Load();
  core_ = std::make_unique<control::CoordinatorCore>(
      options_, *std::move(stored), clock_->NowNs());
  world_->Trace("coordinator starts");
  Feed([](control::CoordinatorCore* core, int64_t now,
          control::Effects* effects) { core->Start(now, effects); });
  Tick();
}

void CoordinatorNode::Crash() {
  if (!running()) return;
  world_->Trace("coordinator crashes");
  ++life_;
  core_.reset();
  writes_under_way_ = 0;
  inputs_.clear();
  sessions_.clear();
}

void CoordinatorNode::LoseStore(int64_t term_ns) {
  world_->Trace("coordinator loses the store");
  store_->LedUntil(world_->now_ns() + term_ns);
  store_lost_ = true;
  const int64_t end_ns =
      clock_->NowNs() + term_ns - term_ns / control::Leases::kDriftDivisor;
  Feed([end_ns](control::CoordinatorCore* core, int64_t, control::Effects*) {
    core->OnLeadership(end_ns);
  });
}

void CoordinatorNode::Tick() {
  world_->After(kTickNs, [this, life = life_] {
    if (life != life_) return;
    Feed([](control::CoordinatorCore* core, int64_t now,
            control::Effects* effects) { core->OnTick(now, effects); });
    Tick();
  });
}

void CoordinatorNode::PauseUntil(int64_t time_ns) {
  paused_until_ns_ = time_ns;
  world_->At(time_ns, [this, life = life_] {
    if (life == life_) Drain();
  });
}

void CoordinatorNode::Drain() {
  while (!inputs_.empty() && world_->now_ns() >= paused_until_ns_) {
    Input input = std::move(inputs_.front());
    inputs_.pop_front();
    control::Effects effects;
    input(core_.get(), clock_->NowNs(), &effects);
    Apply(std::move(effects));
    if (core_->resigned().empty()) continue;
    // An earlier life has written: what is stored is loaded again.
    Crash();
    world_->After(world_->Between(0, kTickNs), [this] { Start(); });
    return;
  }
}

void CoordinatorNode::Feed(Input input) {
  inputs_.push_back(std::move(input));
  Drain();
}

void CoordinatorNode::Apply(control::Effects effects) {
  for (const control::SendDirective& directive : effects.directives) {
    directives_(directive);
  }
  if (effects.store.has_value()) Store(*std::move(effects.store));
  for (const control::SessionOpened& opened : effects.sessions) {
    auto it = sessions_.find(opened.token);
    if (it == sessions_.end()) continue;
    SessionSink done = std::move(it->second);
    sessions_.erase(it);
    done(opened.session);
  }
}

void CoordinatorNode::Store(control::StoreState write) {
  ++writes_under_way_;
  if (store_lost_) return;
  const int64_t there = world_->Between(kMicrosecond, 3 * kMillisecond);
  world_->After(there, [this, life = life_, write = std::move(write)] {
    // A crash meanwhile: the write may have left, or not.
    if (life != life_ && world_->random().Chance(0.5)) return;
    const absl::Status status =
        store_->CompareAndSwap(write.expected_revision, write.state);
    const uint64_t revision = write.state.revision();
    const int64_t back = world_->Between(kMicrosecond, kMillisecond);
    world_->After(back, [this, life, status, revision] {
      if (life != life_) return;
      --writes_under_way_;
      Feed([status, revision](control::CoordinatorCore* core, int64_t now,
                              control::Effects* effects) {
        if (status.ok()) {
          core->OnStored(revision, now, effects);
        } else {
          core->OnStoreFailed(status, now, effects);
        }
      });
    });
  });
}

void CoordinatorNode::OnReport(const proto::ServerReport& report) {
  if (!running()) return;
  Feed([report](control::CoordinatorCore* core, int64_t now,
                control::Effects* effects) {
    core->OnReport(report, now, effects);
  });
}

void CoordinatorNode::OnServerGone(ServerId server, Incarnation incarnation) {
  if (!running()) return;
  Feed([=](control::CoordinatorCore* core, int64_t now,
           control::Effects* effects) {
    core->OnServerGone(server, incarnation, now, effects);
  });
}

std::string CoordinatorNode::Warnings() const {
  if (core_ == nullptr) return "\n  the coordinator is down";
  std::string text;
  if (!core_->resigned().empty()) {
    absl::StrAppend(&text, "\n  resigned: ", core_->resigned());
  }
  const proto::ClusterStatus status = core_->Status(clock_->NowNs());
  for (const std::string& warning : status.warnings()) {
    absl::StrAppend(&text, "\n  ", warning);
  }
  return text;
}

bool CoordinatorNode::Ask(control::CoordinatorCore::Plan plan) {
  if (!running() || world_->now_ns() < paused_until_ns_) return false;
  control::Effects effects;
  const bool taken = core_->Change(plan, clock_->NowNs(), &effects).ok();
  Apply(std::move(effects));
  return taken;
}

bool CoordinatorNode::DeclareLost(const proto::DeclareLostRequest& request) {
  if (!running() || world_->now_ns() < paused_until_ns_) return false;
  control::Effects effects;
  const bool taken =
      core_->DeclareLost(request, clock_->NowNs(), &effects).ok();
  Apply(std::move(effects));
  return taken;
}

std::optional<proto::ClusterStatus> CoordinatorNode::Status() const {
  if (core_ == nullptr) return std::nullopt;
  return core_->Status(clock_->NowNs());
}

absl::Status CoordinatorNode::OpenSession(SessionSink done) {
  if (!running() || world_->now_ns() < paused_until_ns_) {
    return absl::UnavailableError("the coordinator does not answer");
  }
  const uint64_t token = next_token_++;
  sessions_[token] = std::move(done);
  control::Effects effects;
  absl::Status status = core_->OpenSession(token, clock_->NowNs(), &effects);
  if (!status.ok()) sessions_.erase(token);
  Apply(std::move(effects));
  return status;
}

}  // namespace whale::sim

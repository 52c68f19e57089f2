#include "control/coordinator_loop.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/policy.h"
#include "control/stored_state.h"

namespace whale::control {
namespace {

constexpr std::chrono::milliseconds kTick{50};
constexpr int64_t kMaxWaitNs = 10'000'000'000;

absl::Status Stopping() {
  return absl::UnavailableError("the coordinator is stopping");
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorLoop>> CoordinatorLoop::Create(
    const CoreOptions& options, std::shared_ptr<ConfigStore> store,
    Clock* clock) {
  WHALE_RETURN_IF_ERROR(CheckOptions(options.cluster));
  WHALE_ASSIGN_OR_RETURN(std::optional<proto::StoredState> stored,
                         store->Load());
  if (stored) WHALE_RETURN_IF_ERROR(CheckStoredState(*stored));
  return std::unique_ptr<CoordinatorLoop>(
      new CoordinatorLoop(options, std::move(store), std::move(stored), clock));
}

CoordinatorLoop::CoordinatorLoop(const CoreOptions& options,
                                 std::shared_ptr<ConfigStore> store,
                                 std::optional<proto::StoredState> stored,
                                 Clock* clock)
    : clock_(clock),
      store_(std::move(store)),
      core_(options, std::move(stored), clock->NowNs()) {}

CoordinatorLoop::~CoordinatorLoop() { Stop(); }

void CoordinatorLoop::Start(
    absl::AnyInvocable<void(const SendDirective&)> send,
    absl::AnyInvocable<void(const ChangeRecord&)> on_change) {
  send_ = std::move(send);
  on_change_ = std::move(on_change);
  thread_ = std::thread([this] { Run(); });
}

void CoordinatorLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  posted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool CoordinatorLoop::Post(Event event) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    events_.push_back(std::move(event));
  }
  posted_.notify_one();
  return true;
}

// ------------------------------------------------------------------- thread

void CoordinatorLoop::Run() {
  core_.OnLeadership(store_->LeadershipEndNs());
  Event start = [this](int64_t now_ns, Effects* effects) {
    core_.Start(now_ns, effects);
  };
  RunEvent(start);
  for (bool stopping = false; !stopping;) {
    std::deque<Event> events;
    {
      std::unique_lock lock(mutex_);
      posted_.wait_for(lock, kTick,
                       [this] { return stopped_ || !events_.empty(); });
      events.swap(events_);
      stopping = stopped_;
    }
    for (Event& event : events) RunEvent(event);
    Event tick = [this](int64_t now_ns, Effects* effects) {
      const int64_t end_ns = store_->LeadershipEndNs();
      if (end_ns <= now_ns) leads_ = false;
      core_.OnLeadership(end_ns);
      core_.OnTick(now_ns, effects);
    };
    RunEvent(tick);
    if (!core_.resigned().empty()) leads_ = false;
    AnswerWaiting(stopping);
  }
}

void CoordinatorLoop::RunEvent(Event& event) {
  Effects effects;
  event(clock_->NowNs(), &effects);
  Execute(std::move(effects));
}

void CoordinatorLoop::Execute(Effects effects) {
  for (bool more = true; more;) {
    Effects next;
    for (const SendDirective& directive : effects.directives) {
      send_(directive);
    }
    for (const ChangeRecord& record : effects.changes) {
      if (on_change_) on_change_(record);
    }
    for (const SessionOpened& opened : effects.sessions) {
      const auto it = session_waits_.find(opened.token);
      if (it == session_waits_.end()) continue;
      proto::OpenSessionReply reply;
      reply.set_session(opened.session);
      reply.set_session_lease_us(core_.session_lease_us());
      it->second(std::move(reply));
      session_waits_.erase(it);
    }
    more = effects.store.has_value();
    if (more) StoreNow(*effects.store, &next);
    effects = std::move(next);
  }
}

void CoordinatorLoop::StoreNow(const StoreState& store, Effects* effects) {
  const absl::Status status =
      store_->CompareAndSwap(store.expected_revision, store.state);
  if (status.ok()) {
    core_.OnStored(store.state.revision(), clock_->NowNs(), effects);
  } else {
    core_.OnStoreFailed(status, clock_->NowNs(), effects);
  }
}

void CoordinatorLoop::AnswerWaiting(bool stopping) {
  std::erase_if(map_waits_,
                [&](MapWait& wait) { return AnswerMap(wait, stopping); });
  std::erase_if(plan_waits_,
                [&](PlanWait& wait) { return AnswerPlan(wait, stopping); });
  std::erase_if(policy_waits_,
                [&](PolicyWait& wait) { return AnswerPolicy(wait, stopping); });
  if (!stopping && core_.resigned().empty()) return;
  for (auto& [token, done] : session_waits_) {
    done(stopping ? Stopping() : absl::UnavailableError(core_.resigned()));
  }
  session_waits_.clear();
}

bool CoordinatorLoop::AnswerMap(MapWait& wait, bool stopping) {
  const proto::ClusterMap& map = core_.map();
  if (!core_.resigned().empty()) {
    wait.done(absl::UnavailableError(core_.resigned()));
  } else if (map.version() != 0 && (map.version() != wait.known_version ||
                                    clock_->NowNs() >= wait.until_ns)) {
    wait.done(map);
  } else if (stopping) {
    wait.done(Stopping());
  } else {
    return false;
  }
  return true;
}

bool CoordinatorLoop::AnswerPlan(PlanWait& wait, bool stopping) {
  if (core_.StorePending().empty()) {
    proto::AdminReply reply;
    reply.set_message(wait.message);
    wait.done(std::move(reply));
  } else if (!core_.resigned().empty()) {
    wait.done(absl::UnavailableError(core_.resigned()));
  } else if (stopping) {
    wait.done(Stopping());
  } else {
    return false;
  }
  return true;
}

bool CoordinatorLoop::AnswerPolicy(PolicyWait& wait, bool stopping) {
  const std::string pending = core_.PolicyPending();
  proto::AdminReply reply;
  if (pending.empty()) {
    reply.set_message("the policy is in force");
    wait.done(std::move(reply));
  } else if (!core_.resigned().empty()) {
    wait.done(absl::UnavailableError(core_.resigned()));
  } else if (stopping) {
    wait.done(Stopping());
  } else if (clock_->NowNs() >= wait.until_ns) {
    reply.set_message(absl::StrCat(
        "the policy is accepted and not in force everywhere yet: ", pending));
    wait.done(std::move(reply));
  } else {
    return false;
  }
  return true;
}

// ------------------------------------------------------------------- events

void CoordinatorLoop::Report(proto::ServerReport report,
                             absl::AnyInvocable<void()> done) {
  auto shared = std::make_shared<absl::AnyInvocable<void()>>(std::move(done));
  const bool taken = Post([this, report = std::move(report), shared](
                              int64_t now_ns, Effects* effects) {
    core_.OnReport(report, now_ns, effects);
    (*shared)();
  });
  if (!taken) (*shared)();
}

void CoordinatorLoop::Gone(ServerId server, Incarnation incarnation) {
  Post([this, server, incarnation](int64_t now_ns, Effects* effects) {
    core_.OnServerGone(server, incarnation, now_ns, effects);
  });
}

void CoordinatorLoop::GetMap(uint64_t known_version, uint64_t wait_us,
                             Callback<proto::ClusterMap> done) {
  const int64_t wait_ns = static_cast<int64_t>(
      std::min<uint64_t>(wait_us, kMaxWaitNs / 1000) * 1000);
  auto shared = std::make_shared<Callback<proto::ClusterMap>>(std::move(done));
  const bool taken = Post([this, known_version, wait_ns, shared](int64_t now_ns,
                                                                 Effects*) {
    map_waits_.push_back({known_version, now_ns + wait_ns, std::move(*shared)});
  });
  if (!taken) (*shared)(Stopping());
}

void CoordinatorLoop::OpenSession(Callback<proto::OpenSessionReply> done) {
  auto shared =
      std::make_shared<Callback<proto::OpenSessionReply>>(std::move(done));
  const bool taken = Post([this, shared](int64_t now_ns, Effects* effects) {
    const uint64_t token = next_token_++;
    const absl::Status status = core_.OpenSession(token, now_ns, effects);
    if (!status.ok()) {
      (*shared)(status);
      return;
    }
    session_waits_[token] = std::move(*shared);
  });
  if (!taken) (*shared)(Stopping());
}

void CoordinatorLoop::GetStatus(Callback<proto::ClusterStatus> done) {
  auto shared =
      std::make_shared<Callback<proto::ClusterStatus>>(std::move(done));
  const bool taken = Post([this, shared](int64_t now_ns, Effects*) {
    (*shared)(core_.Status(now_ns));
  });
  if (!taken) (*shared)(Stopping());
}

void CoordinatorLoop::Change(Plan plan, Callback<proto::AdminReply> done) {
  auto shared = std::make_shared<Callback<proto::AdminReply>>(std::move(done));
  auto change = std::make_shared<Plan>(std::move(plan));
  const bool taken =
      Post([this, change, shared](int64_t now_ns, Effects* effects) {
        absl::StatusOr<std::string> message = core_.Change(
            [&](proto::StoredState* state) { return (*change)(state); }, now_ns,
            effects);
        if (!message.ok()) {
          (*shared)(message.status());
          return;
        }
        plan_waits_.push_back({*std::move(message), std::move(*shared)});
      });
  if (!taken) (*shared)(Stopping());
}

void CoordinatorLoop::DeclareLost(proto::DeclareLostRequest request,
                                  Callback<proto::AdminReply> done) {
  auto shared = std::make_shared<Callback<proto::AdminReply>>(std::move(done));
  const bool taken = Post([this, request = std::move(request), shared](
                              int64_t now_ns, Effects* effects) {
    absl::StatusOr<std::string> message =
        core_.DeclareLost(request, now_ns, effects);
    if (!message.ok()) {
      (*shared)(message.status());
      return;
    }
    plan_waits_.push_back({*std::move(message), std::move(*shared)});
  });
  if (!taken) (*shared)(Stopping());
}

void CoordinatorLoop::SetPolicy(proto::SetPolicyRequest request,
                                Callback<proto::AdminReply> done) {
  auto shared = std::make_shared<Callback<proto::AdminReply>>(std::move(done));
  const bool taken = Post([this, request = std::move(request), shared](
                              int64_t now_ns, Effects* effects) {
    const absl::Status status = core_.SetPolicy(request, now_ns, effects);
    if (!status.ok()) {
      (*shared)(status);
      return;
    }
    policy_waits_.push_back({now_ns + kMaxWaitNs, std::move(*shared)});
  });
  if (!taken) (*shared)(Stopping());
}

}  // namespace whale::control

#include "sim/client_node.h"

#include <utility>

namespace whale::sim {

inline constexpr int64_t kMapWaitNs = 200 * kMillisecond;
inline constexpr int64_t kMapPollNs = 5 * kMillisecond;
inline constexpr int64_t kSessionRetryNs = 20 * kMillisecond;

ClientNode::ClientNode(World* world, SimNetwork* network,
                       Coordinator coordinator,
                       const ClientNodeOptions& options)
    : world_(world),
      network_(network),
      coordinator_(std::move(coordinator)),
      options_(options),
      clock_(world, options.clock_offset_ns, options.clock_drift_ppm),
      fabric_(std::make_unique<SimFabric>(network, options.node, nullptr)) {
  client::CoreOptions core;
  core.buffer_bytes = 4 << 20;
  core.inline_value_max_bytes = options.inline_value_max_bytes;
  core.seed = options.seed;
  stepper_ = std::make_unique<Stepper>(world_, [this] { return Turn(); });
  core_ = std::make_unique<client::Core>(core, fabric_.get(), &clock_, this);
  stepper_->Wake();
}

ClientNode::~ClientNode() {
  *alive_ = false;
  stepper_.reset();
  fabric_->Crash();
  core_.reset();
}

void ClientNode::Later(absl::AnyInvocable<void()> action) {
  world_->After(Delay(),
                [alive = alive_, action = std::move(action)]() mutable {
                  if (*alive) action();
                });
}

void ClientNode::Submit(
    const client::Operation& operation,
    absl::AnyInvocable<void(client::OperationResult)> done) {
  core_->Submit(operation, [alive = alive_, done = std::move(done)](
                               client::OperationResult result) mutable {
    if (*alive) done(std::move(result));
  });
  stepper_->Wake();
}

int64_t ClientNode::Turn() {
  std::shared_ptr<bool> alive = alive_;
  const size_t finished = core_->Step();
  if (!*alive) return INT64_MAX;
  if (finished > 0) return world_->now_ns();
  const int64_t deadline_ns = core_->NextDeadlineNs();
  return deadline_ns == INT64_MAX ? INT64_MAX : clock_.WorldTime(deadline_ns);
}

bool ClientNode::CoordinatorReachable() const {
  return coordinator_().running() &&
         !network_->LinkIsCut(node(), options_.coordinator_node) &&
         !network_->LinkIsCut(options_.coordinator_node, node());
}

void ClientNode::RequestMap(uint64_t known_version) {
  Later([this, known_version] {
    AnswerMap(known_version, world_->now_ns() + kMapWaitNs);
  });
}

// Waits for a newer map for a while, as the real channel does.
void ClientNode::AnswerMap(uint64_t known_version, int64_t until_ns) {
  if (!CoordinatorReachable()) {
    core_->OnMapError(absl::UnavailableError(
        "the coordinator does not answer; is it running?"));
    stepper_->Wake();
    return;
  }
  if (coordinator_().map()->version() > known_version ||
      world_->now_ns() >= until_ns) {
    Later([this, map = *coordinator_().map()] {
      core_->OnMap(map);
      stepper_->Wake();
    });
    return;
  }
  world_->After(kMapPollNs, [this, alive = alive_, known_version, until_ns] {
    if (*alive) AnswerMap(known_version, until_ns);
  });
}

void ClientNode::RequestSession() {
  Later([this] {
    absl::Status status = absl::UnavailableError("unreachable");
    if (CoordinatorReachable()) {
      status =
          coordinator_().OpenSession([this, alive = alive_](uint64_t session) {
            if (!*alive) return;
            Later([this, session] {
              core_->OnSession(session, coordinator_().session_lease_ns());
              stepper_->Wake();
            });
          });
    }
    if (status.ok()) return;
    world_->After(kSessionRetryNs, [this, alive = alive_] {
      if (*alive) RequestSession();
    });
  });
}

}  // namespace whale::sim

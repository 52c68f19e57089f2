#include "sim/server_node.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "logstore/log.h"

namespace whale::sim {

ServerNode::ServerNode(World* world, SimNetwork* network,
                       const ServerNodeOptions& options, ReportSink reports)
    : world_(world),
      network_(network),
      options_(options),
      reports_(std::move(reports)),
      memory_(RoundUp(logstore::Pool::BytesNeeded(options.geometry), 4096),
              options.survives),
      clock_(world, options.clock_offset_ns, options.clock_drift_ppm) {}

ServerNode::~ServerNode() {
  stepper_.reset();
  server_.reset();
  pool_.reset();
}

absl::Status ServerNode::Start() {
  if (running() || dead_) return absl::OkStatus();
  incarnation_ = Incarnation(incarnation_.value() + 1);
  clock_.ForgetReading();
  world_->Trace(absl::StrCat("server ", node(), " starts, incarnation ",
                             incarnation_.value()));
  fabric_ = std::make_unique<SimFabric>(network_, node(), &memory_);
  logstore::Mapping mapping;
  mapping.base = memory_.base();
  mapping.length_bytes = memory_.length_bytes();
  mapping.domain = &memory_;
  if (!formatted_) {
    WHALE_ASSIGN_OR_RETURN(pool_,
                           logstore::Pool::Format(mapping, options_.geometry));
    formatted_ = true;
  } else {
    WHALE_ASSIGN_OR_RETURN(pool_, logstore::Pool::Open(mapping));
  }
  node::ServerOptions options;
  options.id = options_.id;
  options.incarnation = incarnation_;
  options.warn = [this](std::string_view text) {
    warning_ = text;
    world_->Trace(absl::StrCat("server ", node(), " warns: ", warning_));
  };
  WHALE_ASSIGN_OR_RETURN(
      server_,
      node::Server::Create(options, fabric_.get(), pool_.get(), &clock_, this));
  fabric_->set_crash_point([this] { OnEffect(); });
  memory_.set_crash_point([this] { OnEffect(); });
  stepper_ = std::make_unique<Stepper>(world_, [this] { return Turn(); });
  stepper_->set_turn_cost_ns(turn_cost_ns_);
  stepper_->Wake();
  return absl::OkStatus();
}

void ServerNode::Crash(bool power) {
  if (!running()) return;
  Die(power);
  if (!in_turn_) Bury();
}

void ServerNode::Die(bool power) {
  world_->Trace(absl::StrCat("server ", node(),
                             power ? " loses power" : " crashes",
                             in_turn_ ? " in mid-turn" : ""));
  dead_ = true;
  effects_left_ = 0;
  // What the dying process still does, in this turn and in its destructors,
  // reaches nobody, its own memory included.
  fabric_->Crash();
  memory_.Crash(power, world_->random());
}

void ServerNode::Bury() {
  stepper_.reset();
  server_.reset();
  pool_.reset();
  fabric_.reset();
  directives_.clear();
  memory_.Restart();
  dead_ = false;
}

void ServerNode::CrashAfter(uint64_t effects, bool power,
                            std::function<void()> then) {
  if (!running()) return;
  effects_left_ = effects;
  crash_power_ = power;
  after_crash_ = std::move(then);
}

void ServerNode::LosePool() {
  world_->Trace(absl::StrCat("server ", node(), " has lost its pool"));
  memory_.Blank();
  formatted_ = false;
  for (uint8_t& byte : options_.geometry.pool_uuid) {
    byte = world_->random().Below(256);
  }
}

std::optional<size_t> ServerNode::PlaceToRot() {
  if (!running()) return std::nullopt;
  const auto& shards = server_->last_report().shards();
  const proto::ShardReport& report =
      shards.at(static_cast<int>(world_->random().Below(shards.size())));
  if (report.phase() != proto::SHARD_ACTIVE) return std::nullopt;
  const logstore::Log log(pool_.get(), ShardId(report.shard()));
  const Lsn start(report.history().rbegin()->start());
  if (start <= log.begin()) return std::nullopt;
  const Lsn any = log.begin() + world_->random().Below(start - log.begin());
  Lsn lsn = log.SegmentStart(log.SegmentOf(any));
  uint64_t bytes = logstore::RecordBytes(log.HeaderAt(lsn));
  for (; log.After(lsn, bytes) <= any;
       bytes = logstore::RecordBytes(log.HeaderAt(lsn))) {
    lsn = log.After(lsn, bytes);
  }
  rotten_shard_ = report.shard();
  world_->Trace(absl::StrCat("server ", node(), ": a bit of shard ",
                             report.shard(), " at LSN ", lsn.value(), " rots"));
  // What fills the record up to its alignment is nobody's, like a pad's body.
  const logstore::RecordHeader& header = log.HeaderAt(lsn);
  const uint64_t checked_bytes =
      sizeof(header) + (header.type == logstore::RecordType::kPad
                            ? 0
                            : header.key_bytes + header.value_bytes);
  return log.At(lsn) - memory_.base() +
         static_cast<ptrdiff_t>(world_->random().Below(checked_bytes));
}

bool ServerNode::MayBeDamaged(const proto::ShardReport& report) {
  if (rotten_shard_ != report.shard()) return false;
  if (!report.damaged() && report.phase() == proto::SHARD_ACTIVE) {
    rotten_shard_.reset();
  }
  return true;
}

void ServerNode::OnEffect() {
  if (effects_left_ == 0 || --effects_left_ > 0 || !in_turn_) return;
  Die(crash_power_);
  after_crash_();
}

void ServerNode::Send(const proto::ServerReport& report) {
  OnEffect();
  if (!dead_) reports_(report);
}

// In the worst place: the turn that goes on then has read its clock already.
void ServerNode::PauseUntil(int64_t time_ns) {
  if (stepper_ == nullptr) return;
  clock_.ReadBeforePause();
  stepper_->PauseUntil(time_ns);
}

void ServerNode::Resume() {
  if (stepper_ != nullptr) stepper_->Resume();
}

void ServerNode::SetSlowness(int64_t factor) {
  turn_cost_ns_ = kMicrosecond * factor;
  if (stepper_ != nullptr) stepper_->set_turn_cost_ns(turn_cost_ns_);
}

void ServerNode::OnDirective(const proto::Directive& directive) {
  if (!running()) return;
  directives_.push_back(directive);
  stepper_->Wake();
}

void ServerNode::Wake() {
  if (stepper_ != nullptr) stepper_->Wake();
}

int64_t ServerNode::Turn() {
  in_turn_ = true;
  // All that wait, as tools/worker_loop.h takes them: the server acts on the
  // last only, but counts every lease.
  for (const proto::Directive& directive : directives_) {
    server_->OnDirective(directive);
  }
  directives_.clear();
  const bool busy = server_->Step();
  in_turn_ = false;
  if (dead_) {
    Bury();
    return INT64_MAX;
  }
  if (busy) return world_->now_ns();
  const int64_t deadline_ns = server_->NextDeadlineNs();
  return deadline_ns == INT64_MAX ? INT64_MAX : clock_.WorldTime(deadline_ns);
}

}  // namespace whale::sim

#include "sim/cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "node/grants.h"

namespace whale::sim {
namespace {

// Beyond those that are kept ready: where a primary has given room to requests
// whose values it is still fetching, before it announces them.
constexpr uint64_t kSegmentsAhead = node::kSegmentsAhead + 2;

control::CoreOptions CoordinatorOptions(const ClusterSetup& setup) {
  control::CoreOptions options;
  options.cluster.replicas = setup.Replicas();
  options.cluster.shard_count = setup.shards;
  options.cluster.min_segment_bytes = 4096;
  options.cluster.mirrors = setup.mirrors;
  options.cluster.min_replicas = setup.min_replicas;
  options.cluster.by_value_max_bytes = setup.by_value_max_bytes;
  options.cluster.window_bytes = setup.window_bytes;
  options.cluster.lease_us = setup.lease_us;
  options.cluster.copy_bytes_per_second = setup.copy_bytes_per_second;
  options.new_cluster_uuid = "sim-cluster-uuid";  // 16 bytes
  options.cluster.session_lease_us = setup.session_lease_ns / 1000;
  return options;
}

logstore::Geometry GeometryOf(const ClusterSetup& setup, uint32_t server,
                              Prng& random) {
  logstore::Geometry geometry;
  for (uint8_t& byte : geometry.pool_uuid) byte = random.Below(256);
  geometry.server = ServerId(server);
  geometry.shard_count = setup.shards;
  geometry.segment_bytes = setup.segment_bytes;
  geometry.segment_slots = setup.segment_slots;
  geometry.ring_slots = setup.ring_slots;
  return geometry;
}

checkers::ReplicaSays SaidOf(const proto::ServerReport& report,
                             const proto::ShardReport& shard, bool rotten) {
  using Phase = checkers::ReplicaSays::Phase;
  checkers::ReplicaSays says = {.server = report.server_id(),
                                .process = report.incarnation(),
                                .shard = shard.shard(),
                                .epoch = shard.epoch(),
                                .primary = shard.replicated() > 0,
                                .damaged = rotten || shard.damaged(),
                                .announced = shard.announced(),
                                .durable = shard.durable(),
                                .committed = shard.committed(),
                                .applied = shard.applied(),
                                .replicated = shard.replicated(),
                                .log_bytes = shard.log_bytes()};
  if (shard.phase() == proto::SHARD_ACTIVE) says.phase = Phase::kActive;
  if (shard.phase() == proto::SHARD_SEALED) says.phase = Phase::kStopped;
  for (const proto::EpochStart& entry : shard.history()) {
    says.starts.emplace_back(entry.epoch(), entry.start());
  }
  return says;
}

// For the readable trace.
std::string LineOf(const proto::ShardReport& shard) {
  std::string line = absl::StrCat(
      proto::ShardPhase_Name(shard.phase()), " of epoch ", shard.epoch(),
      ", has ended ", shard.ended_epoch(), ": announced ", shard.announced(),
      " durable ", shard.durable(), " committed ", shard.committed());
  for (const proto::LsnRange& hole : shard.holes()) {
    absl::StrAppend(&line, " hole ", hole.begin(), "..", hole.end());
  }
  if (shard.damaged()) absl::StrAppend(&line, " damaged: ", shard.damage());
  return line;
}

std::string LineOf(const proto::StoredShard& shard) {
  std::string line = absl::StrCat(
      "epoch ", shard.epoch(), " A ", shard.committed(), " T ", shard.start(),
      " members ", absl::StrJoin(shard.members(), ","));
  if (shard.reserved_epoch() != 0) {
    absl::StrAppend(&line, "; reserved ", shard.reserved_epoch(), " for ",
                    absl::StrJoin(shard.reserved_members(), ","));
  }
  if (shard.lacks_values()) absl::StrAppend(&line, "; lacks values");
  return line;
}

}  // namespace

Cluster::Cluster(World* world, const ClusterSetup& setup)
    : world_(world),
      setup_(setup),
      network_(world, setup.network),
      coordinator_clocks_{MakeClock(),
                          SimClock(world, kSecond, setup.max_drift_ppm)},
      watermarks_(setup.segment_bytes, kSegmentsAhead) {
  network_.set_waker([this](uint32_t node) {
    if (node >= kFirstClientNode) {
      auto it = clients_.find(node);
      if (it == clients_.end()) return;
      if (auto client = it->second.lock()) client->Wake();
    } else {
      servers_[node - 1]->Wake();
    }
  });
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    coordinators_[i] = std::make_unique<CoordinatorNode>(
        world_, &coordinator_clocks_[i], &store_, CoordinatorOptions(setup),
        [this, i](const control::SendDirective& directive) {
          ToServer(i, directive);
        });
  }
  for (uint32_t id = 1; id <= setup.servers; ++id) {
    ServerNodeOptions options;
    options.id = ServerId(id);
    options.geometry = GeometryOf(setup, id, world_->random());
    options.survives = setup.survives;
    options.clock_offset_ns = world_->Between(0, 1000 * kSecond);
    options.clock_drift_ppm =
        world_->Between(-setup.max_drift_ppm, setup.max_drift_ppm);
    servers_.push_back(std::make_unique<ServerNode>(
        world_, &network_, options,
        [this, id](const proto::ServerReport& report) {
          ToCoordinator(servers_[id - 1].get(), report);
        }));
  }
}

Cluster::~Cluster() = default;

SimClock Cluster::MakeClock() {
  return SimClock(world_, world_->Between(0, 1000 * kSecond),
                  world_->Between(-setup_.max_drift_ppm, setup_.max_drift_ppm));
}

std::vector<uint32_t> Cluster::Nodes() const {
  std::vector<uint32_t> nodes;
  for (const auto& server : servers_) nodes.push_back(server->node());
  nodes.push_back(kCoordinatorNode);
  for (const auto& [node, client] : clients_) {
    if (!client.expired()) nodes.push_back(node);
  }
  return nodes;
}

std::shared_ptr<ClientNode> Cluster::AddClient() {
  ClientNodeOptions options;
  options.node = next_client_node_++;
  options.coordinator_node = kCoordinatorNode;
  options.seed = world_->random().Next();
  options.clock_offset_ns = world_->Between(0, 1000 * kSecond);
  options.clock_drift_ppm =
      world_->Between(-setup_.max_drift_ppm, setup_.max_drift_ppm);
  options.inline_value_max_bytes = 64 << world_->random().Below(6);
  auto client = std::make_shared<ClientNode>(
      world_, &network_, [this]() -> CoordinatorNode& { return coordinator(); },
      options);
  clients_[options.node] = client;
  return client;
}

void Cluster::StartServer(size_t index) {
  // One that could not recover stays as it is, for the report.
  if (!failure_.empty()) return;
  const absl::Status status = servers_[index]->Start();
  if (status.ok()) return;
  failure_ = absl::StrCat("server ", servers_[index]->node(),
                          " does not recover: ", status.ToString());
}

void Cluster::CrashServer(size_t index, bool power) {
  if (!servers_[index]->running()) return;
  StreamBreaks(*servers_[index]);
  servers_[index]->Crash(power);
}

void Cluster::CrashServerAfter(size_t index, uint64_t effects, bool power,
                               std::function<void()> then) {
  servers_[index]->CrashAfter(effects, power,
                              [this, index, then = std::move(then)] {
                                StreamBreaks(*servers_[index]);
                                then();
                              });
}

// The coordinator notices some time later.
void Cluster::StreamBreaks(ServerNode& server) {
  const Incarnation incarnation = server.incarnation();
  const int64_t noticed =
      std::max(world_->now_ns() + world_->Between(0, 50 * kMillisecond),
               reports_until_[{server.node(), incarnation.value()}]);
  world_->At(noticed, [this, id = server.id(), incarnation] {
    const uint32_t node = id.value();
    if (network_.LinkIsCut(node, CoordinatorNodeOf(node))) return;
    CoordinatorOf(node).OnServerGone(id, incarnation);
  });
}

std::string Cluster::Failure() const {
  if (!failure_.empty()) return failure_;
  if (!watermarks_.verdict().ok()) return watermarks_.verdict().problem;
  for (const auto& server : servers_) {
    if (!server->warning().empty()) {
      return absl::StrCat("server ", server->node(),
                          " warns: ", server->warning());
    }
    if (server->running() && !server->server()->refused().empty()) {
      return absl::StrCat("server ", server->node(),
                          " was refused: ", server->server()->refused());
    }
  }
  return "";
}

bool Cluster::IsWhole() {
  if (store_.lacks_values()) return false;
  return AllServe([](const proto::ShardReport& report) {
    return report.durable() >= report.history().rbegin()->start();
  });
}

bool Cluster::IsComplete() {
  return AllServe([this](const proto::ShardReport& report) {
    const auto shard = static_cast<int>(report.shard());
    return report.announced() >= store_.state()->shards(shard).committed();
  });
}

template <typename Predicate>
bool Cluster::AllServe(Predicate and_has) {
  const proto::ClusterMap* map = coordinator().map();
  if (map == nullptr || map->shards().empty()) return false;
  for (const proto::ShardEntry& entry : map->shards()) {
    if (!entry.active() ||
        entry.members_size() != static_cast<int>(setup_.Replicas())) {
      return false;
    }
    for (const uint32_t member : entry.members()) {
      const auto& server = servers_[member - 1];
      if (!server->running()) return false;
      const proto::ShardReport& report = server->server()->last_report().shards(
          static_cast<int>(entry.shard()));
      if (report.epoch() != entry.epoch() ||
          report.phase() != proto::SHARD_ACTIVE || !and_has(report)) {
        return false;
      }
    }
  }
  return true;
}

bool Cluster::BeginFormer(size_t index, int64_t term_ns) {
  if (with_former_ != 0 || !coordinator().running()) return false;
  coordinator().LoseStore(term_ns);
  leader_ = 1 - leader_;
  with_former_ = servers_[index]->node();
  coordinator().Start();
  return true;
}

void Cluster::EndFormer() {
  with_former_ = 0;
  coordinators_[1 - leader_]->Crash();
}

void Cluster::Calm() {
  EndFormer();
  setup_.control_loss = 0;
  directive_delay_ns_.clear();
  setup_.control_delay_ns = std::min(setup_.control_delay_ns, kMillisecond);
  network_.Calm();
}

int64_t Cluster::Arrival(uint32_t from, uint32_t to, int64_t* last_ns) {
  if (network_.LinkIsCut(from, to) ||
      world_->random().Chance(setup_.control_loss)) {
    return -1;
  }
  *last_ns = std::max(
      *last_ns, world_->now_ns() + world_->Between(10 * kMicrosecond,
                                                   setup_.control_delay_ns));
  return *last_ns;
}

void Cluster::PrintChanges(uint32_t node, const proto::ServerReport& report) {
  if (!world_->tracing()) return;
  for (const proto::ShardReport& shard : report.shards()) {
    auto& last = printed_[{node, shard.shard()}];
    const std::string state =
        absl::StrCat(report.incarnation(), " ", shard.phase(), " ",
                     shard.epoch(), " ", shard.ended_epoch(), shard.damaged());
    if (last == state) continue;
    last = state;
    world_->Print(absl::StrCat("server ", node, " shard ", shard.shard(), ": ",
                               LineOf(shard)));
  }
  if (const proto::StoredState* stored = store_.state()) {
    for (const proto::StoredShard& shard : stored->shards()) {
      auto& last = printed_[{kCoordinatorNode, shard.shard()}];
      std::string line = LineOf(shard);
      if (last == line) continue;
      world_->Print(absl::StrCat("store shard ", shard.shard(), ": ", line));
      last = std::move(line);
    }
  }
}

void Cluster::ToCoordinator(ServerNode* server,
                            const proto::ServerReport& report) {
  PrintChanges(server->node(), report);
  for (const proto::ShardReport& shard : report.shards()) {
    watermarks_.Observe(SaidOf(report, shard, server->is_rotten()));
    // Memory keeps what its domain promises: nothing else can be damaged.
    if (server->MayBeDamaged(shard) || !shard.damaged() || !failure_.empty()) {
      continue;
    }
    failure_ = absl::StrCat("server ", server->node(), " says that shard ",
                            shard.shard(), " is damaged: ", shard.damage());
  }
  const uint32_t node = server->node();
  const uint32_t to = CoordinatorNodeOf(node);
  const int64_t at =
      Arrival(node, to, &reports_until_[{node, report.incarnation()}]);
  if (at < 0) return;
  world_->At(at, [this, node, to, report] {
    if (CoordinatorNodeOf(node) == to) CoordinatorOf(node).OnReport(report);
  });
}

void Cluster::ToServer(size_t coordinator,
                       const control::SendDirective& directive) {
  const uint32_t node = directive.server.value();
  if (node == 0 || node > servers_.size()) return;
  const uint32_t from =
      coordinator == leader_ ? kCoordinatorNode : kFormerCoordinatorNode;
  if (CoordinatorNodeOf(node) != from) return;
  int64_t& until = directives_until_[{node, directive.incarnation.value()}];
  until = std::max(until, world_->now_ns() + directive_delay_ns_[node]);
  const int64_t at = Arrival(from, node, &until);
  if (at < 0) return;
  world_->At(at, [this, node, from, directive] {
    if (CoordinatorNodeOf(node) != from) return;
    ServerNode& server = *servers_[node - 1];
    if (server.incarnation() != directive.incarnation) return;
    server.OnDirective(directive.directive);
  });
}

}  // namespace whale::sim

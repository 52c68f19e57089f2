#include "sim/faults.h"

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "control/options.h"

namespace whale::sim {
const char* FaultName(Fault fault) {
  static constexpr const char* kNames[kFaultKinds] = {
      "crash-server",      "crash-all-servers", "power-server",
      "power-all",         "pause-server",      "slow-server",
      "cut-one-way",       "cut-both-ways",     "kill-connection",
      "crash-coordinator", "pause-coordinator", "kill-client",
      "pause-client",      "long-crash",        "long-pause",
      "no-coordinator",    "lose-pool",         "isolate-server",
      "rot-log",           "take-over",         "crash-at-store"};
  return kNames[static_cast<size_t>(fault)];
}

Faults::Faults(Cluster* cluster, Workload* workload,
               const FaultOptions& options)
    : cluster_(cluster), workload_(workload), options_(options) {
  cluster_->store().set_on_configuration(
      [this](const proto::StoredShard& stored) { CrashAtStore(stored); });
}

void Faults::Start() { Plan(); }

void Faults::Plan() {
  World& world = cluster_->world();
  std::vector<Fault> enabled;
  for (size_t i = 0; i < kFaultKinds; ++i) {
    if (options_.enabled[i]) enabled.push_back(static_cast<Fault>(i));
  }
  if (enabled.empty()) return;
  const int64_t pause = world.Between(0, 2 * options_.mean_pause_ns);
  const Fault fault = enabled[world.random().Below(enabled.size())];
  world.After(pause, [this, fault] {
    if (healed_) return;
    Inject(fault);
    Plan();
  });
}

void Faults::Inject(Fault fault) {
  World& world = cluster_->world();
  ++counts_[static_cast<size_t>(fault)];
  world.Trace(absl::StrCat("fault: ", FaultName(fault)));
  switch (fault) {
    case Fault::kCrashServer:
    case Fault::kPowerServer:
      return CrashServer(AnyServer(), fault == Fault::kPowerServer, DownTime());
    case Fault::kCrashAllServers:
    case Fault::kPowerAll:
      return CrashAll(fault == Fault::kPowerAll);
    case Fault::kPauseServer:
      return cluster_->server(AnyServer())
          .PauseUntil(world.now_ns() + DownTime() * 2);
    case Fault::kSlowServer:
      return SlowServer();
    case Fault::kCutOneWay:
    case Fault::kCutBothWays:
      return Cut(fault == Fault::kCutBothWays);
    case Fault::kKillConnection:
      cluster_->network().KillRandomConnection();
      return;
    case Fault::kCrashCoordinator:
      return CrashCoordinator();
    case Fault::kPauseCoordinator:
      return cluster_->coordinator().PauseUntil(world.now_ns() + DownTime());
    case Fault::kKillClient:
      return workload_->RestartClient(
          world.random().Below(workload_->client_count()));
    case Fault::kPauseClient:
      workload_->client(world.random().Below(workload_->client_count()))
          .PauseUntil(world.now_ns() + DownTime());
      return;
    case Fault::kLongCrash: {
      const bool power = cluster_->setup().survives == pmem::Survives::kPower;
      return CrashServer(AnyServer(), power && world.random().Chance(0.5),
                         LongTime());
    }
    case Fault::kLongPause:
      return cluster_->server(AnyServer())
          .PauseUntil(world.now_ns() + LongTime());
    case Fault::kNoCoordinator:
      return CutFromCoordinator();
    case Fault::kLosePool:
      return WhenWhole([this] {
        LosePool(options_.lose_values ? PrimaryOf(0) : AnyServer());
      });
    case Fault::kIsolateServer:
      return IsolateServer();
    case Fault::kRotLog:
      return WhenWhole([this] { RotLog(AnyServer()); });
    case Fault::kTakeOver:
      return TakeOver();
    case Fault::kCrashAtStore:
      at_next_store_ = true;
      return;
  }
}

// A copy may be lost only while all others are whole, and while values are in
// two places before they are acknowledged. Where values may be lost, it is
// enough that all know of them.
void Faults::WhenWhole(std::function<void()> harm) {
  if (healed_) return;
  if (cluster_->setup().mirrors == 0 && !options_.lose_values) return;
  if (options_.lose_values ? cluster_->IsComplete() : cluster_->IsWhole()) {
    return harm();
  }
  cluster_->world().After(20 * kMillisecond,
                          [this, harm = std::move(harm)] { WhenWhole(harm); });
}

size_t Faults::PrimaryOf(int shard) {
  return cluster_->coordinator().map()->shards(shard).members(0) - 1;
}

// The primary's, where values are to be lost; now and then only its process. Of
// values that are on their way then, each of the others may keep some.
void Faults::LosePool(size_t index) {
  if (options_.lose_values &&
      cluster_->setup().survives == pmem::Survives::kPower &&
      cluster_->world().random().Chance(0.3)) {
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      if (i == index) continue;
      cluster_->CrashServer(i, true);
      cluster_->world().After(DownTime(),
                              [this, i] { cluster_->StartServer(i); });
    }
  }
  cluster_->CrashServer(index, false);
  if (!options_.lose_values || cluster_->world().random().Chance(0.6)) {
    ++pools_lost_;
    cluster_->server(index).LosePool();
  }
  cluster_->world().After(LongTime(),
                          [this, index] { cluster_->StartServer(index); });
}

void Faults::RotLog(size_t index) {
  ServerNode& server = cluster_->server(index);
  const std::optional<size_t> at = server.PlaceToRot();
  if (!at) return;
  cluster_->CrashServer(index, false);
  server.memory()->Rot(*at, *at + 1, cluster_->world().random());
  cluster_->world().After(LongTime(),
                          [this, index] { cluster_->StartServer(index); });
}

// What the coordinator grants it meanwhile comes late, and so does what it
// READs: it may go on only as far as its lease, counted from what it sent. A
// client that does not hear of the new map either asks it still.
void Faults::IsolateServer() {
  World& world = cluster_->world();
  const size_t index = AnyServer();
  const uint32_t node = cluster_->server(index).node();
  const auto lease_ns = static_cast<int64_t>(cluster_->setup().lease_us * 1000);
  const int64_t delay = world.Between(lease_ns, 2 * lease_ns);
  const int64_t until = world.now_ns() + delay + 2 * lease_ns;
  const uint32_t client =
      workload_->client(world.random().Below(workload_->client_count())).node();
  cluster_->DelayDirectives(node, delay);
  // One more of its reports may get through, and be granted a lease.
  world.After(world.Between(0, lease_ns / 2), [=, this] {
    std::vector<uint32_t> others = {kCoordinatorNode};
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      if (i != index) others.push_back(cluster_->server(i).node());
    }
    SimNetwork& network = cluster_->network();
    network.CutLink(client, kCoordinatorNode);
    network.CutLink(node, kCoordinatorNode);  // directives are late, not lost
    for (uint32_t other : others) {
      if (other != kCoordinatorNode) network.CutLink(other, node);
    }
    World& world = cluster_->world();
    if (world.random().Chance(0.5)) {
      // It stands still until its lease is over, and notices nothing.
      world.After(world.Between(0, lease_ns / 2), [=, this] {
        ServerNode& server = cluster_->server(index);
        server.PauseUntil(cluster_->world().now_ns() +
                          cluster_->world().Between(lease_ns, 2 * lease_ns));
      });
    }
    // READs that still reach the others are answered late.
    world.After(world.Between(0, 20 * kMillisecond), [=, &network] {
      for (uint32_t other : others) network.CutLink(node, other);
    });
    world.At(until, [=, this, &network] {
      cluster_->DelayDirectives(node, 0);
      network.HealLink(client, kCoordinatorNode);
      for (uint32_t other : others) {
        network.HealLink(node, other);
        network.HealLink(other, node);
      }
    });
  });
}

// The server may go on only as long as the former leader may grant leases. A
// client hears nothing of the next leader either, and still asks that server.
void Faults::TakeOver() {
  World& world = cluster_->world();
  const size_t index = AnyServer();
  const auto lease_ns = static_cast<int64_t>(cluster_->setup().lease_us * 1000);
  const int64_t term_ns = world.Between(lease_ns, 3 * lease_ns);
  if (!cluster_->BeginFormer(index, term_ns)) return;
  const uint32_t node = cluster_->server(index).node();
  const uint32_t client =
      workload_->client(world.random().Below(workload_->client_count())).node();
  Links links = {{client, kCoordinatorNode}};
  for (size_t i = 0; i < cluster_->server_count(); ++i) {
    if (i == index) continue;
    const uint32_t other = cluster_->server(i).node();
    links.emplace_back(node, other);
    links.emplace_back(other, node);
  }
  // So long that the others can leave it out, and write.
  const int64_t for_ns =
      term_ns + control::CoreOptions().register_grace_ns + 6 * lease_ns;
  CutFor(links, for_ns);
  world.After(for_ns, [this] { cluster_->EndFormer(); });
}

void Faults::CutFromCoordinator() {
  Prng& random = cluster_->world().random();
  uint32_t node = cluster_->server(AnyServer()).node();
  if (random.Chance(0.3)) {
    node = workload_->client(random.Below(workload_->client_count())).node();
  }
  const bool from = random.Chance(0.6);
  const bool to = !from || random.Chance(0.3);
  SimNetwork& network = cluster_->network();
  if (from) network.CutLink(node, kCoordinatorNode);
  if (to) network.CutLink(kCoordinatorNode, node);
  cluster_->world().After(LongTime(), [&network, node] {
    network.HealLink(node, kCoordinatorNode);
    network.HealLink(kCoordinatorNode, node);
  });
}

void Faults::CrashServer(size_t index, bool power, int64_t down_ns) {
  Prng& random = cluster_->world().random();
  const auto start_later = [this, index, down_ns] {
    cluster_->world().After(down_ns,
                            [this, index] { cluster_->StartServer(index); });
  };
  // Between two turns, or in the middle of one.
  if (random.Chance(0.5)) {
    cluster_->CrashServer(index, power);
    start_later();
  } else {
    cluster_->CrashServerAfter(index, 1 + random.Below(40), power, start_later);
  }
}

void Faults::CrashAll(bool power) {
  for (size_t i = 0; i < cluster_->server_count(); ++i) {
    CrashServer(i, power, DownTime());
  }
}

void Faults::SlowServer() {
  World& world = cluster_->world();
  const size_t index = AnyServer();
  const uint32_t node = cluster_->server(index).node();
  const int64_t factor = world.Between(2, 50);
  cluster_->server(index).SetSlowness(factor);
  cluster_->network().SetSlowness(node, factor);
  world.After(DownTime() * 2, [this, index, node] {
    cluster_->server(index).SetSlowness(1);
    cluster_->network().SetSlowness(node, 1);
  });
}

void Faults::Cut(bool both_ways) {
  World& world = cluster_->world();
  const std::vector<uint32_t> nodes = cluster_->Nodes();
  const uint32_t a = cluster_->server(AnyServer()).node();
  const bool alone = world.random().Chance(0.5);
  const uint32_t one = nodes[world.random().Below(nodes.size())];
  const bool outwards = world.random().Chance(0.5);
  Links links;
  for (uint32_t b : nodes) {
    if (b == a || (!alone && b != one)) continue;
    if (both_ways || outwards) links.emplace_back(a, b);
    if (both_ways || !outwards) links.emplace_back(b, a);
  }
  CutFor(links, DownTime() * 2);
}

void Faults::CutFor(const Links& links, int64_t for_ns) {
  for (auto [from, to] : links) cluster_->network().CutLink(from, to);
  cluster_->world().After(for_ns, [this, links] {
    for (auto [from, to] : links) cluster_->network().HealLink(from, to);
  });
}

void Faults::CrashCoordinator() {
  cluster_->coordinator().Crash();
  cluster_->world().After(DownTime(),
                          [this] { cluster_->coordinator().Start(); });
}

// Members may not have heard of the configuration when the next change begins.
void Faults::CrashAtStore(const proto::StoredShard& stored) {
  if (healed_ || !at_next_store_) return;
  at_next_store_ = false;
  Prng& random = cluster_->world().random();
  const int position =
      random.Chance(0.7)
          ? 0
          : static_cast<int>(random.Below(stored.members_size()));
  const bool power = cluster_->setup().survives == pmem::Survives::kPower;
  CrashCoordinator();
  CrashServer(stored.members(position) - 1, power && random.Chance(0.5),
              LongTime());
}

void Faults::Heal() {
  healed_ = true;
  cluster_->world().Trace("all faults heal");
  cluster_->Calm();
  cluster_->coordinator().Start();
  cluster_->coordinator().PauseUntil(0);
  for (size_t i = 0; i < cluster_->server_count(); ++i) {
    cluster_->server(i).CancelCrash();
    cluster_->StartServer(i);
    cluster_->server(i).SetSlowness(1);
    cluster_->server(i).Resume();
  }
  for (size_t i = 0; i < workload_->client_count(); ++i) {
    workload_->client(i).Resume();
  }
}

}  // namespace whale::sim

#include "control/fake_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire.h"

namespace whale::control {

// ------------------------------------------------------------------- server

FakeServer::FakeServer(uint32_t id, uint64_t incarnation) {
  base.set_protocol_version(wire::kProtocolVersion);
  base.set_server_id(id);
  base.set_incarnation(incarnation);
  base.set_pool_uuid(std::string(16, static_cast<char>('a' + id)));
  base.set_fabric("shm");
  base.set_fabric_address(absl::StrCat("fabric-", id));
  base.set_survives("process");
  base.set_segment_bytes(kTestSegmentBytes);
  base.set_ring_slots(64);
}

void FakeServer::Restart(uint64_t incarnation) {
  base.set_incarnation(incarnation);
  base.set_sequence(0);
  base.clear_dead_peers();
  base.clear_leaving();
  alive = true;
  lease_until_sequence = 0;
  for (auto& [number, shard] : shards_) {
    shard.set_phase(proto::SHARD_RECOVERED);
    shard.set_ended_epoch(0);
  }
}

proto::ServerReport FakeServer::Report() {
  base.set_sequence(base.sequence() + 1);
  base.set_data_progress(base.data_progress() + 1);
  proto::ServerReport report = base;
  for (const auto& [number, shard] : shards_) {
    *report.add_shards() = shard;
    report.mutable_shards()->rbegin()->set_shard(number);
  }
  return report;
}

void FakeServer::Append(uint32_t shard, uint64_t bytes, uint64_t committed) {
  proto::ShardReport& own = shards_[shard];
  own.set_announced(own.announced() + bytes);
  own.set_committed(std::max(own.committed(), committed));
}

bool FakeServer::Obey(const proto::Directive& directive) {
  if (!directive.refused().empty()) {
    refused = directive.refused();
    return false;
  }
  const bool fresh = base.cluster_uuid().empty();
  base.set_cluster_uuid(directive.cluster_uuid());
  base.set_shard_count(directive.shard_count());
  bool changed = fresh;
  for (const proto::ShardDirective& shard : directive.shards()) {
    changed |= ObeyShard(shard);
  }
  lease_until_sequence =
      std::max(lease_until_sequence, directive.lease_for_sequence());
  return changed;
}

bool FakeServer::ObeyShard(const proto::ShardDirective& directive) {
  proto::ShardReport& own = shards_[directive.shard()];
  const std::string before = own.SerializeAsString();
  const uint64_t epoch = directive.epoch();
  switch (directive.step()) {
    case proto::STEP_STOP:
    case proto::STEP_SEAL: {
      if (epoch < own.ended_epoch()) break;
      const bool seal =
          directive.step() == proto::STEP_SEAL ||
          (own.ended_epoch() == epoch && own.phase() == proto::SHARD_SEALED);
      own.set_ended_epoch(epoch);
      own.set_phase(seal ? proto::SHARD_SEALED : proto::SHARD_STOPPED);
      if (seal) {
        own.set_announced(own.announced() +
                          std::exchange(delivered_[directive.shard()], 0));
      }
      break;
    }
    case proto::STEP_ADOPT:
    case proto::STEP_ACTIVATE:
      if (epoch < own.ended_epoch()) break;  // an old directive
      Adopt(directive, &own);
      if (directive.step() == proto::STEP_ACTIVATE) {
        if (own.phase() != proto::SHARD_ACTIVE) {
          own.set_applied(directive.start());
        }
        own.set_phase(proto::SHARD_ACTIVE);
      }
      break;
    case proto::STEP_LEARN:
      if (epoch < own.epoch()) break;
      own.set_ended_epoch(std::max(own.ended_epoch(), epoch));
      own.set_phase(proto::SHARD_LEARNING);
      own.set_epoch(epoch);
      own.set_announced(directive.start());
      own.set_durable(directive.start());
      own.clear_holes();
      own.clear_damaged();
      break;
    case proto::STEP_RELEASE:
      if (epoch < own.epoch()) break;
      own.set_ended_epoch(std::max(own.ended_epoch(), epoch));
      own.set_phase(directive.free() ? proto::SHARD_ABSENT
                                     : proto::SHARD_RELEASED);
      if (directive.free()) {
        own.clear_epoch();
        own.clear_announced();
        own.clear_durable();
        own.clear_history();
        own.clear_holes();
      }
      break;
    default:
      break;
  }
  return own.SerializeAsString() != before;
}

void FakeServer::Adopt(const proto::ShardDirective& directive,
                       proto::ShardReport* own) {
  const bool there = own->epoch() == directive.epoch() &&
                     (own->phase() == proto::SHARD_ADOPTED ||
                      own->phase() == proto::SHARD_ACTIVE);
  if (there) return;
  if (own->phase() == proto::SHARD_RECOVERED) {
    violations.push_back(absl::StrCat("server ", id(), " shall resume shard ",
                                      directive.shard(), " epoch ",
                                      directive.epoch(), " after a restart"));
  }
  own->set_phase(proto::SHARD_ADOPTED);
  own->set_epoch(directive.epoch());
  // The primary fetches what is missing, and delivers it again.
  own->set_announced(directive.start());
  own->set_durable(directive.start());
  own->clear_holes();
  *own->mutable_history() = directive.history();
}

// ------------------------------------------------------------------ cluster

FakeCluster::FakeCluster(const ClusterOptions& options) {
  options_.cluster = options;
  options_.new_cluster_uuid = "0123456789abcdef";
  options_.description = "test";
  core_ = std::make_unique<CoordinatorCore>(options_, std::nullopt, now_ns);
  Effects effects;
  core_->Start(now_ns, &effects);
  Execute(std::move(effects));
}

FakeServer& FakeCluster::AddServer(uint32_t id) {
  servers_[id] = std::make_unique<FakeServer>(id, next_incarnation_++);
  Say(id);
  return *servers_[id];
}

void FakeCluster::Form() {
  for (uint32_t id = 1; id <= options_.cluster.replicas; ++id) AddServer(id);
  Settle();
  Rounds(2);
}

void FakeCluster::Kill(uint32_t id) {
  FakeServer& server = *servers_.at(id);
  server.alive = false;
  const uint64_t incarnation = server.incarnation();
  messages_.push_back([this, id, incarnation, life = coordinator_life_] {
    if (life != coordinator_life_) return;
    Effects effects;
    core_->OnServerGone(ServerId(id), Incarnation(incarnation), now_ns,
                        &effects);
    Execute(std::move(effects));
  });
}

void FakeCluster::Start(uint32_t id) {
  servers_.at(id)->Restart(next_incarnation_++);
  Say(id);
}

void FakeCluster::Restart(uint32_t id) {
  Kill(id);
  Start(id);
}

void FakeCluster::RestartCoordinator() {
  ++coordinator_life_;  // what is on its way to or from the old one is lost
  core_ = std::make_unique<CoordinatorCore>(options_, store_, now_ns);
  Effects effects;
  core_->Start(now_ns, &effects);
  Execute(std::move(effects));
  for (auto& [id, server] : servers_) {
    if (server->alive) Say(id);
  }
}

void FakeCluster::Say(uint32_t id) {
  proto::ServerReport report = servers_.at(id)->Report();
  if (lost_reports.count(id) != 0) return;
  auto message = [this, report, life = coordinator_life_] {
    if (life != coordinator_life_) return;
    Effects effects;
    core_->OnReport(report, now_ns, &effects);
    Execute(std::move(effects));
  };
  messages_.push_back(message);
  if (duplicate_messages) messages_.push_back(message);
}

void FakeCluster::Advance(int64_t ns) {
  now_ns += ns;
  Effects effects;
  core_->OnTick(now_ns, &effects);
  Execute(std::move(effects));
}

bool FakeCluster::Step() {
  if (messages_.empty()) return false;
  auto message = std::move(messages_.front());
  messages_.pop_front();
  message();
  return true;
}

void FakeCluster::Settle() {
  for (int i = 0; i < 100'000 && Step(); ++i) {
  }
  if (!messages_.empty()) Violation("the cluster never comes to rest");
}

void FakeCluster::Rounds(int count) {
  for (int i = 0; i < count; ++i) {
    Advance(300 * kMs);
    for (auto& [id, server] : servers_) {
      if (server->alive) Say(id);
    }
    Settle();
  }
}

// ------------------------------------------------------------------ effects

void FakeCluster::Execute(Effects effects) {
  for (const SendDirective& send : effects.directives) {
    CheckDirective(send);
    sent_[send.server.value()] = send.directive;
    auto message = [this, send, life = coordinator_life_] {
      if (life == coordinator_life_) Deliver(send);
    };
    messages_.push_back(message);
    if (duplicate_messages) messages_.push_back(message);
  }
  for (const SessionOpened& opened : effects.sessions) {
    sessions.push_back(opened.session);
  }
  if (effects.store) {
    messages_.push_back(
        [this, store = *effects.store, life = coordinator_life_] {
          if (life == coordinator_life_) StoreNow(store);
        });
  }
}

void FakeCluster::Deliver(const SendDirective& send) {
  const auto it = servers_.find(send.server.value());
  if (it == servers_.end()) return;
  FakeServer& server = *it->second;
  const bool there = server.alive && !server.deaf &&
                     server.incarnation() == send.incarnation.value();
  if (!there) return;
  const bool changed = server.Obey(send.directive);
  for (const proto::ShardDirective& shard : send.directive.shards()) {
    const proto::ShardReport& own = server.shard(shard.shard());
    if (own.phase() == proto::SHARD_ADOPTED ||
        own.phase() == proto::SHARD_ACTIVE) {
      adopted_.insert({shard.shard(), own.epoch(), server.id()});
    }
  }
  if (changed) Say(server.id());
}

void FakeCluster::StoreNow(const StoreState& store) {
  Effects effects;
  const uint64_t revision = store_ ? store_->revision() : 0;
  if (!store_answer.ok()) {
    core_->OnStoreFailed(store_answer, now_ns, &effects);
  } else if (revision != store.expected_revision) {
    core_->OnStoreFailed(absl::AbortedError("another revision"), now_ns,
                         &effects);
  } else {
    CheckStore(store.state);
    store_ = store.state;
    core_->OnStored(store.state.revision(), now_ns, &effects);
  }
  Execute(std::move(effects));
}

// ------------------------------------------------------------- what must hold

void FakeCluster::CheckStore(const proto::StoredState& next) {
  for (const proto::StoredShard& shard : next.shards()) {
    proto::StoredShard configuration = shard;
    configuration.clear_reserved_epoch();
    configuration.clear_reserved_members();
    configuration.clear_next_policy();
    configuration.clear_placed();
    configuration.clear_lacks_values();
    configuration.clear_missing_at();
    configuration.clear_declared_lost();
    configuration.mutable_policy()->clear_copy_bytes_per_second();
    const std::string text = configuration.SerializeAsString();
    const auto [it, first] =
        configurations_.insert({{shard.shard(), shard.epoch()}, text});
    if (it->second != text) {
      Violation(absl::StrCat("epoch ", shard.epoch(), " of shard ",
                             shard.shard(), " was issued twice"));
    }
    if (!store_) continue;
    const proto::StoredShard& old =
        store_->shards(static_cast<int>(shard.shard()));
    if (shard.epoch() < old.epoch() ||
        std::max(shard.epoch(), shard.reserved_epoch()) <
            std::max(old.epoch(), old.reserved_epoch())) {
      Violation("an epoch went back");
    }
    if (shard.epoch() != old.epoch() &&
        (shard.epoch() != old.reserved_epoch() ||
         shard.committed() < old.committed())) {
      Violation("a configuration was stored without its reservation");
    }
  }
}

bool FakeCluster::MayServe(const SendDirective& send,
                           const proto::ShardDirective& directive) {
  FakeServer& server = *servers_.at(send.server.value());
  // Of a process that is gone unnoticed nothing can be said.
  if (server.incarnation() != send.incarnation.value()) return true;
  const proto::ShardReport& own = server.shard(directive.shard());
  return own.epoch() == directive.epoch() && own.phase() == proto::SHARD_ACTIVE;
}

void FakeCluster::CheckDirective(const SendDirective& send) {
  bool anything_active = false;
  for (const proto::ShardDirective& shard : send.directive.shards()) {
    if (!store_) {
      Violation("a directive before anything is stored");
      return;
    }
    const auto& stored = store_->shards(static_cast<int>(shard.shard()));
    const bool ends =
        shard.step() == proto::STEP_STOP || shard.step() == proto::STEP_SEAL;
    if (shard.epoch() != (ends ? stored.reserved_epoch() : stored.epoch())) {
      Violation("a directive that is not stored");
    }
    if (shard.step() != proto::STEP_ACTIVATE) continue;
    anything_active |= MayServe(send, shard);
    for (const uint32_t member : stored.members()) {
      if (adopted_.count({shard.shard(), stored.epoch(), member}) == 0) {
        Violation(
            absl::StrCat("activated before server ", member, " has adopted"));
      }
    }
  }
  if (send.directive.lease_us() != 0 && !anything_active) {
    Violation("a lease for nothing");
  }
}

bool FakeCluster::AllActive() const {
  if (core_->map().shards().empty()) return false;
  for (const proto::ShardEntry& shard : core_->map().shards()) {
    if (!shard.active()) return false;
  }
  return true;
}

proto::ShardDirective FakeCluster::directive(uint32_t id, uint32_t shard) {
  for (const proto::ShardDirective& entry : sent_[id].shards()) {
    if (entry.shard() == shard) return entry;
  }
  return {};
}

std::vector<std::string> FakeCluster::Violations() const {
  std::vector<std::string> all = violations_;
  for (const auto& [id, server] : servers_) {
    all.insert(all.end(), server->violations.begin(), server->violations.end());
  }
  return all;
}

}  // namespace whale::control

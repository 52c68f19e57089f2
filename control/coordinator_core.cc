#include "control/coordinator_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/planted_bug.h"
#include "common/status_macros.h"
#include "control/cluster_map.h"
#include "control/formation.h"
#include "control/plans.h"
#include "control/policy.h"
#include "proto/wire.h"

namespace whale::control {
namespace {

constexpr int64_t kMaxHintPauseNs = 60'000'000'000;

std::vector<ShardMachine> MachinesFor(const proto::StoredState& state) {
  std::vector<ShardMachine> machines;
  for (uint32_t s = 0; s < state.shard_count(); ++s) machines.emplace_back(s);
  return machines;
}

}  // namespace

CoordinatorCore::CoordinatorCore(const CoreOptions& options,
                                 std::optional<proto::StoredState> stored,
                                 int64_t now_ns)
    : options_(options),
      leases_(now_ns, std::max(options.cluster.lease_us,
                               stored ? stored->longest_lease_us() : 0)),
      stored_(std::move(stored)) {
  WHALE_CHECK(CheckOptions(options_.cluster).ok());
  if (!stored_) return;
  machines_ = MachinesFor(*stored_);
  next_session_ = stored_->next_session();
}

void CoordinatorCore::Start(int64_t now_ns, Effects* effects) {
  if (stored_) {
    wanted_ = stored_;
    wanted_->set_leader_term(stored_->leader_term() + 1);
    wanted_changed_ = true;
  }
  Settle(now_ns, 0, effects);
}

int64_t CoordinatorCore::SilenceNs() const {
  return Leases::AllowanceNs(stored_ ? stored_->policy().lease_us()
                                     : options_.cluster.lease_us);
}

uint64_t CoordinatorCore::session_lease_us() const {
  if (!stored_) return options_.cluster.session_lease_us;
  uint64_t shortest = stored_->policy().session_lease_us();
  for (const proto::StoredShard& shard : stored_->shards()) {
    shortest = std::min(shortest, shard.policy().session_lease_us());
  }
  return shortest;
}

ChangeContext CoordinatorCore::Context(int64_t now_ns) {
  return {.options = options_,
          .registry = registry_,
          .leases = leases_,
          .stored = Planted(PlantedBug::kStoreAfterActivate) && wanted_
                        ? *wanted_
                        : *stored_,
          .wanted = &*wanted_,
          .wanted_changed = &wanted_changed_,
          .records = &records_,
          .silence_ns = SilenceNs(),
          .now_ns = now_ns};
}

// ------------------------------------------------------------------- events

void CoordinatorCore::OnReport(const proto::ServerReport& report,
                               int64_t now_ns, Effects* effects) {
  if (!resigned_.empty()) return;
  const Registry::Answer answer =
      registry_.OnReport(report, options_.cluster,
                         stored_ ? &*stored_ : nullptr, SilenceNs(), now_ns);
  if (answer.verdict == Registry::Verdict::kRefused) {
    Refuse(report, answer.why, effects);
    return;
  }
  if (answer.verdict == Registry::Verdict::kIgnored) return;
  progress_.Note(report, now_ns);
  if (leads()) NoteDeadPeers(*registry_.Find(report.server_id()), now_ns);
  Settle(now_ns, report.server_id(), effects);
}

void CoordinatorCore::OnServerGone(ServerId server, Incarnation incarnation,
                                   int64_t now_ns, Effects* effects) {
  registry_.OnGone(server.value(), incarnation.value(), now_ns);
  Settle(now_ns, 0, effects);
}

void CoordinatorCore::OnTick(int64_t now_ns, Effects* effects) {
  if (in_flight_ && retry_store_ && resigned_.empty()) {
    retry_store_ = false;
    effects->store = {in_flight_->revision() - 1, *in_flight_};
  }
  Settle(now_ns, 0, effects);
}

void CoordinatorCore::OnStored(uint64_t revision, int64_t now_ns,
                               Effects* effects) {
  if (!in_flight_ || in_flight_->revision() != revision) return;
  const bool formed = !stored_.has_value();
  stored_ = std::move(in_flight_);
  in_flight_.reset();
  store_trouble_.clear();
  term_stored_ = true;
  if (formed) {
    machines_ = MachinesFor(*stored_);
    next_session_ = stored_->next_session();
    for (ShardMachine& machine : machines_) machine.Bind(founders_);
  }
  Settle(now_ns, 0, effects);
}

void CoordinatorCore::OnStoreFailed(const absl::Status& status, int64_t now_ns,
                                    Effects* effects) {
  if (!in_flight_) return;
  if (absl::IsAborted(status)) {
    resigned_ = absl::StrCat("another coordinator leads: ",
                             std::string(status.message()));
    return;
  }
  store_trouble_ = absl::StrCat("the configuration store cannot be written: ",
                                std::string(status.message()));
  retry_store_ = true;
}

void CoordinatorCore::Refuse(const proto::ServerReport& report,
                             const std::string& why, Effects* effects) {
  SendDirective send{
      ServerId(report.server_id()), Incarnation(report.incarnation()), {}};
  send.directive.set_refused(why);
  effects->directives.push_back(std::move(send));
}

void CoordinatorCore::NoteDeadPeers(const ServerState& server, int64_t now_ns) {
  const auto& dead = server.report.dead_peers();
  std::erase_if(hints_, [&](const auto& entry) {
    const auto& [by, about] = entry.first;
    return by == server.id() &&
           std::find(dead.begin(), dead.end(), about) == dead.end();
  });
  const ChangeContext context = Context(now_ns);
  for (const uint32_t about : dead) {
    const ServerState* peer = registry_.Find(about);
    // A peer that is away is no matter of connections.
    if (peer == nullptr || !registry_.Present(about, SilenceNs(), now_ns)) {
      continue;
    }
    const auto it = hints_.find({server.id(), about});
    if (it != hints_.end() && now_ns < it->second.again_ns) continue;
    bool acted = false;
    for (ShardMachine& machine : machines_) {
      acted |= machine.SuspectLink(context, server, *peer);
    }
    if (!acted) continue;
    Hint& hint = hints_[{server.id(), about}];
    hint.pause_ns = hint.pause_ns == 0
                        ? options_.hint_pause_ns
                        : std::min(2 * hint.pause_ns, kMaxHintPauseNs);
    hint.again_ns = now_ns + hint.pause_ns;
  }
}

// ------------------------------------------------------- what follows of them

void CoordinatorCore::Settle(int64_t now_ns, uint32_t answer_to,
                             Effects* effects) {
  if (!resigned_.empty()) return;
  if (!stored_ && !in_flight_) Form(now_ns);
  if (leads()) {
    const ChangeContext context = Context(now_ns);
    TakeNewPools();
    FinishLeaving();
    SpreadPrimaries(context);
    for (ShardMachine& machine : machines_) machine.Advance(context);
    IssueSessions(effects);
  }
  for (ChangeRecord& record : std::exchange(records_, {})) {
    effects->changes.push_back(std::move(record));
  }
  if (wanted_changed_ && !in_flight_) Store(effects);
  if (leads()) SendDirectives(now_ns, answer_to, effects);
  UpdateMap(now_ns);
}

// A server that has lost its pool may come with another once no configuration
// counts on the old one.
void CoordinatorCore::TakeNewPools() {
  for (proto::StoredServer& entry : *wanted_->mutable_servers()) {
    const ServerState* server = registry_.Find(entry.server_id());
    if (server == nullptr || server->report.pool_uuid() == entry.pool_uuid()) {
      continue;
    }
    const bool counted_on = std::any_of(
        wanted_->shards().begin(), wanted_->shards().end(),
        [&](const proto::StoredShard& shard) {
          return std::count(shard.members().begin(), shard.members().end(),
                            entry.server_id()) > 0;
        });
    if (counted_on) continue;
    entry.set_pool_uuid(server->report.pool_uuid());
    wanted_changed_ = true;
  }
}

// A server that is to be removed is out once no configuration has it, and none
// did in which it may still hold a lease.
void CoordinatorCore::FinishLeaving() {
  const bool all_active = std::all_of(
      map_.shards().begin(), map_.shards().end(),
      [](const proto::ShardEntry& shard) { return shard.active(); });
  if (all_active) wanted_changed_ |= FinishRemovals(&*wanted_);
  registry_.Keep(*stored_);
}

// Moves one shard at a time, and only while all are well: a change costs its
// clients a moment.
void CoordinatorCore::SpreadPrimaries(const ChangeContext& context) {
  if (context.now_ns < spread_at_ns_) return;
  const bool at_rest = std::all_of(
      machines_.begin(), machines_.end(),
      [&](const ShardMachine& machine) { return machine.AtRest(context); });
  if (!at_rest) return;
  const std::optional<Move> move =
      NextMove(*stored_, options_.cluster.primaries_on);
  if (!move) return;
  // One that did not succeed costs a change each time.
  spread_pause_ns_ = move == last_move_
                         ? std::min(2 * spread_pause_ns_, kMaxHintPauseNs)
                         : options_.spread_pause_ns;
  last_move_ = move;
  spread_at_ns_ = context.now_ns + spread_pause_ns_;
  machines_[move->shard].WantPrimary(move->to);
}

void CoordinatorCore::Form(int64_t now_ns) {
  if (!WhyNotFormed(options_.cluster, registry_, SilenceNs(), now_ns).empty()) {
    return;
  }
  wanted_ = FirstState(options_, registry_);
  wanted_changed_ = true;
  founders_.clear();
  for (const auto& [id, server] : registry_.servers()) {
    founders_[id] = server.incarnation();
  }
}

void CoordinatorCore::Store(Effects* effects) {
  const uint64_t expected = stored_ ? stored_->revision() : 0;
  in_flight_ = wanted_;
  in_flight_->set_revision(expected + 1);
  wanted_changed_ = false;
  effects->store = {expected, *in_flight_};
}

void CoordinatorCore::IssueSessions(Effects* effects) {
  while (!session_tokens_.empty() && next_session_ < stored_->next_session()) {
    effects->sessions.push_back({session_tokens_.front(), next_session_++});
    session_tokens_.pop_front();
  }
  const bool asked = wanted_->next_session() > stored_->next_session();
  if (session_tokens_.empty() || asked) return;
  wanted_->set_next_session(stored_->next_session() + kSessionBlock);
  wanted_changed_ = true;
}

void CoordinatorCore::SendDirectives(int64_t now_ns, uint32_t answer_to,
                                     Effects* effects) {
  const ChangeContext context = Context(now_ns);
  for (const auto& [id, server] : registry_.servers()) {
    if (!server.attached) continue;
    proto::Directive directive = DirectiveFor(context, server);
    std::string text = directive.SerializeAsString();
    Sent& sent = sent_[id];
    const bool known =
        sent.incarnation == server.incarnation() && sent.directive == text;
    if (known && id != answer_to) continue;
    sent = {server.incarnation(), std::move(text)};
    GrantLease(context, server, &directive);
    effects->directives.push_back({ServerId(id),
                                   Incarnation(server.incarnation()),
                                   std::move(directive)});
  }
}

proto::Directive CoordinatorCore::DirectiveFor(
    const ChangeContext& context, const ServerState& server) const {
  proto::Directive directive;
  directive.set_cluster_uuid(stored_->cluster_uuid());
  directive.set_shard_count(stored_->shard_count());
  directive.set_segment_bytes(stored_->segment_bytes());
  for (const ShardMachine& machine : machines_) {
    *directive.add_shards() = machine.DirectiveFor(context, server);
  }
  AddPeers(server, context, &directive);
  return directive;
}

void CoordinatorCore::AddPeers(const ServerState& server,
                               const ChangeContext& context,
                               proto::Directive* directive) const {
  for (const auto& [id, peer] : registry_.servers()) {
    const bool there =
        registry_.Present(id, context.silence_ns, context.now_ns);
    const bool may_connect =
        there && std::all_of(machines_.begin(), machines_.end(),
                             [&, &peer = peer](const ShardMachine& machine) {
                               return machine.MayConnect(context, peer);
                             });
    if (id == server.id() || !may_connect) continue;
    proto::Peer* entry = directive->add_peers();
    entry->set_server_id(id);
    entry->set_incarnation(peer.incarnation());
    entry->set_fabric_address(peer.report.fabric_address());
  }
}

void CoordinatorCore::GrantLease(const ChangeContext& context,
                                 const ServerState& server,
                                 proto::Directive* directive) {
  const bool there =
      registry_.Present(server.id(), context.silence_ns, context.now_ns);
  if (!there) return;
  uint64_t lease_us = 0;
  std::vector<uint32_t> shards;
  for (uint32_t s = 0; s < machines_.size(); ++s) {
    // Activation never carries a lease: the report that is answered must say
    // that the shard serves.
    if (!machines_[s].Serves(context, server)) continue;
    const uint64_t of_shard =
        stored_->shards(static_cast<int>(s)).policy().lease_us();
    lease_us = shards.empty() ? of_shard : std::min(lease_us, of_shard);
    shards.push_back(s);
  }
  lease_us = leases_.Grantable(lease_us, context.now_ns);
  if (lease_us == 0) return;
  for (const uint32_t s : shards) {
    leases_.Granted(s, server.id(), server.incarnation(), lease_us,
                    context.now_ns);
  }
  directive->set_lease_us(lease_us);
  directive->set_lease_for_sequence(server.report.sequence());
}

// ----------------------------------------------------------------- requests

std::string CoordinatorCore::WhyNoCluster(int64_t now_ns) const {
  if (!resigned_.empty()) return resigned_;
  if (stored_) return "";
  std::string why =
      WhyNotFormed(options_.cluster, registry_, SilenceNs(), now_ns);
  return absl::StrCat(
      "the cluster is not formed yet: it needs ", options_.cluster.replicas,
      " servers with empty pools; ",
      why.empty() ? "its first configuration is being stored" : why);
}

absl::Status CoordinatorCore::OpenSession(uint64_t token, int64_t now_ns,
                                          Effects* effects) {
  std::string why = WhyNoCluster(now_ns);
  if (!why.empty()) return absl::UnavailableError(why);
  session_tokens_.push_back(token);
  Settle(now_ns, 0, effects);
  return absl::OkStatus();
}

absl::StatusOr<std::string> CoordinatorCore::Change(Plan plan, int64_t now_ns,
                                                    Effects* effects) {
  std::string why = WhyNoCluster(now_ns);
  if (!why.empty()) return absl::UnavailableError(why);
  if (!leads()) return absl::UnavailableError(StorePending());
  proto::StoredState planned = *wanted_;
  WHALE_ASSIGN_OR_RETURN(std::string message, plan(&planned));
  wanted_ = std::move(planned);
  wanted_changed_ = true;
  Settle(now_ns, 0, effects);
  return message;
}

std::string CoordinatorCore::StorePending() const {
  if (!resigned_.empty()) return resigned_;
  if (!wanted_changed_ && !in_flight_) return "";
  return store_trouble_.empty() ? "it is being stored" : store_trouble_;
}

absl::Status CoordinatorCore::SetPolicy(const proto::SetPolicyRequest& request,
                                        int64_t now_ns, Effects* effects) {
  std::string why = WhyNoCluster(now_ns);
  if (!why.empty()) return absl::UnavailableError(why);
  for (const uint32_t s : request.shards()) {
    if (s >= machines_.size()) {
      return absl::InvalidArgumentError(absl::StrCat("there is no shard ", s,
                                                     "; the shards are 0 to ",
                                                     machines_.size() - 1));
    }
    const uint64_t epoch = wanted_->shards(static_cast<int>(s)).epoch();
    if (request.if_epoch() != 0 && request.if_epoch() != epoch) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the request is for epoch ", request.if_epoch(), " of shard ", s,
          ", which is in epoch ", epoch, " now: look at it again"));
    }
  }
  const proto::Policy policy = Completed(request.policy(), wanted_->policy());
  WHALE_RETURN_IF_ERROR(CheckPolicy(policy, wanted_->replicas()));

  if (request.shards().empty()) *wanted_->mutable_policy() = policy;
  wanted_->set_longest_lease_us(
      std::max(wanted_->longest_lease_us(), policy.lease_us()));
  leases_.NoteConfigured(policy.lease_us());
  for (proto::StoredShard& shard : *wanted_->mutable_shards()) {
    const bool named = request.shards().empty() ||
                       std::count(request.shards().begin(),
                                  request.shards().end(), shard.shard()) > 0;
    if (!named) continue;
    // Without a new configuration.
    shard.mutable_policy()->set_copy_bytes_per_second(
        policy.copy_bytes_per_second());
    if (SamePolicy(shard.policy(), policy)) {
      shard.clear_next_policy();
    } else {
      *shard.mutable_next_policy() = policy;
    }
  }
  wanted_changed_ = true;
  Settle(now_ns, 0, effects);
  return absl::OkStatus();
}

absl::StatusOr<std::string> CoordinatorCore::DeclareLost(
    const proto::DeclareLostRequest& request, int64_t now_ns,
    Effects* effects) {
  std::string why = WhyNoCluster(now_ns);
  if (!why.empty()) return absl::UnavailableError(why);
  if (!leads()) return absl::UnavailableError(StorePending());
  if (request.shard() >= machines_.size()) {
    return absl::NotFoundError(
        absl::StrCat("there is no shard ", request.shard(),
                     "; the shards are 0 to ", machines_.size() - 1));
  }
  if (request.lsns().empty()) {
    return absl::InvalidArgumentError(
        "the request names no values; the status lists what is missing");
  }
  WHALE_ASSIGN_OR_RETURN(
      std::string message,
      machines_[request.shard()].DeclareLost(Context(now_ns), request.lsns()));
  Settle(now_ns, 0, effects);
  return message;
}

std::string CoordinatorCore::PolicyPending() const {
  if (!resigned_.empty()) return resigned_;
  if (wanted_changed_ || in_flight_) return StorePending();
  std::vector<std::string> pending;
  for (const proto::ShardEntry& shard : map_.shards()) {
    if (shard.active()) continue;
    pending.push_back(
        absl::StrCat("shard ", shard.shard(), ": ", shard.why_not()));
  }
  return absl::StrJoin(pending, "; ");
}

void CoordinatorCore::UpdateMap(int64_t now_ns) {
  if (stored_ && !leads()) return;
  proto::ClusterMap map;
  map.set_protocol_version(wire::kProtocolVersion);
  AddServers(registry_, SilenceNs(), now_ns, &map);
  if (leads()) {
    map.set_cluster_uuid(stored_->cluster_uuid());
    const ChangeContext context = Context(now_ns);
    for (const ShardMachine& machine : machines_) {
      *map.add_shards() = machine.EntryFor(context);
    }
  }
  map.set_version(map_.version());
  if (map_.version() != 0 &&
      map.SerializeAsString() == map_.SerializeAsString()) {
    return;
  }
  // Later leaders have higher terms.
  const uint64_t term = stored_ ? stored_->leader_term() : 0;
  map.set_version(std::max(map_.version(), term << 32) + 1);
  map_ = std::move(map);
}

proto::ClusterStatus CoordinatorCore::Status(int64_t now_ns) {
  proto::ClusterStatus status;
  *status.mutable_map() = map_;
  AddReports(registry_, now_ns, &status);
  status.set_coordinator(options_.description);
  std::string no_cluster = WhyNoCluster(now_ns);
  if (!no_cluster.empty()) status.add_warnings(no_cluster);
  if (!store_trouble_.empty()) status.add_warnings(store_trouble_);
  for (std::string& warning :
       Warnings(registry_, options_.cluster, stored_ ? &*stored_ : nullptr,
                map_, SilenceNs(), now_ns)) {
    status.add_warnings(std::move(warning));
  }
  AddFewer(now_ns, &status);
  AddPlans(now_ns, &status);
  WarnOfMissing(&status);
  return status;
}

void CoordinatorCore::AddPlans(int64_t now_ns, proto::ClusterStatus* status) {
  if (!leads()) return;
  const ChangeContext context = Context(now_ns);
  for (const ShardMachine& machine : machines_) {
    machine.AddMoves(context, progress_, status);
    machine.AddMissing(context, status);
  }
  for (const proto::StoredServer& server : stored_->servers()) {
    if (server.plan() == proto::SERVER_REMOVING) {
      status->add_removing(server.server_id());
    } else if (server.plan() == proto::SERVER_DRAINED) {
      status->add_drained(server.server_id());
    }
  }
}

// One line per cause, not per shard.
void CoordinatorCore::AddFewer(int64_t now_ns, proto::ClusterStatus* status) {
  if (!leads()) return;
  const ChangeContext context = Context(now_ns);
  std::map<std::string, std::vector<size_t>> shards_by_cause;
  for (size_t s = 0; s < machines_.size(); ++s) {
    std::string why = machines_[s].WhyFewer(context);
    if (!why.empty()) shards_by_cause[std::move(why)].push_back(s);
  }
  for (const auto& [cause, shards] : shards_by_cause) {
    status->add_warnings(absl::StrCat(shards.size() == 1 ? "shard " : "shards ",
                                      absl::StrJoin(shards, ", "), ": ",
                                      cause));
  }
}

}  // namespace whale::control

#include "control/plans.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/options.h"

namespace whale::control {
namespace {

using Servers = google::protobuf::RepeatedField<uint32_t>;

bool Names(const Servers& servers, uint32_t server) {
  return std::find(servers.begin(), servers.end(), server) != servers.end();
}

void Erase(Servers* servers, uint32_t server) {
  servers->erase(std::remove(servers->begin(), servers->end(), server),
                 servers->end());
}

proto::StoredServer* FindServer(proto::StoredState* state, uint32_t id) {
  for (proto::StoredServer& server : *state->mutable_servers()) {
    if (server.server_id() == id) return &server;
  }
  return nullptr;
}

absl::StatusOr<proto::StoredServer*> KnownServer(proto::StoredState* state,
                                                 uint32_t id) {
  proto::StoredServer* server = FindServer(state, id);
  if (server != nullptr) return server;
  return absl::NotFoundError(
      absl::StrCat("server ", id, " is not in this cluster"));
}

// Placed replicas of each server in service.
std::map<uint32_t, int> Loads(const proto::StoredState& state) {
  std::map<uint32_t, int> loads;
  for (const proto::StoredServer& server : state.servers()) {
    if (server.plan() == proto::SERVER_IN_SERVICE) {
      loads[server.server_id()] = 0;
    }
  }
  for (const proto::StoredShard& shard : state.shards()) {
    for (const uint32_t server : shard.placed()) {
      const auto it = loads.find(server);
      if (it != loads.end()) ++it->second;
    }
  }
  return loads;
}

// The one with the least load that does not hold the shard; loads.end(): all
// do.
std::map<uint32_t, int>::iterator LeastLoaded(std::map<uint32_t, int>& loads,
                                              const proto::StoredShard& shard) {
  auto least = loads.end();
  for (auto it = loads.begin(); it != loads.end(); ++it) {
    if (Names(shard.placed(), it->first)) continue;
    if (least == loads.end() || it->second < least->second) least = it;
  }
  return least;
}

void MoveReplica(proto::StoredShard* shard, uint32_t from, uint32_t to) {
  std::replace(shard->mutable_placed()->begin(), shard->mutable_placed()->end(),
               from, to);
}

// Nothing stays on servers that are not in service.
void Evacuate(proto::StoredState* state, std::map<uint32_t, int>* loads) {
  for (proto::StoredShard& shard : *state->mutable_shards()) {
    const Servers placed = shard.placed();
    for (const uint32_t server : placed) {
      if (loads->count(server) != 0) continue;
      const auto to = LeastLoaded(*loads, shard);
      if (to == loads->end()) continue;
      MoveReplica(&shard, server, to->first);
      ++to->second;
    }
  }
}

// One replica from the most loaded that has one to give to the least loaded;
// false: they are even.
bool MoveOne(proto::StoredState* state, std::map<uint32_t, int>* loads) {
  proto::StoredShard* best = nullptr;
  uint32_t best_from = 0;
  uint32_t best_to = 0;
  int most = 1;  // a move must gain something
  for (proto::StoredShard& shard : *state->mutable_shards()) {
    const auto to = LeastLoaded(*loads, shard);
    if (to == loads->end()) continue;
    for (const uint32_t from : shard.placed()) {
      const int gain = (*loads)[from] - to->second;
      if (gain <= most) continue;
      most = gain;
      best = &shard;
      best_from = from;
      best_to = to->first;
    }
  }
  if (best == nullptr) return false;
  MoveReplica(best, best_from, best_to);
  --(*loads)[best_from];
  ++(*loads)[best_to];
  return true;
}

void Balance(proto::StoredState* state) {
  std::map<uint32_t, int> loads = Loads(*state);
  Evacuate(state, &loads);
  while (MoveOne(state, &loads)) {
  }
}

// A replica comes before another goes: for a moment there is one more.
absl::Status CheckRoomToMove(const proto::StoredState& state) {
  if (state.replicas() < kMaxReplicas) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("shards with ", kMaxReplicas,
                   " replicas, the most there can be, cannot be moved"));
}

absl::Status CheckEnoughWithout(const proto::StoredState& state,
                                uint32_t server) {
  const std::map<uint32_t, int> loads = Loads(state);
  const size_t others = loads.size() - loads.count(server);
  if (others >= state.replicas()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the cluster keeps ", state.replicas(),
      " replicas of each shard; without server ", server, " it would have ",
      others, " servers for them: add another first, or use replace-server"));
}

absl::StatusOr<std::string> TakeOutOfService(uint32_t id,
                                             proto::ServerPlan plan,
                                             proto::StoredState* state) {
  WHALE_ASSIGN_OR_RETURN(proto::StoredServer* const server,
                         KnownServer(state, id));
  WHALE_RETURN_IF_ERROR(CheckEnoughWithout(*state, id));
  WHALE_RETURN_IF_ERROR(CheckRoomToMove(*state));
  server->set_plan(plan);
  Balance(state);
  return absl::StrCat("server ", id, " gives its shards to others",
                      plan == proto::SERVER_REMOVING ? " and leaves" : "");
}

absl::Status CheckEpoch(const proto::StoredShard& shard, uint64_t epoch) {
  if (epoch == 0 || epoch == shard.epoch()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the request is for epoch ", epoch, " of shard ", shard.shard(),
      ", which is in epoch ", shard.epoch(), " now: look at it again"));
}

}  // namespace

absl::StatusOr<std::string> PlanAddServer(const proto::ServerRequest& request,
                                          proto::StoredState* state) {
  const uint32_t id = request.server_id();
  if (id == 0 || id > kMaxServers) {
    return absl::InvalidArgumentError(
        absl::StrCat("server id ", id, " must be from 1 to ", kMaxServers));
  }
  proto::StoredServer* server = FindServer(state, id);
  if (server != nullptr && server->plan() == proto::SERVER_IN_SERVICE) {
    return absl::StrCat("server ", id, " is in the cluster");
  }
  if (server == nullptr) {
    server = state->add_servers();
    server->set_server_id(id);
    Erase(state->mutable_removed_servers(), id);
  }
  server->set_plan(proto::SERVER_IN_SERVICE);
  if (CheckRoomToMove(*state).ok()) Balance(state);
  return absl::StrCat("server ", id,
                      " may join and takes its share of the shards");
}

absl::StatusOr<std::string> PlanDrain(const proto::ServerRequest& request,
                                      proto::StoredState* state) {
  const uint32_t id = request.server_id();
  WHALE_ASSIGN_OR_RETURN(const proto::StoredServer* const server,
                         KnownServer(state, id));
  if (server->plan() == proto::SERVER_REMOVING) {
    return absl::FailedPreconditionError(
        absl::StrCat("server ", id,
                     " is being removed; add-server keeps it, drain it then"));
  }
  if (server->plan() == proto::SERVER_DRAINED) {
    return absl::StrCat("server ", id, " is drained");
  }
  return TakeOutOfService(id, proto::SERVER_DRAINED, state);
}

absl::StatusOr<std::string> PlanRemoveServer(
    const proto::ServerRequest& request, proto::StoredState* state) {
  const uint32_t id = request.server_id();
  const proto::StoredServer* const server = FindServer(state, id);
  if (server == nullptr && Names(state->removed_servers(), id)) {
    return absl::StrCat("server ", id, " has been removed");
  }
  if (server != nullptr && server->plan() == proto::SERVER_REMOVING) {
    return absl::StrCat("server ", id, " is being removed");
  }
  return TakeOutOfService(id, proto::SERVER_REMOVING, state);
}

absl::StatusOr<std::string> PlanReplaceServer(
    const proto::ReplaceServerRequest& request, proto::StoredState* state) {
  const uint32_t id = request.server_id();
  const uint32_t by = request.by_server_id();
  if (id == by) {
    return absl::InvalidArgumentError(
        absl::StrCat("server ", id, " cannot be replaced by itself"));
  }
  if (by == 0 || by > kMaxServers) {
    return absl::InvalidArgumentError(
        absl::StrCat("server id ", by, " must be from 1 to ", kMaxServers));
  }
  if (FindServer(state, id) == nullptr && Names(state->removed_servers(), id) &&
      FindServer(state, by) != nullptr) {
    return absl::StrCat("server ", id, " has been removed");
  }
  WHALE_RETURN_IF_ERROR(KnownServer(state, id).status());
  WHALE_RETURN_IF_ERROR(CheckRoomToMove(*state));
  const proto::StoredServer* const other = FindServer(state, by);
  if (other != nullptr && other->plan() != proto::SERVER_IN_SERVICE) {
    return absl::FailedPreconditionError(absl::StrCat(
        "server ", by, " is drained or being removed; add-server first"));
  }
  for (const proto::StoredShard& shard : state->shards()) {
    if (!Names(shard.placed(), id) || !Names(shard.placed(), by)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "server ", by, " holds shard ", shard.shard(), " like server ", id,
        ", and would be two of its replicas: use remove-server"));
  }
  if (other == nullptr) {
    state->add_servers()->set_server_id(by);
    Erase(state->mutable_removed_servers(), by);
  }
  FindServer(state, id)->set_plan(proto::SERVER_REMOVING);
  for (proto::StoredShard& shard : *state->mutable_shards()) {
    MoveReplica(&shard, id, by);
  }
  return absl::StrCat("server ", by, " takes the place of server ", id);
}

absl::StatusOr<std::string> PlanMoveShard(
    const proto::MoveShardRequest& request, proto::StoredState* state) {
  const uint32_t from = request.from_server_id();
  const uint32_t to = request.to_server_id();
  if (request.shard() >= static_cast<uint32_t>(state->shards_size())) {
    return absl::NotFoundError(
        absl::StrCat("there is no shard ", request.shard(),
                     "; the shards are 0 to ", state->shards_size() - 1));
  }
  proto::StoredShard* shard =
      state->mutable_shards(static_cast<int>(request.shard()));
  WHALE_RETURN_IF_ERROR(KnownServer(state, from).status());
  WHALE_ASSIGN_OR_RETURN(const proto::StoredServer* const target,
                         KnownServer(state, to));
  WHALE_RETURN_IF_ERROR(CheckEpoch(*shard, request.if_epoch()));
  if (from == to) {
    return absl::InvalidArgumentError("the two servers are the same");
  }
  const bool on_target = Names(shard->placed(), to);
  if (!Names(shard->placed(), from)) {
    if (on_target) {
      return absl::StrCat("shard ", request.shard(), " is placed on server ",
                          to);
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "shard ", request.shard(), " is not placed on server ", from));
  }
  if (on_target) {
    return absl::FailedPreconditionError(absl::StrCat(
        "server ", to, " holds shard ", request.shard(), " already"));
  }
  if (target->plan() != proto::SERVER_IN_SERVICE) {
    return absl::FailedPreconditionError(
        absl::StrCat("server ", to, " is drained or being removed"));
  }
  WHALE_RETURN_IF_ERROR(CheckRoomToMove(*state));
  MoveReplica(shard, from, to);
  return absl::StrCat("shard ", request.shard(), " moves from server ", from,
                      " to server ", to);
}

bool FinishRemovals(proto::StoredState* state) {
  const auto holds = [state](uint32_t id) {
    return std::any_of(state->shards().begin(), state->shards().end(),
                       [id](const proto::StoredShard& shard) {
                         return Names(shard.members(), id) ||
                                Names(shard.reserved_members(), id) ||
                                Names(shard.placed(), id) ||
                                Names(shard.missing_at(), id);
                       });
  };
  auto* servers = state->mutable_servers();
  const auto gone = std::remove_if(
      servers->begin(), servers->end(), [&](const proto::StoredServer& server) {
        const bool leaves = server.plan() == proto::SERVER_REMOVING &&
                            !holds(server.server_id());
        if (leaves) state->add_removed_servers(server.server_id());
        return leaves;
      });
  const bool any = gone != servers->end();
  servers->erase(gone, servers->end());
  return any;
}

}  // namespace whale::control

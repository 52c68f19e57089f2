// The map becomes links and shards; an operation becomes a choice of server.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/core_impl.h"
#include "common/hash.h"

namespace whale::client {
namespace {

// Between two questions for a map, when the last was answered or is not yet.
constexpr int64_t kMapPauseNs = 20'000'000;

constexpr int kMaxShards = 65536;

}  // namespace

bool Core::Impl::IsUsable(const proto::ClusterMap& map,
                          std::string* why_not) const {
  if (map.shards_size() == 0 || map.shards_size() > kMaxShards) {
    *why_not = absl::StrCat("the coordinator's map has ", map.shards_size(),
                            " shards; is the cluster being set up?");
  } else if (map.cluster_uuid().size() != 16) {
    *why_not = "the coordinator's map names no cluster";
  } else if (has_map_ && map.cluster_uuid() != map_.cluster_uuid()) {
    *why_not =
        "the coordinator now serves another cluster; connect a new client";
  } else if (has_map_ && map.shards_size() != map_.shards_size()) {
    *why_not = absl::StrCat("the map's shard count changed from ",
                            map_.shards_size(), " to ", map.shards_size());
  }
  return why_not->empty();
}

void Core::Impl::OnMap(const proto::ClusterMap& map) {
  now_ns_ = clock_->NowNs();
  map_ask_at_ns_ = now_ns_ + kMapPauseNs;
  std::string why_not;
  if (!IsUsable(map, &why_not)) {
    coordinator_error_ = absl::FailedPreconditionError(why_not);
    return;
  }
  coordinator_error_ = absl::OkStatus();
  if (has_map_ && map.version() <= map_.version()) return;
  map_ = map;
  map_wanted_ = false;
  map_ask_at_ns_ = now_ns_;
  if (!has_map_) {
    for (int i = 0; i < map_.shards_size(); ++i) {
      shards_.emplace_back(std::make_unique<Shard>())->number =
          static_cast<uint16_t>(i);
    }
  }
  has_map_ = true;
  UpdateLinks();
  std::vector<bool> changed(shards_.size());
  for (const proto::ShardEntry& entry : map_.shards()) {
    if (entry.shard() >= shards_.size()) continue;
    changed[entry.shard()] = UpdateShard(entry, shards_[entry.shard()].get());
  }
  RerouteOperations(changed);
}

void Core::Impl::OnMapError(const absl::Status& status) {
  now_ns_ = clock_->NowNs();
  map_ask_at_ns_ = now_ns_ + kMapPauseNs;
  session_ask_at_ns_ = now_ns_ + kMapPauseNs;
  coordinator_error_ = status;
}

void Core::Impl::UpdateLinks() {
  for (const auto& link : links_) link->address.clear();
  std::vector<Link*> moved;
  for (const proto::ServerEntry& entry : map_.servers()) {
    Link*& link = links_by_server_[entry.server_id()];
    if (link == nullptr) {
      link = links_.emplace_back(std::make_unique<Link>()).get();
      link->server = entry.server_id();
    }
    const bool same_life = link->incarnation == entry.incarnation();
    link->address = entry.fabric_address();
    link->incarnation = entry.incarnation();
    if (same_life) continue;
    link->retry_at_ns = 0;
    if (link->state != Link::State::kIdle) moved.push_back(link);
  }
  for (Link* link : moved) {
    LoseLink(link, "the server was restarted");
    link->retry_at_ns = 0;
  }
}

// Whether requests sent until now may find nobody who answers them.
bool Core::Impl::UpdateShard(const proto::ShardEntry& entry, Shard* shard) {
  std::vector<Link*> members;
  for (uint32_t server : entry.members()) {
    if (Link* link = FindLink(server)) members.push_back(link);
  }
  const bool primary_known =
      entry.members_size() > 0 && FindLink(entry.members(0)) != nullptr;
  Link* primary = primary_known ? members.front() : nullptr;
  const bool changed = shard->epoch != entry.epoch() ||
                       shard->active != entry.active() ||
                       shard->primary != primary || shard->members != members;
  shard->epoch = entry.epoch();
  shard->active = entry.active();
  shard->why_not = entry.why_not();
  shard->primary = primary;
  shard->members = std::move(members);
  return changed;
}

void Core::Impl::RerouteOperations(const std::vector<bool>& changed) {
  while (PendingOperation* operation = without_map_.PopFront()) {
    operation->stage = Stage::kFree;
    operation->shard =
        shards_[ShardOfHash(operation->key_hash, shards_.size()).value()].get();
    Place(operation);
  }
  for (PendingOperation* operation = deadlines_.front(); operation != nullptr;
       operation = deadlines_.Next(operation)) {
    if (operation->shard == nullptr || operation->stage == Stage::kTurn ||
        !changed[operation->shard->number]) {
      continue;
    }
    Unplace(operation);
    operation->to_primary = false;
    operation->failures = 0;
    Place(operation);
  }
}

Link* Core::Impl::FindLink(uint32_t server) const {
  const auto found = links_by_server_.find(server);
  return found == links_by_server_.end() ? nullptr : found->second;
}

Link* Core::Impl::ChooseReplica(const Shard& shard) {
  const size_t count = shard.members.size();
  for (size_t i = 0; i < count; ++i) {
    Link* link = shard.members[spread_++ % count];
    // One that was lost gets a read now and then, to see whether it is back.
    if (link->failures == 0 || link->state == Link::State::kReady ||
        now_ns_ >= link->retry_at_ns) {
      return link;
    }
  }
  return shard.primary;
}

// nullptr: nobody; the operation's failure says why.
Link* Core::Impl::ChooseLink(PendingOperation* operation) {
  const Shard& shard = *operation->shard;
  Link* link = shard.primary;
  if (operation->replica != 0) {
    link = FindLink(operation->replica);
  } else if (!shard.active) {
    operation->failure.obstacle = Obstacle::kShardInactive;
    return nullptr;
  } else if (operation->any_replica && !operation->to_primary) {
    link = ChooseReplica(shard);
  }
  if (link == nullptr || link->address.empty()) {
    operation->failure.obstacle = Obstacle::kUnknownServer;
    return nullptr;
  }
  return link;
}

void Core::Impl::ToLink(PendingOperation* operation) {
  Link* link = ChooseLink(operation);
  if (link == nullptr) {
    WantMap();
    BackOff(operation);
    return;
  }
  operation->link = link;
  operation->stage = Stage::kLink;
  link->queue.PushBack(operation);
}

// The server has left the map: its queue looks for another way.
void Core::Impl::Disperse(Link* link) {
  OperationQueue queue;
  queue.TakeAll(link->queue);
  while (PendingOperation* operation = queue.PopFront()) {
    operation->stage = Stage::kFree;
    Place(operation);
  }
}

}  // namespace whale::client

#include "control/formation.h"

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "control/config_store.h"
#include "control/policy.h"

namespace whale::control {

std::string WhyNotFormed(const ClusterOptions& options,
                         const Registry& registry, int64_t silence_ns,
                         int64_t now_ns) {
  const ServerState* first = nullptr;
  for (uint32_t id = 1; id <= options.replicas; ++id) {
    std::string why = registry.WhyAway(id, silence_ns, now_ns);
    if (!why.empty()) return why;
    const ServerState* server = registry.Find(id);
    if (first == nullptr) first = server;
    if (server->report.segment_bytes() != first->report.segment_bytes()) {
      return absl::StrCat("servers ", first->id(), " and ", id,
                          " have pools with segments of different size; "
                          "create one of them again");
    }
    if (server->report.ring_slots() != first->report.ring_slots()) {
      return absl::StrCat("servers ", first->id(), " and ", id,
                          " have pools with rings of different size (",
                          first->report.ring_slots(), " and ",
                          server->report.ring_slots(),
                          " slots); create one of them again");
    }
    const bool same_pool = server != first && server->report.pool_uuid() ==
                                                  first->report.pool_uuid();
    if (same_pool) {
      return absl::StrCat("servers ", first->id(), " and ", id,
                          " have copies of one pool; create one again");
    }
  }
  return "";
}

std::vector<uint32_t> FirstMembers(const ClusterOptions& options,
                                   uint32_t shard) {
  const uint32_t n = options.replicas;
  const uint32_t turn =
      options.primaries_on != 0 ? options.primaries_on - 1 : shard % n;
  std::vector<uint32_t> members;
  for (uint32_t i = 0; i < n; ++i) members.push_back((turn + i) % n + 1);
  return members;
}

proto::StoredState FirstState(const CoreOptions& options,
                              const Registry& registry) {
  const ClusterOptions& wanted = options.cluster;
  const ServerState* first = registry.Find(1);
  WHALE_CHECK(first != nullptr);
  proto::StoredState state;
  state.set_format_version(kStoredFormatVersion);
  state.set_cluster_uuid(options.new_cluster_uuid);
  state.set_shard_count(wanted.shard_count);
  state.set_replicas(wanted.replicas);
  state.set_segment_bytes(first->report.segment_bytes());
  state.set_ring_slots(first->report.ring_slots());
  state.set_next_session(1);
  *state.mutable_policy() = PolicyOf(wanted, first->report.fabric());
  state.set_longest_lease_us(state.policy().lease_us());
  state.set_leader_term(1);
  for (uint32_t id = 1; id <= wanted.replicas; ++id) {
    proto::StoredServer* server = state.add_servers();
    server->set_server_id(id);
    server->set_pool_uuid(registry.Find(id)->report.pool_uuid());
  }
  for (uint32_t s = 0; s < wanted.shard_count; ++s) {
    proto::StoredShard* shard = state.add_shards();
    shard->set_shard(s);
    shard->set_epoch(1);
    for (const uint32_t id : FirstMembers(wanted, s)) {
      shard->add_members(id);
      shard->add_placed(id);
    }
    // Logs begin at segment 1.
    shard->set_committed(state.segment_bytes());
    shard->set_start(state.segment_bytes());
    proto::EpochStart* entry = shard->add_history();
    entry->set_epoch(1);
    entry->set_start(shard->start());
    *shard->mutable_policy() = state.policy();
  }
  return state;
}

}  // namespace whale::control

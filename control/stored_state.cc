#include "control/stored_state.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/config_store.h"
#include "control/options.h"
#include "control/refusals.h"

namespace whale::control {
namespace {

absl::Status Contradiction(const std::string& what) {
  return absl::DataLossError(
      absl::StrCat("the configuration store contradicts itself: ", what,
                   ". Restore its newest undamaged copy"));
}

absl::Status CheckShard(const proto::StoredShard& shard, uint32_t number,
                        const std::set<uint32_t>& servers) {
  const std::string name = absl::StrCat("shard ", number);
  if (shard.shard() != number) return Contradiction(name + " is missing");
  if (shard.epoch() == 0) return Contradiction(name + " has no epoch");
  if (shard.members().empty()) return Contradiction(name + " has no members");
  for (const uint32_t member : shard.members()) {
    if (servers.count(member) == 0) {
      return Contradiction(absl::StrCat(name, " has unknown member ", member));
    }
  }
  for (const uint32_t server : shard.placed()) {
    if (servers.count(server) == 0) {
      return Contradiction(
          absl::StrCat(name, " is placed on unknown server ", server));
    }
  }
  if (shard.placed().empty()) return Contradiction(name + " has no place");
  if (shard.start() < shard.committed()) {
    return Contradiction(name + " is cut below what is committed");
  }
  if (shard.reserved_epoch() != 0 && shard.reserved_epoch() <= shard.epoch()) {
    return Contradiction(name + " has reserved an old epoch");
  }
  if (shard.history().empty() ||
      shard.history().rbegin()->epoch() != shard.epoch()) {
    return Contradiction(name + " has a history without its epoch");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckStoredState(const proto::StoredState& state) {
  if (state.format_version() != kStoredFormatVersion) {
    return absl::UnimplementedError(absl::StrCat(
        "the configuration store has format version ", state.format_version(),
        "; this program knows ", kStoredFormatVersion,
        ": use the version of whale that wrote it, or upgrade it"));
  }
  if (state.revision() == 0) return Contradiction("no revision");
  if (state.cluster_uuid().size() != kUuidBytes) {
    return Contradiction("no cluster uuid");
  }
  if (state.shard_count() == 0 || state.shard_count() > kMaxShards ||
      state.shards().size() != static_cast<int>(state.shard_count())) {
    return Contradiction("the number of shards");
  }
  if (state.segment_bytes() < kMinSegmentBytes) {
    return Contradiction("the size of segments");
  }
  if (state.ring_slots() == 0) return Contradiction("no ring slots");
  std::set<uint32_t> servers;
  for (const proto::StoredServer& server : state.servers()) {
    if (server.server_id() == 0 || !servers.insert(server.server_id()).second) {
      return Contradiction("a server is named twice");
    }
  }
  for (uint32_t s = 0; s < state.shard_count(); ++s) {
    WHALE_RETURN_IF_ERROR(
        CheckShard(state.shards(static_cast<int>(s)), s, servers));
  }
  return absl::OkStatus();
}

}  // namespace whale::control

#include "control/refusals.h"

#include <algorithm>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/wire.h"

namespace whale::control {
namespace {

std::string WhyMalformed(const proto::ServerReport& report) {
  if (report.pool_uuid().size() != kUuidBytes ||
      (!report.cluster_uuid().empty() &&
       report.cluster_uuid().size() != kUuidBytes)) {
    return "malformed report: a uuid has not 16 bytes";
  }
  if (report.incarnation() == 0) return "malformed report: no incarnation";
  std::set<uint32_t> shards;
  for (const proto::ShardReport& shard : report.shards()) {
    if (shard.shard() >= kMaxShards || !shards.insert(shard.shard()).second) {
      return absl::StrCat("malformed report: shard ", shard.shard(),
                          " is out of range or named twice");
    }
  }
  return "";
}

std::string WhyNotOfVersion(const proto::ServerReport& report) {
  if (report.protocol_version() == wire::kProtocolVersion) return "";
  return absl::StrCat("server ", report.server_id(),
                      " speaks protocol version ", report.protocol_version(),
                      ", the coordinator ", wire::kProtocolVersion,
                      ": install the same version of whale on all hosts");
}

std::string WhyNotForNew(const proto::ServerReport& report,
                         const ClusterOptions& wanted) {
  if (report.server_id() < 1 || report.server_id() > wanted.replicas) {
    return absl::StrCat("server id ", report.server_id(),
                        " is not of the cluster to be formed; its servers are "
                        "1 to ",
                        wanted.replicas);
  }
  if (!report.cluster_uuid().empty()) {
    return absl::StrCat(
        "the pool of server ", report.server_id(), " belongs to cluster ",
        UuidText(report.cluster_uuid()),
        ", but the coordinator's configuration store is empty: start the "
        "coordinator with the store of that cluster, or the server with an "
        "empty pool");
  }
  if (wanted.segment_bytes != 0 &&
      report.segment_bytes() != wanted.segment_bytes) {
    return absl::StrCat(
        "the pool of server ", report.server_id(), " has segments of ",
        report.segment_bytes(), " bytes; the cluster to be formed wants ",
        wanted.segment_bytes, ": create the pool again with that size");
  }
  if (report.segment_bytes() < wanted.min_segment_bytes) {
    return absl::StrCat("the pool of server ", report.server_id(),
                        " has segments of ", report.segment_bytes(),
                        " bytes; at least ", wanted.min_segment_bytes,
                        " are needed: create the pool again");
  }
  return "";
}

std::string WhyNotOfCluster(const proto::ServerReport& report,
                            const proto::StoredState& stored) {
  const bool known = std::any_of(
      stored.servers().begin(), stored.servers().end(),
      [&](const auto& s) { return s.server_id() == report.server_id(); });
  if (!known &&
      std::count(stored.removed_servers().begin(),
                 stored.removed_servers().end(), report.server_id()) > 0) {
    return absl::StrCat("server ", report.server_id(),
                        " was removed from this cluster; whale admin "
                        "add-server takes it in again");
  }
  if (!known) {
    return absl::StrCat("server id ", report.server_id(),
                        " is not in this cluster: add it with whale admin "
                        "add-server, or check the coordinator's address");
  }
  if (!report.cluster_uuid().empty() &&
      report.cluster_uuid() != stored.cluster_uuid()) {
    return absl::StrCat("the pool of server ", report.server_id(),
                        " belongs to cluster ", UuidText(report.cluster_uuid()),
                        ", not to this one (", UuidText(stored.cluster_uuid()),
                        "): check the pool's path and the coordinator's "
                        "address");
  }
  if (report.segment_bytes() != stored.segment_bytes()) {
    return absl::StrCat("the pool of server ", report.server_id(),
                        " has segments of ", report.segment_bytes(),
                        " bytes, the cluster ", stored.segment_bytes(),
                        ": create the pool with the cluster's size");
  }
  if (report.ring_slots() != stored.ring_slots()) {
    return absl::StrCat("the pool of server ", report.server_id(),
                        " has rings of ", report.ring_slots(),
                        " slots, the cluster ", stored.ring_slots(),
                        ": create the pool with the cluster's number");
  }
  if (report.shard_count() != 0 &&
      report.shard_count() != stored.shard_count()) {
    return absl::StrCat("the pool of server ", report.server_id(),
                        " is formatted for ", report.shard_count(),
                        " shards, the cluster has ", stored.shard_count(),
                        ": check the pool's path");
  }
  return "";
}

}  // namespace

std::string WhyRefused(const proto::ServerReport& report,
                       const ClusterOptions& wanted,
                       const proto::StoredState* stored) {
  std::string why = WhyNotOfVersion(report);
  if (why.empty()) why = WhyMalformed(report);
  if (!why.empty()) return why;
  return stored == nullptr ? WhyNotForNew(report, wanted)
                           : WhyNotOfCluster(report, *stored);
}

std::string WhyNotWith(const proto::ServerReport& report,
                       const proto::ServerReport& other) {
  if (report.fabric() == other.fabric()) return "";
  return absl::StrCat("server ", report.server_id(), " uses the fabric ",
                      report.fabric(), ", server ", other.server_id(), " ",
                      other.fabric(),
                      ": give all servers the same --fabric; to change it, "
                      "stop all of them first");
}

std::string UuidText(std::string_view bytes) {
  std::string text =
      absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
  if (bytes.size() != kUuidBytes) return text;
  for (const size_t at : {8u, 13u, 18u, 23u}) text.insert(at, 1, '-');
  return text;
}

}  // namespace whale::control

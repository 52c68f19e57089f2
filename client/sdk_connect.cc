#include "client/sdk_connect.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "control/cluster_client.h"
#include "control/setup_exchange.h"
#include "fabric/shm/shm_fabric.h"
#include "fabric/verbs/verbs_fabric.h"
#include "proto/wire.h"

namespace whale::client {
namespace {

// Of one question for a map; the coordinator answers sooner if it changes.
constexpr absl::Duration kFirstMapWait = absl::Milliseconds(200);

absl::Status CheckOptions(const ClientOptions& options) {
  if (options.coordinators.empty()) {
    return absl::InvalidArgumentError(
        "no coordinator given; name at least one as HOST:PORT");
  }
  if (options.timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("timeout is ", absl::FormatDuration(options.timeout),
                     "; it must be positive"));
  }
  if (options.buffer_bytes < kMaxValueBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("buffer_bytes is ", options.buffer_bytes,
                     "; it must hold one value of ", kMaxValueBytes));
  }
  return absl::OkStatus();
}

// A map with shards in it; waits for a cluster that is being set up.
absl::StatusOr<proto::ClusterMap> FirstMap(const ClientOptions& options) {
  control::ClusterClient coordinator(options.coordinators, SecurityOf(options));
  const absl::Time until = absl::Now() + options.timeout;
  uint64_t known_version = 0;
  while (true) {
    const absl::Duration left = until - absl::Now();
    absl::StatusOr<proto::ClusterMap> map =
        coordinator.GetMap(known_version, std::min(left, kFirstMapWait),
                           std::max(left, absl::Milliseconds(1)));
    if (!map.ok()) {
      return absl::Status(
          map.status().code() == absl::StatusCode::kDeadlineExceeded
              ? absl::StatusCode::kUnavailable
              : map.status().code(),
          absl::StrCat("no map from the coordinators ",
                       absl::StrJoin(options.coordinators, ", "), ": ",
                       std::string(map.status().message())));
    }
    if (map->shards_size() > 0 && map->servers_size() > 0) return map;
    if (left <= kFirstMapWait) {
      return absl::UnavailableError(absl::StrCat(
          "the cluster at ", absl::StrJoin(options.coordinators, ", "),
          " has no shards yet; are all its servers running?"));
    }
    known_version = map->version();
  }
}

absl::StatusOr<std::string> ChooseFabric(const ClientOptions& options,
                                         const proto::ClusterMap& map) {
  const std::string& servers = map.servers(0).fabric();
  if (options.fabric != "auto" && options.fabric != servers) {
    return absl::FailedPreconditionError(
        absl::StrCat("fabric '", options.fabric,
                     "' was asked for, but the cluster's servers use '",
                     servers, "'; ask for that one or 'auto'"));
  }
  return servers;
}

absl::StatusOr<std::unique_ptr<fabric::Fabric>> CreateVerbs(
    const std::string& text, const control::ClientSecurity& security) {
  // A client has one connection to each server.
  constexpr uint32_t kMostConnections = 64;
  WHALE_ASSIGN_OR_RETURN(fabric::VerbsOptions options,
                         fabric::ParseVerbsOptions(text));
  options.max_connections = std::min(options.max_connections, kMostConnections);
  WHALE_ASSIGN_OR_RETURN(auto exchange,
                         control::MakeSetupExchange({.security = security}));
  return fabric::CreateVerbsFabric(options, std::move(exchange));
}

absl::StatusOr<std::unique_ptr<fabric::Fabric>> CreateFabric(
    const std::string& name, const ClientOptions& options) {
  if (name == "shm") return fabric::CreateShmFabric({});
  if (name == "verbs") return CreateVerbs(options.verbs, SecurityOf(options));
  return absl::UnimplementedError(absl::StrCat(
      "the cluster's servers use the fabric '", name,
      "', which this client library does not have; it has: shm, verbs"));
}

}  // namespace

control::ClientSecurity SecurityOf(const ClientOptions& options) {
  return {.tls = {.ca = options.tls_ca_file,
                  .certificate = options.tls_certificate_file,
                  .key = options.tls_key_file},
          .token = options.token,
          .allow_plaintext = options.allow_plaintext};
}

absl::StatusOr<Connected> ConnectToCluster(const ClientOptions& options) {
  WHALE_RETURN_IF_ERROR(CheckOptions(options));
  Connected connected;
  WHALE_ASSIGN_OR_RETURN(connected.map, FirstMap(options));
  if (connected.map.protocol_version() != wire::kProtocolVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the cluster speaks protocol version ",
                     connected.map.protocol_version(), ", this client ",
                     wire::kProtocolVersion, "; use matching releases"));
  }
  WHALE_ASSIGN_OR_RETURN(const std::string fabric,
                         ChooseFabric(options, connected.map));
  WHALE_ASSIGN_OR_RETURN(connected.fabric, CreateFabric(fabric, options));
  return connected;
}

}  // namespace whale::client

// The flags of every command that talks to a cluster, and connecting by them.
#ifndef WHALE_TOOLS_CLUSTER_FLAGS_H_
#define WHALE_TOOLS_CLUSTER_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control/cluster_client.h"
#include "tools/options.h"
#include "tools/security_flags.h"
#include "whale/client.h"

namespace whale::tools {

struct ClusterFlags {
  std::vector<std::string> cluster = {"127.0.0.1:7400"};
  absl::Duration timeout = absl::Seconds(5);
  std::string fabric = "auto";
  std::string verbs;
  SecurityFlags security;
};

void AddClusterFlags(Options* options, ClusterFlags* flags);

// kInvalidArgument: no address, no HOST:PORT, files that cannot be read.
absl::StatusOr<ClientOptions> ClientOptionsOf(const ClusterFlags& flags);
// Errors: as Client::Connect and ClientOptionsOf.
absl::StatusOr<std::unique_ptr<Client>> ConnectTo(const ClusterFlags& flags);
// Calls to the coordinators; the same errors but what they would say.
absl::StatusOr<std::unique_ptr<control::ClusterClient>> OpenCoordinators(
    const std::vector<std::string>& addresses, const SecurityFlags& security);
// Adds to kUnavailable what can be done about it; others stay as they are.
absl::Status WithCure(const absl::Status& status);
absl::Status CheckAddresses(const std::vector<std::string>& addresses);

void AddDurabilityFlag(Options* options, WriteOptions* write);
void AddReadFlags(Options* options, ReadOptions* read);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_CLUSTER_FLAGS_H_

#include "tools/cluster_flags.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/net.h"

namespace whale::tools {
namespace {

absl::Status SetDurability(std::string_view text, Durability* durability) {
  if (text == "committed") {
    *durability = Durability::kCommitted;
  } else if (text == "replicated") {
    *durability = Durability::kReplicated;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", std::string(text), "\" is neither committed nor replicated"));
  }
  return absl::OkStatus();
}

absl::Status SetConsistency(std::string_view text, Consistency* consistency) {
  if (text == "linearizable") {
    *consistency = Consistency::kLinearizable;
  } else if (text == "session") {
    *consistency = Consistency::kSession;
  } else if (text == "stale") {
    *consistency = Consistency::kStale;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text),
                     "\" is none of linearizable, session and stale"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddClusterFlags(Options* options, ClusterFlags* flags) {
  options->AddList("cluster", &flags->cluster,
                   "coordinators of the cluster, HOST:PORT with commas");
  options->AddDuration("timeout", &flags->timeout,
                       "per operation, retries included");
  options->AddString("fabric", &flags->fabric,
                     "auto takes what the servers use; shm or verbs");
  options->AddString("verbs", &flags->verbs,
                     "verbs: what not to choose by itself, e.g. "
                     "device=mlx5_0,gid-index=3");
  AddSecurityFlags(options, &flags->security);
}

absl::Status CheckAddresses(const std::vector<std::string>& addresses) {
  if (addresses.empty()) {
    return absl::InvalidArgumentError(
        "no coordinator is named; give --cluster HOST:PORT");
  }
  for (const std::string& address : addresses) {
    const auto parsed = ParseHostPort(address);
    if (!parsed.ok()) return parsed.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<ClientOptions> ClientOptionsOf(const ClusterFlags& flags) {
  WHALE_RETURN_IF_ERROR(CheckAddresses(flags.cluster));
  ClientOptions options;
  options.coordinators = flags.cluster;
  options.timeout = flags.timeout;
  options.fabric = flags.fabric;
  options.verbs = flags.verbs;
  WHALE_ASSIGN_OR_RETURN(const control::ClientSecurity security,
                         ClientSecurityOf(flags.security));
  options.tls_ca_file = security.tls.ca;
  options.tls_certificate_file = security.tls.certificate;
  options.tls_key_file = security.tls.key;
  options.token = security.token;
  options.allow_plaintext = security.allow_plaintext;
  return options;
}

absl::StatusOr<std::unique_ptr<Client>> ConnectTo(const ClusterFlags& flags) {
  WHALE_ASSIGN_OR_RETURN(const ClientOptions options, ClientOptionsOf(flags));
  auto client = Client::Connect(options);
  if (!client.ok()) return WithCure(client.status());
  return client;
}

absl::StatusOr<std::unique_ptr<control::ClusterClient>> OpenCoordinators(
    const std::vector<std::string>& addresses, const SecurityFlags& security) {
  WHALE_RETURN_IF_ERROR(CheckAddresses(addresses));
  WHALE_ASSIGN_OR_RETURN(const control::ClientSecurity own,
                         ClientSecurityOf(security));
  return std::make_unique<control::ClusterClient>(addresses, own);
}

absl::Status WithCure(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return status;
  return absl::UnavailableError(
      absl::StrCat(status.message(),
                   "; is the cluster running there? Start one with whale dev, "
                   "or name another with --cluster"));
}

void AddDurabilityFlag(Options* options, WriteOptions* write) {
  options->Add("durability", "LEVEL", "committed",
               "answer when committed, or replicated: every replica has it",
               [write](std::string_view text) {
                 return SetDurability(text, &write->durability);
               });
}

void AddReadFlags(Options* options, ReadOptions* read) {
  options->Add("consistency", "LEVEL", "linearizable",
               "linearizable, session or stale", [read](std::string_view text) {
                 return SetConsistency(text, &read->consistency);
               });
  options->AddFlag("any-replica", &read->any_replica,
                   "spread reads over the replicas");
  options->AddCount("replica", &read->replica,
                    "ask this server and no other; 0: whichever serves");
}

}  // namespace whale::tools

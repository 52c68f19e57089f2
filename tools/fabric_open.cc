#include "tools/fabric_open.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/setup_exchange.h"
#include "fabric/shm/shm_fabric.h"
#include "pmem/pmem_domain.h"
#include "tools/logging.h"
#include "tools/net.h"
#include "tools/private_directory.h"

namespace whale::tools {
namespace {

absl::StatusOr<OpenedFabric> OpenShm(const std::string& run_dir,
                                     uint32_t server) {
  WHALE_RETURN_IF_ERROR(MakeDirectory(run_dir));
  fabric::ShmOptions options;
  options.listen_path = absl::StrCat(run_dir, "/server-", server, ".sock");
  OpenedFabric opened;
  WHALE_ASSIGN_OR_RETURN(opened.fabric, fabric::CreateShmFabric(options));
  return opened;
}

// "10.0.0.1:0", "[2001:db8::1]:0": where a port is free.
absl::StatusOr<std::string> ListenAddress(const std::string& given,
                                          const std::string& host) {
  if (!given.empty()) {
    // Port 0 stands for any that is free.
    const bool any_port = absl::EndsWith(given, ":0");
    const auto parsed = ParseHostPort(any_port ? given + "1" : given);
    if (!parsed.ok()) return parsed.status();
    return given;
  }
  if (host.empty()) {
    return absl::InvalidArgumentError(
        "verbs on InfiniBand: name the address at which peers set connections "
        "up: --fabric-listen HOST:PORT");
  }
  if (absl::StartsWith(host, "fe80:")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the best GID has the link-local address ", host,
        "; give its network interface another one, or name an address of this "
        "machine: --fabric-listen HOST:PORT"));
  }
  const bool v6 = absl::StrContains(host, ":");
  return v6 ? absl::StrCat("[", host, "]:0") : absl::StrCat(host, ":0");
}

absl::StatusOr<OpenedFabric> OpenVerbs(const ServeFlags& flags,
                                       fabric::VerbsOptions options,
                                       const control::ClientSecurity& security,
                                       pmem::PersistenceDomain* domain) {
  WHALE_ASSIGN_OR_RETURN(const std::string host,
                         fabric::VerbsHostAddress(options));
  control::SetupExchangeOptions setup;
  setup.security = security;
  WHALE_ASSIGN_OR_RETURN(setup.listen_address,
                         ListenAddress(flags.fabric_listen, host));
  WHALE_ASSIGN_OR_RETURN(auto exchange, control::MakeSetupExchange(setup));
  options.flush.durable = domain->survives() == pmem::Survives::kPower;
  const auto* const dax = dynamic_cast<const pmem::PmemDomain*>(domain);
  options.flush.caches_are_durable = dax != nullptr && dax->caches_persist();
  options.persist = [domain](const std::byte* address, size_t length_bytes) {
    domain->Persist(address, length_bytes);
  };
  options.inform = [](std::string_view text) { Log(LogLevel::kInfo, text); };
  WHALE_ASSIGN_OR_RETURN(
      auto verbs, fabric::CreateVerbsFabric(options, std::move(exchange)));
  OpenedFabric opened;
  const fabric::FlushCapabilities self{.native = true, .needs = options.flush};
  if (options.flush.durable && fabric::ChooseFlush(self, self).unsafe) {
    opened.flush_is_unsafe = true;
    Log(LogLevel::kWarning,
        "UNSAFE: --verbs flush does not make writes durable on this server's "
        "memory; status shows that it survives processes only");
  }
  opened.verbs = verbs.get();
  opened.fabric = std::move(verbs);
  return opened;
}

}  // namespace

absl::StatusOr<OpenedFabric> OpenServerFabric(
    const ServeFlags& flags, const std::string& run_dir, uint32_t server,
    const control::ClientSecurity& security, pmem::PersistenceDomain* domain) {
  WHALE_ASSIGN_OR_RETURN(const fabric::VerbsOptions verbs,
                         fabric::ParseVerbsOptions(flags.verbs));
  if (flags.fabric == "shm") return OpenShm(run_dir, server);
  if (flags.fabric == "verbs") return OpenVerbs(flags, verbs, security, domain);
  if (flags.fabric != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("--fabric: \"", flags.fabric,
                     "\" is no fabric; there are shm, verbs and auto"));
  }
  const absl::Status usable = fabric::VerbsHostAddress(verbs).status();
  Log(LogLevel::kInfo,
      usable.ok()
          ? "fabric auto: verbs, there is an adapter with an active port"
          : absl::StrCat("fabric auto: shm, which reaches processes of this "
                         "machine only; no ",
                         usable.message()));
  return usable.ok() ? OpenVerbs(flags, verbs, security, domain)
                     : OpenShm(run_dir, server);
}

}  // namespace whale::tools

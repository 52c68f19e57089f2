// The fabric of a server: which one, with which options, and aloud.
#ifndef WHALE_TOOLS_FABRIC_OPEN_H_
#define WHALE_TOOLS_FABRIC_OPEN_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "control/security.h"
#include "fabric/fabric.h"
#include "fabric/verbs/verbs_fabric.h"
#include "pmem/domain.h"
#include "tools/serve_flags.h"

namespace whale::tools {

struct OpenedFabric {
  std::unique_ptr<fabric::Fabric> fabric;
  // The same, if it is the verbs provider; its counters are the worker's.
  const fabric::VerbsFabric* verbs = nullptr;
  // By the operator's override, what is acknowledged survives processes only,
  // whatever the memory could.
  bool flush_is_unsafe = false;
};

// `flags.fabric` is shm, verbs or auto. auto takes verbs where this machine has
// an active port, else shm, and logs which and why; the others are taken or it
// fails. `run_dir`: for sockets, made if need be. `domain` outlives the fabric.
absl::StatusOr<OpenedFabric> OpenServerFabric(
    const ServeFlags& flags, const std::string& run_dir, uint32_t server,
    const control::ClientSecurity& security, pmem::PersistenceDomain* domain);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_FABRIC_OPEN_H_

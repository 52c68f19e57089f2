// Sets up connections of the fabric `verbs` over gRPC (service FabricSetup):
// the channel on which peers are authenticated before a queue pair's number or
// address is told to them.
//
// Threads of gRPC take what comes; the fabric's worker fetches it with Take.
//
// Thread-safety: as Exchange. Ownership: ends all its calls with itself.
#ifndef WHALE_CONTROL_SETUP_EXCHANGE_H_
#define WHALE_CONTROL_SETUP_EXCHANGE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "control/security.h"
#include "fabric/verbs/exchange.h"

namespace whale::control {

struct SetupExchangeOptions {
  // "host:port" to listen on, port 0: any; empty: only calls (a client).
  std::string listen_address;
  // What peers are told instead of the host listened on; empty: that one.
  std::string advertised_host;
  // For both directions. Peers need a certificate that fits; who also shows
  // the same token is taken for a server of the cluster.
  ClientSecurity security;
};

// kUnavailable: the address cannot be listened on; kInvalidArgument: security
// that makes no sense, plaintext beyond loopback.
absl::StatusOr<std::unique_ptr<fabric::Exchange>> MakeSetupExchange(
    const SetupExchangeOptions& options);

}  // namespace whale::control

#endif  // WHALE_CONTROL_SETUP_EXCHANGE_H_

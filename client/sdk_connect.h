// What Client::Connect does before there is a client: the first map, and the
// fabric that the cluster's servers use.
#ifndef WHALE_CLIENT_SDK_CONNECT_H_
#define WHALE_CLIENT_SDK_CONNECT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "control/security.h"
#include "fabric/fabric.h"
#include "proto/control.pb.h"
#include "whale/client.h"

namespace whale::client {

// What the options say of certificates and token.
control::ClientSecurity SecurityOf(const ClientOptions& options);

struct Connected {
  proto::ClusterMap map;
  std::unique_ptr<fabric::Fabric> fabric;
};

// Errors: as Client::Connect.
absl::StatusOr<Connected> ConnectToCluster(const ClientOptions& options);

}  // namespace whale::client

#endif  // WHALE_CLIENT_SDK_CONNECT_H_

// Calls to an etcd cluster (v3, over gRPC): the few that the configuration
// store needs, with all its members as endpoints.
//
// A call tries the members in turn, beginning with the one that answered last,
// until its time is over.
//
// Thread-safety: all functions from any thread. Errors of all: kUnavailable and
// kDeadlineExceeded: no member answered, or they have no quorum: it is unknown
// whether the call had an effect; others: what etcd says.
#ifndef WHALE_CONTROL_ETCD_CLIENT_H_
#define WHALE_CONTROL_ETCD_CLIENT_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control/security.h"
#include "proto/etcd.pb.h"

namespace whale::control {

struct EtcdAddress {
  std::vector<std::string> endpoints;  // "host:port"
  bool tls = false;
};
// "http://host:port,http://host:port,..." or https. kInvalidArgument.
absl::StatusOr<EtcdAddress> ParseEtcdAddress(std::string_view text);

class EtcdClient {
 public:
  // `security`: certificates for https; its token is not used. Errors:
  // kInvalidArgument.
  static absl::StatusOr<std::unique_ptr<EtcdClient>> Create(
      const EtcdAddress& address, const ClientSecurity& security);
  ~EtcdClient();

  absl::StatusOr<etcdserverpb::RangeResponse> Range(
      const etcdserverpb::RangeRequest& request, absl::Duration timeout);
  absl::StatusOr<etcdserverpb::TxnResponse> Txn(
      const etcdserverpb::TxnRequest& request, absl::Duration timeout);
  // Its id. `seconds`: etcd may give more, and says how much.
  absl::StatusOr<etcdserverpb::LeaseGrantResponse> GrantLease(
      int64_t seconds, absl::Duration timeout);
  // The seconds that it now lasts from when the call began; 0: it is gone.
  absl::StatusOr<int64_t> KeepLease(int64_t id, absl::Duration timeout);
  absl::Status RevokeLease(int64_t id, absl::Duration timeout);

 private:
  class Impl;
  explicit EtcdClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_ETCD_CLIENT_H_

// How this folder's clients open a channel to a coordinator, and how long they
// pause between attempts. Included by the .cc files that use gRPC only.
#ifndef WHALE_CONTROL_CHANNEL_H_
#define WHALE_CONTROL_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/prng.h"

namespace whale::control {

// Metadata of an answer by a coordinator that stands by: the address of the one
// that leads.
inline constexpr char kLeaderHeader[] = "whale-leader";

// How long one attempt to connect may take. Without TLS that is a round trip,
// and a lost packet is sent again soonest by the next attempt. A handshake of
// TLS is work for both ends: where they are slow, and many connect at once, an
// attempt that is cut off only makes the next one slower.
inline constexpr int kConnectMs = 1000;
inline constexpr int kTlsConnectMs = 5000;

inline std::shared_ptr<grpc::Channel> OpenChannel(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    int connect_ms) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(16 << 20);
  arguments.SetMaxSendMessageSize(16 << 20);
  // The pauses between attempts are ours; gRPC's own grow to minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, connect_ms);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A peer whose machine is gone closes no connection. Without the last of
  // these gRPC stops asking after two pings of a call on which nothing is sent,
  // and the set-up stream of a connection is such a call all its life.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

inline absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

// Pauses that double from `min` to `max`, each between a half and the whole of
// it, so that many callers do not come back at once.
class Backoff {
 public:
  Backoff(uint64_t seed, absl::Duration min, absl::Duration max)
      : prng_(seed), min_(min), max_(max), next_(min) {}
  void Reset() { next_ = min_; }
  absl::Duration Next() {
    const absl::Duration pause = next_ * (0.5 + 0.5 * prng_.NextDouble());
    next_ = std::min(2 * next_, max_);
    return pause;
  }

 private:
  Prng prng_;
  const absl::Duration min_;
  const absl::Duration max_;
  absl::Duration next_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CHANNEL_H_

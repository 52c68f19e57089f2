// The life of an RC queue pair: made, connected, broken.
//
// The attributes are those of ibv_create_qp(3) and ibv_modify_qp(3). An error
// says at which step, because what the adapter refuses there (an address that
// leads nowhere, a limit) is for the operator.
#ifndef WHALE_FABRIC_VERBS_QUEUE_PAIR_H_
#define WHALE_FABRIC_VERBS_QUEUE_PAIR_H_

#include <infiniband/verbs.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/verbs/device.h"
#include "fabric/verbs/handles.h"
#include "fabric/verbs/setup_message.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric::verbs {

// What all queue pairs of a fabric have in common.
struct QueuePairConfig {
  ibv_pd* domain = nullptr;
  ibv_cq* completions = nullptr;
  ibv_srq* receives = nullptr;
  PortChoice choice;
  uint32_t send_requests = 0;  // that may be posted at once
  uint32_t inline_bytes = 0;
  uint32_t read_depth = 0;  // READs and CASs in flight, each direction
  uint32_t mtu_bytes = 0;
  bool native_flush = false;
};

// In the state INIT: it can be told to the peer.
absl::StatusOr<QueuePairHandle> MakeQueuePair(const QueuePairConfig& config);

// To RTR and RTS, towards `peer`. `packet_sequence`: what this end told it.
absl::Status ConnectQueuePair(ibv_qp* pair, const QueuePairConfig& config,
                              const VerbsOptions& options,
                              const SetupMessage& peer,
                              uint32_t packet_sequence);

// To ERR: nothing new begins, what was posted is flushed.
void BreakQueuePair(ibv_qp* pair);

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_QUEUE_PAIR_H_

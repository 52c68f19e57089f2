// One replica's way down the chain in one epoch: the connection to its
// successor, what is forwarded on it (chain/forwarder.h decides), and whether
// all of it has landed.
//
// Thread-safety: none. Lives as long as the role that owns it. A replica
// without a successor has one too, that never sends.
#ifndef WHALE_NODE_CHAIN_SENDER_H_
#define WHALE_NODE_CHAIN_SENDER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "chain/forwarder.h"
#include "common/ids.h"
#include "logstore/log.h"
#include "node/configuration.h"
#include "node/context.h"
#include "node/drain.h"
#include "node/link.h"
#include "node/peers.h"
#include "proto/peer_messages.h"

namespace whale::node {

class ChainSender {
 public:
  // Of the member at `position`. `log` and `configuration` outlive it.
  // REQUIRES: the connections to all members are up.
  ChainSender(Context* context, Peers* peers, const logstore::Log* log,
              const Configuration* configuration, size_t position);

  // False: the message makes no sense.
  bool OnSuccessorReady(ServerId from, const wire::SuccessorReady& message);
  // Passes over those of others than the successor. May come before it is
  // ready.
  void OnSegmentGrants(ServerId from,
                       std::span<const wire::SegmentGrantEntry> grants);
  void OnConnectionLost(fabric::ConnectionId connection) {
    if (link_.connection() == connection) link_.Break();
  }

  // Sends a batch of the values below `end`; with `wake` the successor does not
  // wait for its timer. `cookie`: of its completion. True if there was one.
  bool Forward(Lsn end, bool wake, const WorkCookie& cookie);
  // A batch has completed.
  void OnCompletion();

  // Nothing more will be sent: finds out, by a READ into `scratch`, when all of
  // it has landed. May be called again.
  void DrainSent(std::byte* scratch, const WorkCookie& cookie);
  void OnDrained() { drain_.OnCompletion(); }
  // Something that was sent may still land at `peer`: it is in flight, or was
  // when the connection broke.
  bool MayLandAt(ServerId peer) const;

 private:
  Context* const context_;
  Peers* const peers_;
  const logstore::Log* const log_;
  const Configuration* const configuration_;
  const std::optional<ServerId> successor_;

  Link link_;
  Drain drain_;
  std::optional<chain::Forwarder> forwarder_;  // once the successor is ready
  std::vector<wire::SegmentGrantEntry> early_grants_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_CHAIN_SENDER_H_

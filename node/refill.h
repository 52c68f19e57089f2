// Values that members of a shard's configuration lack and this server may have,
// or the other way round (protocol, section 8, "Holes that stay").
//
// The coordinator lists what is missing to every server. Whoever has such a
// value in its log offers it to the primary, which READs it, checks it against
// the missing record in its own log, and appends it as a relocated record. What
// the operator has given up the primary appends as lost.
//
// Thread-safety: none. Lives as long as the replica: a READ may still be in
// flight when its epoch is over.
#ifndef WHALE_NODE_REFILL_H_
#define WHALE_NODE_REFILL_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <span>

#include "chain/replica_state.h"
#include "common/ids.h"
#include "node/context.h"
#include "node/landing.h"
#include "node/peers.h"
#include "node/primary_role.h"
#include "proto/control.pb.h"
#include "proto/peer_messages.h"

namespace whale::node {

class Refill {
 public:
  Refill(Context* context, Peers* peers, chain::ReplicaState* state,
         Landing* landing)
      : context_(context), peers_(peers), state_(state), landing_(landing) {}

  // Whether the log has, at or above `from`, a value that `wanted` lists; or
  // may have one, because the list is not complete.
  bool MayHold(const proto::ShardDirective& wanted, Lsn from) const;
  // Offers what it has of what is listed, some of it at a time.
  void Offer(const proto::ShardDirective& wanted);

  // --- The primary ---
  void OnOffers(ServerId from, std::span<const wire::SegmentGrantEntry> offers);
  // True if there was anything to do.
  bool Turn(const proto::ShardDirective& wanted, PrimaryRole* primary);
  void OnCompletion(const fabric::Event& event);
  // What was in flight there does not complete.
  void OnConnectionLost(fabric::ConnectionId connection);
  // The epoch is over.
  void Forget();

  int64_t NextDeadlineNs(const proto::ShardDirective& wanted) const;

 private:
  struct Offered {
    ServerId from;
    Lsn lsn;
    fabric::Grant grant;
  };

  // Valid here, and the record that is meant.
  bool Has(const proto::MissingValue& value) const;
  // A record that settles it is on its way to be committed.
  bool IsOrdered(uint64_t hash, uint64_t version) const;
  // Missing here, not given up, and nothing ordered for it yet.
  bool IsWanted(Lsn lsn) const;
  bool AppendOwn(const proto::ShardDirective& wanted, PrimaryRole* primary);
  bool AppendLost(const proto::ShardDirective& wanted, PrimaryRole* primary);
  bool AppendFetched(PrimaryRole* primary);
  bool StartRead();

  Context* const context_;
  Peers* const peers_;
  chain::ReplicaState* const state_;
  Landing* const landing_;

  int next_offered_ = 0;  // in the list
  int64_t offer_at_ns_ = 0;
  std::deque<Offered> offers_;
  std::optional<Lsn> reading_;
  fabric::ConnectionId reading_from_;
  std::optional<Lsn> fetched_;  // lies in the landing place
  int64_t next_try_ns_ = 0;     // after the log had no room
  int64_t look_at_ns_ = 0;
};

}  // namespace whale::node

#endif  // WHALE_NODE_REFILL_H_

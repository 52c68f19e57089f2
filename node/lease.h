// This server's right to serve reads, from the coordinator (protocol,
// sections 6 and 8).
//
// A lease is counted from when the report that it answers was sent, never from
// when the grant arrived, and shortened by what clocks may drift. It counts for
// a shard only if that report was sent after the shard was activated: an
// activation never carries a lease. Nor does it count for a shard of which the
// same directive says that its epoch ends: it is for the server's other shards.
//
// Thread-safety: none.
#ifndef WHALE_NODE_LEASE_H_
#define WHALE_NODE_LEASE_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "common/planted_bug.h"

namespace whale::node {

class Lease {
 public:
  // Clocks of servers and coordinator may run apart by one part in this many.
  static constexpr int64_t kDriftDivisor = 100;

  void OnReportSent(uint64_t sequence, int64_t now_ns) {
    sent_[sequence % sent_.size()] = {sequence, now_ns};
  }
  void OnGrant(uint64_t sequence, int64_t lease_ns, int64_t now_ns) {
    const Sent& sent = sent_[sequence % sent_.size()];
    if (sequence == 0 || sent.sequence != sequence) return;
    int64_t start_ns = sent.at_ns;
    if (Planted(PlantedBug::kLeaseFromArrival)) start_ns = now_ns;
    const int64_t until_ns = start_ns + lease_ns - lease_ns / kDriftDivisor;
    if (sequence <= sequence_) return;
    sequence_ = sequence;
    until_ns_ = until_ns;
  }
  // `activated_before`: the first report sequence sent after activation.
  bool Valid(uint64_t first_sequence, int64_t now_ns) const {
    if (Planted(PlantedBug::kLeaseIgnored)) return true;
    return sequence_ >= first_sequence && now_ns < until_ns_;
  }

 private:
  struct Sent {
    uint64_t sequence = 0;
    int64_t at_ns = 0;
  };
  std::array<Sent, 64> sent_{};
  uint64_t sequence_ = 0;  // of the newest report that was answered
  int64_t until_ns_ = 0;
};

}  // namespace whale::node

#endif  // WHALE_NODE_LEASE_H_

// When this server reports to the coordinator, and what.
//
// At once when something changed that the coordinator waits for, and regularly,
// so that leases are renewed long before they run out.
//
// Thread-safety: none.
#ifndef WHALE_NODE_REPORTS_H_
#define WHALE_NODE_REPORTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "node/context.h"
#include "node/lease.h"
#include "node/replica.h"
#include "proto/control.pb.h"

namespace whale::node {

class Reports {
 public:
  using Replicas = std::vector<std::unique_ptr<Replica>>;

  Reports(Context* context, Lease* lease) : context_(context), lease_(lease) {}

  // Sends a report if one is due.
  void Turn(const Replicas& replicas);
  void SendNow() { next_ns_ = 0; }
  void OnLeaseLength(int64_t lease_ns) { interval_ns_ = lease_ns / 4; }
  void set_leaving() { leaving_ = true; }

  int64_t next_ns() const { return next_ns_; }
  uint64_t next_sequence() const { return sequence_ + 1; }
  const proto::ServerReport& last() const { return last_; }

 private:
  void Fill(const Replicas& replicas, proto::ServerReport* report) const;
  void FillStages(proto::ServerReport* report) const;

  Context* const context_;
  Lease* const lease_;
  proto::ServerReport last_;
  uint64_t sequence_ = 0;
  int64_t next_ns_ = 0;
  int64_t interval_ns_ = 100'000'000;  // until a lease says how long it is
  uint64_t generations_ = 0;           // sum of the replicas', as last reported
  bool leaving_ = false;
};

}  // namespace whale::node

#endif  // WHALE_NODE_REPORTS_H_

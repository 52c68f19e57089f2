// A primary without a lease confirms its epoch by READs of every backup's epoch
// cell, begun after the request arrived (protocol, section 6).
//
// Thread-safety: none. Lives as long as the primary role.
#ifndef WHALE_NODE_EPOCH_CONFIRM_H_
#define WHALE_NODE_EPOCH_CONFIRM_H_

#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "node/context.h"
#include "node/landing.h"
#include "node/primary_role.h"

namespace whale::node {

class EpochConfirm {
 public:
  using Done = absl::AnyInvocable<void(bool)>;

  EpochConfirm(Context* context, ShardId shard, Landing* landing,
               PrimaryRole* role, const Configuration& configuration)
      : context_(context),
        shard_(shard),
        landing_(landing),
        role_(role),
        configuration_(configuration) {}

  void Add(Done done);
  void OnCompletion(const WorkCookie& cookie, const fabric::Event& event);
  // Tells everybody no.
  void Stop();

 private:
  void StartRound();
  bool PostRead(size_t backup);
  bool CellConfirms(size_t backup) const;
  void FinishRound();

  Context* const context_;
  const ShardId shard_;
  Landing* const landing_;
  PrimaryRole* const role_;
  const Configuration configuration_;

  std::vector<Done> for_next_round_;  // came after the READs in flight began
  std::vector<Done> for_this_round_;
  size_t reads_in_flight_ = 0;
  bool round_failed_ = false;
};

}  // namespace whale::node

#endif  // WHALE_NODE_EPOCH_CONFIRM_H_

// Whether this replica may answer a read now (protocol, section 6).
#ifndef WHALE_NODE_READ_GATE_H_
#define WHALE_NODE_READ_GATE_H_

#include "absl/functional/any_invocable.h"

namespace whale::node {

class ReadGate {
 public:
  virtual ~ReadGate() = default;
  // The lease is valid at this very moment. To be asked after the value was
  // determined.
  virtual bool LeaseIsValid() = 0;
  // Calls `done(true)` once the epoch is confirmed without a lease, by READs of
  // every backup's epoch cell begun after this call; `done(false)` if it cannot
  // be confirmed.
  virtual void ConfirmEpoch(absl::AnyInvocable<void(bool)> done) = 0;
};

}  // namespace whale::node

#endif  // WHALE_NODE_READ_GATE_H_

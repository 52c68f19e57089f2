// What the coordinator's core wants done; the caller does it and tells the
// core how it went.
//
// Thread-safety: plain values.
#ifndef WHALE_CONTROL_EFFECTS_H_
#define WHALE_CONTROL_EFFECTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "common/ids.h"
#include "control/change_record.h"
#include "proto/control.pb.h"

namespace whale::control {

// To this process and no other with the same id; may be lost.
struct SendDirective {
  ServerId server;
  Incarnation incarnation;
  proto::Directive directive;
};

// Compare-and-swap in the configuration store. Answered by OnStored or
// OnStoreFailed; at most one is under way.
struct StoreState {
  uint64_t expected_revision = 0;
  proto::StoredState state;
};

struct SessionOpened {
  uint64_t token = 0;  // of the request
  uint64_t session = 0;
};

struct Effects {
  std::vector<ChangeRecord> changes;  // that are over
  std::vector<SendDirective> directives;
  std::optional<StoreState> store;
  std::vector<SessionOpened> sessions;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_EFFECTS_H_

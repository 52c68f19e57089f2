// Whether a stored state can be believed beyond its checksum.
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_STORED_STATE_H_
#define WHALE_CONTROL_STORED_STATE_H_

#include "absl/status/status.h"
#include "proto/control.pb.h"

namespace whale::control {

// kUnimplemented: of another format version. kDataLoss: it contradicts itself;
// the message says where.
absl::Status CheckStoredState(const proto::StoredState& state);

}  // namespace whale::control

#endif  // WHALE_CONTROL_STORED_STATE_H_

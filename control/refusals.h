// Which servers may not join the cluster at all, and why.
//
// Not for what the operator can still put right while the server waits (a pool
// that is damaged or is not the one the cluster knew): such a server may stay.
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_REFUSALS_H_
#define WHALE_CONTROL_REFUSALS_H_

#include <string>
#include <string_view>

#include "control/options.h"
#include "proto/control.pb.h"

namespace whale::control {

inline constexpr size_t kUuidBytes = 16;

// Empty: the server may join. Otherwise the cause and the cure, for the
// operator. `stored`: null if the cluster is not formed yet.
std::string WhyRefused(const proto::ServerReport& report,
                       const ClusterOptions& wanted,
                       const proto::StoredState* stored);

// Why a server cannot be in one cluster with `other`, which is there: the data
// path of one reaches none of the other fabric. Empty: it can.
std::string WhyNotWith(const proto::ServerReport& report,
                       const proto::ServerReport& other);

// A uuid in the usual form, 8-4-4-4-12 hexadecimal digits; other bytes: plain
// hexadecimal digits.
std::string UuidText(std::string_view bytes);

}  // namespace whale::control

#endif  // WHALE_CONTROL_REFUSALS_H_

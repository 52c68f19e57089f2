// Whether a history is linearizable, key by key.
//
// The search is that of Wing and Gong (JPDC 1993) with Lowe's memory of visited
// configurations (CPP 2017), made fast by what the store promises beyond
// linearizability: the versions of a key grow in the order in which its writes
// took effect. So acknowledged writes have one possible order, an operation
// without effect is placed as soon as it fits (that is never worse), and only
// writes with unknown outcome that nobody read are a choice.
//
// A write with unknown outcome may take effect at any time after its
// invocation, or never; one whose value was read did take effect. The version
// of an unread one is unknown: it matches any that no other write has.
//
// Thread-safety: pure functions.
#ifndef WHALE_SIM_CHECKERS_LINEARIZABILITY_H_
#define WHALE_SIM_CHECKERS_LINEARIZABILITY_H_

#include <cstdint>
#include <vector>

#include "sim/checkers/history.h"

namespace whale::checkers {

// Configurations that the search may visit per key before it gives up (which
// is a problem, and says so).
inline constexpr uint64_t kMaxConfigurations = 4'000'000;

Verdict CheckLinearizability(const History& history);

// One key; `operations` in order of invocation.
Verdict CheckLinearizabilityOfKey(
    const std::vector<const Operation*>& operations);

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_LINEARIZABILITY_H_

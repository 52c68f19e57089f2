// Whether everything acknowledged was in enough places, and is still there
// after the last repair.
//
// CheckDurability looks at final reads only: each must answer with a version at
// least that of the newest acknowledged write of its key, and "not found" only
// if that write was a delete or a delete of unknown outcome may have followed.
//
// Thread-safety: pure functions.
#ifndef WHALE_SIM_CHECKERS_DURABILITY_H_
#define WHALE_SIM_CHECKERS_DURABILITY_H_

#include <cstdint>

#include "sim/checkers/history.h"

namespace whale::checkers {

Verdict CheckDurability(const History& history);

// Whether every acknowledged write had at least so many durable copies then.
Verdict CheckCopies(const History& history, uint32_t least);

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_DURABILITY_H_

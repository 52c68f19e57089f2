// Whether everything acknowledged is still there after the last repair.
//
// Looks at final reads only: each must answer with a version at least that of
// the newest acknowledged write of its key, and "not found" only if that write
// was a delete or a delete of unknown outcome may have followed.
//
// Thread-safety: pure function.
#ifndef WHALE_SIM_CHECKERS_DURABILITY_H_
#define WHALE_SIM_CHECKERS_DURABILITY_H_

#include "sim/checkers/history.h"

namespace whale::checkers {

Verdict CheckDurability(const History& history);

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_DURABILITY_H_

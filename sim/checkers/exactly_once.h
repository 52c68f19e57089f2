// Whether every write had its effect at most once: no value is seen as two
// versions of its key, no version of a key as two values, and no value that a
// refused or failed write carried is ever read.
//
// Needs unique values. Thread-safety: pure function.
#ifndef WHALE_SIM_CHECKERS_EXACTLY_ONCE_H_
#define WHALE_SIM_CHECKERS_EXACTLY_ONCE_H_

#include "sim/checkers/history.h"

namespace whale::checkers {

Verdict CheckExactlyOnce(const History& history);

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_EXACTLY_ONCE_H_

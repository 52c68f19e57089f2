// Whether the replicas of a shard hold the same bytes at the same LSNs below
// the commit watermark.
//
// Walks the segments that both pools have, record by record; a pad's body and
// what lies beyond the watermark are not compared. Needs pools at rest whose
// values have all arrived.
//
// Thread-safety: none; the pools must not change meanwhile.
#ifndef WHALE_SIM_CHECKERS_LOG_IDENTITY_H_
#define WHALE_SIM_CHECKERS_LOG_IDENTITY_H_

#include <vector>

#include "common/ids.h"
#include "logstore/pool.h"
#include "sim/checkers/history.h"

namespace whale::checkers {

// `committed`: a watermark below which every replica has everything.
Verdict CheckLogIdentity(const std::vector<logstore::Pool*>& replicas,
                         ShardId shard, Lsn committed);

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_LOG_IDENTITY_H_

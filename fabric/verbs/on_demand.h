// Whether an adapter's on-demand paging does what it says.
//
// Soft-RoCE's does not: up to Linux 7.3 at least it leaves out where in its
// page a request begins, so that what is written lands at the page's start, and
// reports success. Memory that can be registered in no other way must not be
// trusted to such an adapter; so it is tried before it is used.
//
// Thread-safety: none of its own; uses no queue of the caller's.
#ifndef WHALE_FABRIC_VERBS_ON_DEMAND_H_
#define WHALE_FABRIC_VERBS_ON_DEMAND_H_

#include <infiniband/verbs.h>

#include "absl/status/status.h"
#include "fabric/verbs/queue_pair.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric::verbs {

// Writes over a page's end into memory registered for on-demand paging, and
// looks. kUnimplemented: the adapter has none for WRITE and READ, or what it
// has is broken. The message is the second half of a sentence.
absl::Status TryOnDemandPaging(ibv_context* context,
                               const QueuePairConfig& config,
                               const VerbsOptions& options);

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_ON_DEMAND_H_

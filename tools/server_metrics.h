// What a server's HTTP port says: Prometheus metrics, health, readiness.
//
// Thread-safety: pure functions.
#ifndef WHALE_TOOLS_SERVER_METRICS_H_
#define WHALE_TOOLS_SERVER_METRICS_H_

#include <string>

#include "tools/snapshot.h"

namespace whale::tools {

// The Prometheus text format. Counters are of this process's life.
std::string MetricsText(const Snapshot& snapshot);

// Empty when every shard of the server is active and leased; else what is not.
std::string WhyNotReady(const proto::ServerReport& report);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SERVER_METRICS_H_

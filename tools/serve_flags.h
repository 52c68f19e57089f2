// The flags of a server that `whale dev` passes on.
#ifndef WHALE_TOOLS_SERVE_FLAGS_H_
#define WHALE_TOOLS_SERVE_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/adaptive_spin.h"
#include "common/units.h"
#include "tools/logging.h"
#include "tools/options.h"

namespace whale::tools {

struct ServeFlags {
  uint64_t pool_bytes = kGiB;  // when there is no pool yet
  uint64_t segment_bytes = 8 * kMiB;
  uint32_t ring_slots = 8192;
  std::string fabric = "shm";
  std::string fabric_listen;  // verbs: HOST:PORT for setting up connections
  std::string verbs;          // see fabric::ParseVerbsOptions
  std::string domain = "shm";
  bool allow_non_dax = false;
  absl::Duration spin = absl::Nanoseconds(AdaptiveSpin::kMostNs);
  LogFlags log;
};

void AddServeFlags(Options* options, ServeFlags* flags);
// Only those on pool and worker, for commands that have the others already.
void AddPoolFlags(Options* options, ServeFlags* flags);
// All but the pool's size, as arguments of `whale serve` for servers of this
// machine: connections are set up over loopback.
std::vector<std::string> ServeArguments(const ServeFlags& flags);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SERVE_FLAGS_H_

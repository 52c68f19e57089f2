// The flags that say what cluster a coordinator forms when there is none yet:
// of `whale coordinator` and of `whale dev`, which passes them on.
#ifndef WHALE_TOOLS_FORMATION_FLAGS_H_
#define WHALE_TOOLS_FORMATION_FLAGS_H_

#include <string>
#include <vector>

#include "control/options.h"
#include "tools/options.h"

namespace whale::tools {

// Shards of a new cluster: with three replicas, one primary for each.
inline constexpr uint32_t kDefaultShards = 3;

// Sets the defaults and adds the flags.
void AddFormationFlags(Options* options, control::ClusterOptions* cluster);

// The same flags as arguments of `whale coordinator`.
std::vector<std::string> FormationArguments(
    const control::ClusterOptions& cluster);

// Adds a flag for a size that may also be "auto" (nullopt).
void AddAutoBytes(Options* options, const std::string& name,
                  std::optional<uint64_t>* value, const std::string& help);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_FORMATION_FLAGS_H_

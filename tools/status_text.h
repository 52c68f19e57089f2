// A cluster's status for people and for programs.
#ifndef WHALE_TOOLS_STATUS_TEXT_H_
#define WHALE_TOOLS_STATUS_TEXT_H_

#include <string>
#include <string_view>

#include "proto/control.pb.h"

namespace whale::tools {

// Role of the member at `position` of `members`, with `mirrors` mirrors:
// "primary", "mirror", "head", "middle", "tail".
std::string_view RoleName(size_t position, size_t members, uint32_t mirrors);

// What a memory that survives `survives` ("process", "os", "power") promises.
std::string_view SurvivesText(std::string_view survives);

// "0 B", "1.5 KiB", "3.2 GiB"; "250 us", "1.5 ms", "2.0 s".
std::string HumanBytes(uint64_t bytes);
std::string HumanTime(uint64_t microseconds);

// Tables of servers and of shards with their replicas; warnings first.
std::string StatusText(const proto::ClusterStatus& status);
std::string StatusJson(const proto::ClusterStatus& status);
// What the stages of puts and gets cost at each server, as far as it has
// reported.
std::string StagesText(const proto::ClusterStatus& status);

// True when every shard is active.
bool AllActive(const proto::ClusterStatus& status);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_STATUS_TEXT_H_

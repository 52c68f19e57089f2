// Replicas on their way from server to server, for people and programs.
//
// Thread-safety: pure functions.
#ifndef WHALE_TOOLS_MOVES_TEXT_H_
#define WHALE_TOOLS_MOVES_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "proto/control.pb.h"

namespace whale::tools {

// All replicas that come, taken together.
struct MovesSummary {
  int coming = 0;
  int going = 0;
  uint64_t copied_bytes = 0;
  uint64_t total_bytes = 0;
  uint64_t bytes_per_second = 0;
  std::optional<uint64_t> seconds_left;  // none: nobody copies (yet)
};
MovesSummary Summarize(const proto::ClusterStatus& status);

// Everything that operators asked for is done.
bool MovesDone(const proto::ClusterStatus& status);
// One line.
std::string MovesLine(const proto::ClusterStatus& status);
// A table; empty: nothing moves.
std::string MovesText(const proto::ClusterStatus& status);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_MOVES_TEXT_H_

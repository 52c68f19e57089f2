// A shard's configuration as one member sees it.
#ifndef WHALE_NODE_CONFIGURATION_H_
#define WHALE_NODE_CONFIGURATION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/ids.h"
#include "proto/control.pb.h"

namespace whale::node {

struct Configuration {
  Epoch epoch;
  std::vector<ServerId> members;       // R0 .. Rn-1
  std::vector<Incarnation> processes;  // of the members
  Lsn committed_start;                 // A
  Lsn start;                           // T
  uint32_t mirrors = 0;                // m
  uint64_t by_value_max_bytes = 0;
  uint64_t window_bytes = 0;
  int64_t session_lease_ns = 0;

  ServerId primary() const { return members.front(); }
  size_t backups() const { return members.size() - 1; }
  bool IsMirror(size_t position) const {
    return position >= 1 && position <= mirrors;
  }
  // Position of a member; nullopt: it is none.
  std::optional<size_t> PositionOf(ServerId id) const {
    const auto it = std::find(members.begin(), members.end(), id);
    if (it == members.end()) return std::nullopt;
    return static_cast<size_t>(it - members.begin());
  }
  // Whom the member at `position` feeds down the chain: the last mirror (or,
  // without mirrors, the primary) feeds the head, each chain backup the next.
  std::optional<ServerId> SuccessorOf(size_t position) const {
    if (position < mirrors || position + 1 >= members.size()) {
      return std::nullopt;
    }
    return members[position + 1];
  }
  std::optional<ServerId> PredecessorOf(size_t position) const {
    if (position <= mirrors) return std::nullopt;
    return members[position - 1];
  }
};

inline Configuration ConfigurationOf(const proto::ShardDirective& directive) {
  Configuration configuration;
  configuration.epoch = Epoch(directive.epoch());
  for (const uint32_t id : directive.members()) {
    configuration.members.emplace_back(id);
  }
  for (const uint64_t incarnation : directive.member_incarnations()) {
    configuration.processes.emplace_back(incarnation);
  }
  configuration.committed_start = Lsn(directive.committed());
  configuration.start = Lsn(directive.start());
  const auto backups = static_cast<uint32_t>(directive.members_size()) - 1;
  configuration.mirrors = std::min(directive.policy().mirrors(), backups);
  configuration.by_value_max_bytes = directive.policy().by_value_max_bytes();
  configuration.window_bytes = directive.policy().window_bytes();
  configuration.session_lease_ns =
      static_cast<int64_t>(directive.policy().session_lease_us()) * 1000;
  return configuration;
}

}  // namespace whale::node

#endif  // WHALE_NODE_CONFIGURATION_H_

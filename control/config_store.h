// The configuration store: what must survive every coordinator, and who leads.
//
// One small state, read whole and replaced by compare-and-swap on its revision.
// Whoever has opened a store leads, as long as LeadershipEndNs() says; a second
// opener is refused or waits, as the store's kind has it.
//
// Thread-safety: none; one thread at a time. Durability: what CompareAndSwap
// has accepted survives a crash of process and machine. Failure: a damaged
// state is never taken for an empty one and never overwritten.
#ifndef WHALE_CONTROL_CONFIG_STORE_H_
#define WHALE_CONTROL_CONFIG_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace whale::control {

// StoredState::format_version that this version reads and writes.
inline constexpr uint32_t kStoredFormatVersion = 2;

class ConfigStore {
 public:
  virtual ~ConfigStore() = default;

  // The stored state; none: nothing was ever stored. Errors: kDataLoss: the
  // state is damaged; kUnimplemented: of another format version; kUnavailable:
  // the store cannot be reached or read.
  virtual absl::StatusOr<std::optional<proto::StoredState>> Load() = 0;

  // Replaces the state if its revision is `expected_revision` (0: nothing
  // stored). REQUIRES: next.revision() == expected_revision + 1. Errors:
  // kAborted: it has another revision, somebody else leads; else as Load, and
  // whether the state was replaced is then unknown: the same call may be
  // repeated and succeeds if it was.
  virtual absl::Status CompareAndSwap(uint64_t expected_revision,
                                      const proto::StoredState& next) = 0;

  // When the leadership ends on the clock of this machine, unless it is
  // prolonged; INT64_MAX: not before the store is closed.
  virtual int64_t LeadershipEndNs() const = 0;

  // For people: "file:/var/lib/whale".
  virtual std::string Name() const = 0;
};

// `spec`: "file:DIR" or "etcd:http(s)://host:port,...". Errors:
// kInvalidArgument: no such kind; kFailedPrecondition: another coordinator
// leads on it; kUnimplemented: etcd, in this version; others as Load.
absl::StatusOr<std::unique_ptr<ConfigStore>> OpenConfigStore(
    std::string_view spec);

}  // namespace whale::control

#endif  // WHALE_CONTROL_CONFIG_STORE_H_

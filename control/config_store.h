// The configuration store: what must survive every coordinator, and who leads.
//
// One small state, read whole and replaced by compare-and-swap on its revision.
// Whoever has campaigned with success leads, as long as LeadershipEndNs() says;
// a second one is refused at opening or waits, as the store's kind has it.
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
#include "absl/time/time.h"
#include "common/clock.h"
#include "control/security.h"
#include "proto/control.pb.h"

namespace whale::control {

// StoredState::format_version that this version reads and writes.
inline constexpr uint32_t kStoredFormatVersion = 4;

class ConfigStore {
 public:
  virtual ~ConfigStore() = default;

  // Waits until this process leads on the store, at most `timeout`. False: it
  // does not yet; `*leader` is who does, as it advertises itself, or empty. A
  // store whose opener leads says true. Errors: as Load.
  virtual absl::StatusOr<bool> Campaign(absl::Duration timeout,
                                        std::string* leader) {
    return true;
  }

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

// Of stores that several coordinators share.
struct StoreOptions {
  Clock* clock = nullptr;         // CLOCK_BOOTTIME
  std::string advertise;          // where clients reach this coordinator
  std::string prefix = "/whale";  // of the keys
  absl::Duration term = absl::Seconds(5);  // the leadership's, if not prolonged
  ClientSecurity security;                 // its certificates
};

// `spec`: "file:DIR" or "etcd:http(s)://host:port,...". Errors:
// kInvalidArgument: no such kind; kFailedPrecondition: another coordinator
// leads on it, and it can have no other; others as Load.
absl::StatusOr<std::unique_ptr<ConfigStore>> OpenConfigStore(
    std::string_view spec, const StoreOptions& options);

}  // namespace whale::control

#endif  // WHALE_CONTROL_CONFIG_STORE_H_

// The configuration store of a simulated cluster: in memory, outlives every
// coordinator, compare-and-swap on the revision.
//
// Thread-safety: none.
#ifndef WHALE_SIM_SIM_CONFIG_STORE_H_
#define WHALE_SIM_SIM_CONFIG_STORE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "control/config_store.h"

namespace whale::sim {

class SimConfigStore final : public control::ConfigStore {
 public:
  absl::StatusOr<std::optional<proto::StoredState>> Load() override {
    return state_;
  }
  absl::Status CompareAndSwap(uint64_t expected_revision,
                              const proto::StoredState& next) override {
    const uint64_t revision = state_.has_value() ? state_->revision() : 0;
    // A repeated call, whose first answer was lost.
    if (revision == next.revision() &&
        state_->SerializeAsString() == next.SerializeAsString()) {
      return absl::OkStatus();
    }
    if (revision != expected_revision) {
      return absl::AbortedError(
          absl::StrCat("the store has revision ", revision, ", not ",
                       expected_revision, "; another coordinator leads"));
    }
    state_ = next;
    return absl::OkStatus();
  }
  int64_t LeadershipEndNs() const override { return INT64_MAX; }
  std::string Name() const override { return "sim"; }

 private:
  std::optional<proto::StoredState> state_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_CONFIG_STORE_H_

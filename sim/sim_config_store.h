// The configuration store of a simulated cluster: in memory, outlives every
// coordinator, compare-and-swap on the revision.
//
// Thread-safety: none.
#ifndef WHALE_SIM_SIM_CONFIG_STORE_H_
#define WHALE_SIM_SIM_CONFIG_STORE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
    const std::vector<uint32_t> changed = Count(next);
    state_ = next;
    for (const uint32_t shard : changed) {
      if (on_configuration_) {
        on_configuration_(state_->shards(static_cast<int>(shard)));
      }
    }
    return absl::OkStatus();
  }
  int64_t LeadershipEndNs() const override { return INT64_MAX; }
  // Called when another configuration of a shard is stored, and nobody knows
  // of it yet.
  void set_on_configuration(
      std::function<void(const proto::StoredShard&)> on_configuration) {
    on_configuration_ = std::move(on_configuration);
  }
  // In the world's time: nobody else may lead before.
  int64_t led_until_ns() const { return led_until_ns_; }
  void LedUntil(int64_t time_ns) { led_until_ns_ = time_ns; }
  std::string Name() const override { return "sim"; }

  // Configurations stored after the first; members left out in them, and
  // taken in; other primaries.
  struct Changes {
    uint64_t stored = 0, left_out = 0, joined = 0, moved = 0;
  };
  const Changes& changes() const { return changes_; }
  // Some shard's members may lack values that others have.
  bool lacks_values() const {
    return state_ &&
           std::any_of(state_->shards().begin(), state_->shards().end(),
                       [](const auto& shard) { return shard.lacks_values(); });
  }
  const proto::StoredState* state() const {
    return state_ ? &*state_ : nullptr;
  }
  int servers() const { return state_ ? state_->servers_size() : 0; }

 private:
  static uint64_t NotIn(const proto::StoredShard& a,
                        const proto::StoredShard& b) {
    return std::count_if(
        a.members().begin(), a.members().end(), [&b](uint32_t member) {
          return std::count(b.members().begin(), b.members().end(), member) ==
                 0;
        });
  }
  // Returns the shards that have another configuration in `next`.
  std::vector<uint32_t> Count(const proto::StoredState& next) {
    std::vector<uint32_t> changed;
    if (!state_.has_value()) return changed;
    for (const proto::StoredShard& shard : next.shards()) {
      const proto::StoredShard& old =
          state_->shards(static_cast<int>(shard.shard()));
      if (shard.epoch() == old.epoch()) continue;
      ++changes_.stored;
      changes_.left_out += NotIn(old, shard);
      changes_.joined += NotIn(shard, old);
      changes_.moved += shard.members(0) != old.members(0);
      changed.push_back(shard.shard());
    }
    return changed;
  }

  Changes changes_;
  std::function<void(const proto::StoredShard&)> on_configuration_;
  int64_t led_until_ns_ = 0;
  std::optional<proto::StoredState> state_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_CONFIG_STORE_H_

#include "control/leases.h"

#include <algorithm>

#include "common/planted_bug.h"

namespace whale::control {

void Leases::NoteConfigured(uint64_t lease_us) {
  longest_lease_us_ = std::max(longest_lease_us_, lease_us);
}

uint64_t Leases::Grantable(uint64_t lease_us, int64_t now_ns) const {
  if (leadership_end_ns_ == INT64_MAX || Planted(PlantedBug::kTwoLeaders)) {
    return lease_us;
  }
  if (now_ns >= leadership_end_ns_) return 0;
  const int64_t left_ns = leadership_end_ns_ - now_ns;
  const uint64_t left_us =
      static_cast<uint64_t>(left_ns - left_ns / kDriftDivisor) / 1000;
  return std::min(lease_us, left_us);
}

void Leases::Granted(uint32_t shard, uint32_t server, uint64_t incarnation,
                     uint64_t lease_us, int64_t now_ns) {
  for (auto it = FirstOf(shard, server); IsOf(it, shard, server);) {
    it = it->second < now_ns ? until_ns_.erase(it) : std::next(it);
  }
  int64_t& until = until_ns_[{shard, server, incarnation}];
  until = std::max(until, now_ns + AllowanceNs(lease_us));
}

void Leases::GivenBack(uint32_t shard, uint32_t server, uint64_t incarnation) {
  until_ns_.erase({shard, server, incarnation});
}

int64_t Leases::FreeAtNs(uint32_t shard,
                         const std::vector<uint32_t>& left_out) const {
  if (left_out.empty()) return 0;
  int64_t free = leading_since_ns_ + AllowanceNs(longest_lease_us_);
  for (const uint32_t server : left_out) {
    for (auto it = FirstOf(shard, server); IsOf(it, shard, server); ++it) {
      free = std::max(free, it->second);
    }
  }
  return free;
}

}  // namespace whale::control

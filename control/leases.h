// Which leases this coordinator has granted, and until when a server may still
// believe in one (protocol, section 8).
//
// A server counts its lease from when it sent the report that asked for it; the
// coordinator counts from when it grants, which is later, and adds an allowance
// for clocks that drift. So the lease has run out at the server before it has
// here. What earlier leaders granted is unknown and bounded by the longest
// lease ever configured.
//
// Thread-safety: none; a plain value of the core.
#ifndef WHALE_CONTROL_LEASES_H_
#define WHALE_CONTROL_LEASES_H_

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

namespace whale::control {

class Leases {
 public:
  // Clocks may differ in speed by at most 1 part in this number.
  static constexpr int64_t kDriftDivisor = 50;

  // `now_ns`: when this coordinator began to lead.
  Leases(int64_t now_ns, uint64_t longest_lease_us)
      : leading_since_ns_(now_ns), longest_lease_us_(longest_lease_us) {}

  // A lease of `lease_us`, counted here: with the allowance.
  static int64_t AllowanceNs(uint64_t lease_us) {
    const int64_t lease_ns = static_cast<int64_t>(lease_us) * 1000;
    return lease_ns + lease_ns / kDriftDivisor;
  }

  void NoteConfigured(uint64_t lease_us);
  int64_t leading_since_ns() const { return leading_since_ns_; }

  // The leadership ends at `until_ns` unless it is prolonged; INT64_MAX: it
  // does not.
  void SetLeadershipEnd(int64_t until_ns) { leadership_end_ns_ = until_ns; }

  // The longest lease of at most `lease_us` that ends before the leadership
  // does, here and at the server; 0: none.
  uint64_t Grantable(uint64_t lease_us, int64_t now_ns) const;

  // Process `incarnation` of `server` was granted a lease for `shard` now.
  void Granted(uint32_t shard, uint32_t server, uint64_t incarnation,
               uint64_t lease_us, int64_t now_ns);
  // This process will not use any lease for `shard` that it was granted before:
  // it has ended the epoch that they are for.
  void GivenBack(uint32_t shard, uint32_t server, uint64_t incarnation);

  // From when on none of `left_out` can hold a lease for `shard` any more,
  // from this leader or an earlier one. 0 if nobody is left out.
  int64_t FreeAtNs(uint32_t shard, const std::vector<uint32_t>& left_out) const;

 private:
  // By shard, server and process.
  using Granting = std::map<std::tuple<uint32_t, uint32_t, uint64_t>, int64_t>;
  Granting::const_iterator FirstOf(uint32_t shard, uint32_t server) const {
    return until_ns_.lower_bound({shard, server, 0});
  }
  bool IsOf(Granting::const_iterator it, uint32_t shard,
            uint32_t server) const {
    return it != until_ns_.end() && std::get<0>(it->first) == shard &&
           std::get<1>(it->first) == server;
  }

  int64_t leading_since_ns_;
  uint64_t longest_lease_us_;
  int64_t leadership_end_ns_ = INT64_MAX;
  Granting until_ns_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_LEASES_H_

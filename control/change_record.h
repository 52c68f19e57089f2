// What a change of configuration was, once it is over: for the log and for
// metrics.
//
// Thread-safety: plain values.
#ifndef WHALE_CONTROL_CHANGE_RECORD_H_
#define WHALE_CONTROL_CHANGE_RECORD_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace whale::control {

// The steps of a change (protocol, section 8), as they take time: reserve the
// epoch in the store; senders stop; receivers end it too and report; the cut is
// stored; members adopt it and leases run out; members serve.
inline constexpr size_t kChangeSteps = 6;
inline constexpr std::array<std::string_view, kChangeSteps> kChangeStepNames = {
    "reserve", "stop", "seal", "store", "adopt", "serve"};

struct ChangeRecord {
  uint32_t shard = 0;
  uint64_t epoch = 0;
  std::string reason;
  // Given up before it was stored, because one of its processes failed; a
  // change towards a later epoch follows.
  bool abandoned = false;
  std::vector<uint32_t> members;  // the primary first
  std::vector<uint32_t> joined;
  std::vector<uint32_t> left_out;
  uint64_t committed = 0;  // A
  uint64_t start = 0;      // T
  std::array<int64_t, kChangeSteps> step_ns{};

  int64_t TotalNs() const {
    int64_t total = 0;
    for (const int64_t ns : step_ns) total += ns;
    return total;
  }
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CHANGE_RECORD_H_

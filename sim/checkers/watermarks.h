// Whether what replicas say of their logs fits together, at every moment:
//
//   - watermarks of one replica: durable <= announced, applied <= announced;
//     replicated <= durable at the primary. (What a replica knows to be
//     committed may be delivered here and not announced yet);
//   - between consecutive states of one process in one epoch none goes back;
//   - all replicas know the same start of an epoch, and it is at or above
//     everything that was committed in an earlier one (the hole rule's cut);
//   - at most one server is primary of an epoch;
//   - a process that was active in an epoch and has stopped for a change has
//     everything announced that was committed in it;
//   - a replica holds no more segments than its log reaches into, and those
//     that are kept ready.
//
// Thread-safety: none.
#ifndef WHALE_SIM_CHECKERS_WATERMARKS_H_
#define WHALE_SIM_CHECKERS_WATERMARKS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sim/checkers/history.h"

namespace whale::checkers {

// What one replica says of itself; positions in bytes.
struct ReplicaSays {
  uint32_t server = 0;
  uint64_t process = 0;  // unique among all lives of the server
  uint32_t shard = 0;
  uint64_t epoch = 0;
  enum class Phase : uint8_t {
    kOther,
    kActive,
    kStopped
  } phase = Phase::kOther;
  bool primary = false;
  bool damaged = false;  // by a fault: what it says is not believed
  uint64_t announced = 0, durable = 0, committed = 0, applied = 0;
  uint64_t replicated = 0;  // primary
  uint64_t log_bytes = 0;   // of the segments it holds
  std::vector<std::pair<uint64_t, uint64_t>> starts;  // epoch, position
};

class Watermarks {
 public:
  Watermarks(uint64_t segment_bytes, uint64_t segments_ahead)
      : segment_bytes_(segment_bytes), segments_ahead_(segments_ahead) {}

  // In the order in which it was said. The first thing that does not fit stays
  // the verdict.
  void Observe(const ReplicaSays& now);
  const Verdict& verdict() const { return verdict_; }

 private:
  struct Epoch {
    uint32_t primary = 0;  // 0: unknown
    uint64_t committed = 0;
    // The same, once it is above the start: a member that has just joined may
    // lack what was committed before.
    uint64_t committed_here = 0;
    std::map<uint32_t, uint64_t> processes;  // of servers that were active
    uint64_t least_stopped = UINT64_MAX;     // announced, where it has stopped
  };
  struct Shard {
    std::map<uint64_t, Epoch> epochs;
    std::map<uint64_t, uint64_t> starts;  // of epochs
    uint64_t longest = 0;                 // of all logs, those cut off included
  };

  void CheckAlone(const ReplicaSays& now, Shard* shard);
  void CheckProgress(const ReplicaSays& now);
  void CheckStarts(const ReplicaSays& now, Shard* shard);
  void CheckEpoch(const ReplicaSays& now, Shard* shard);
  void Fail(const ReplicaSays& now, const std::string& problem);

  const uint64_t segment_bytes_;
  const uint64_t segments_ahead_;
  std::map<uint32_t, Shard> shards_;
  std::map<std::pair<uint32_t, uint32_t>, ReplicaSays> last_;  // server, shard
  Verdict verdict_;
};

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_WATERMARKS_H_

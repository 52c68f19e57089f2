// What a coordinator exports: who is there, which shards serve, and how long
// its changes of configuration took, step by step.
//
// Thread-safety: all functions from any thread.
#ifndef WHALE_TOOLS_COORDINATOR_METRICS_H_
#define WHALE_TOOLS_COORDINATOR_METRICS_H_

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "control/change_record.h"
#include "proto/control.pb.h"

namespace whale::tools {

class CoordinatorMetrics {
 public:
  void Note(const control::ChangeRecord& record);
  // `status`: not ok: this coordinator does not lead.
  std::string Text(const absl::StatusOr<proto::ClusterStatus>& status) const;

 private:
  mutable std::mutex mutex_;
  // Since the process began; all guarded by mutex_.
  uint64_t done_ = 0;
  uint64_t abandoned_ = 0;
  double seconds_ = 0;  // of those done
  std::array<double, control::kChangeSteps> step_seconds_{};
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_COORDINATOR_METRICS_H_

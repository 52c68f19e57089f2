// How fast learners copy, as seen from their reports: for progress and the time
// that is left.
//
// Thread-safety: none; part of the core.
#ifndef WHALE_CONTROL_COPY_PROGRESS_H_
#define WHALE_CONTROL_COPY_PROGRESS_H_

#include <cstdint>
#include <map>
#include <utility>

#include "proto/control.pb.h"

namespace whale::control {

class CopyProgress {
 public:
  void Note(const proto::ServerReport& report, int64_t now_ns);
  // 0: not known yet.
  uint64_t BytesPerSecond(uint32_t server, uint32_t shard) const;

 private:
  struct Copy {
    uint64_t durable = 0;
    int64_t since_ns = 0;
    double bytes_per_second = 0;
  };
  std::map<std::pair<uint32_t, uint32_t>, Copy> copies_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_COPY_PROGRESS_H_

// Values that are being READ out of clients' memory into the log.
//
// Their records have an LSN and room already; later records may follow at once.
// Nothing at or above the oldest unfinished one may be delivered: `ReadyEnd`.
//
// Thread-safety: none.
#ifndef WHALE_PRIMARY_PULL_TRACKER_H_
#define WHALE_PRIMARY_PULL_TRACKER_H_

#include <cstdint>

#include "common/ids.h"
#include "common/ring_queue.h"

namespace whale::primary {

class PullTracker {
 public:
  // REQUIRES: larger than all LSNs begun before.
  void Begin(Lsn lsn) { pulls_.push_back({lsn, false}); }

  // The value is in place (or its record became a pad).
  // REQUIRES: begun and not finished.
  void Finish(Lsn lsn) {
    for (size_t i = 0; i < pulls_.size(); ++i) {
      if (pulls_[i].lsn == lsn) pulls_[i].done = true;
    }
    while (!pulls_.empty() && pulls_.front().done) pulls_.pop_front();
  }

  // Begun, and not finished.
  bool IsOpen(Lsn lsn) const {
    for (size_t i = 0; i < pulls_.size(); ++i) {
      if (pulls_[i].lsn == lsn) return !pulls_[i].done;
    }
    return false;
  }

  // Up to where the log is whole, if it ends at `log_end`.
  Lsn ReadyEnd(Lsn log_end) const {
    return pulls_.empty() ? log_end : pulls_.front().lsn;
  }
  bool empty() const { return pulls_.empty(); }
  void Clear() { pulls_.clear(); }

 private:
  struct Pull {
    Lsn lsn;
    bool done = false;
  };
  RingQueue<Pull> pulls_;
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_PULL_TRACKER_H_

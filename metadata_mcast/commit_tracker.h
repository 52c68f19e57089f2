// The commit watermark of one shard in one epoch, at the primary.
//
// A record is committed when it is durable here and its delivery is visible
// and durable at every backup of the configuration (protocol, section 4). This
// only takes the least; whether to answer is the primary's business.
//
// Thread-safety: none.
#ifndef WHALE_METADATA_MCAST_COMMIT_TRACKER_H_
#define WHALE_METADATA_MCAST_COMMIT_TRACKER_H_

#include <array>
#include <cstddef>

#include "common/ids.h"
#include "logstore/pool.h"

namespace whale::metadata_mcast {

class CommitTracker {
 public:
  CommitTracker() = default;
  // Below `start` all is committed when the epoch begins. `backups`: of the
  // configuration; 0 means that the primary is alone.
  // REQUIRES: backups <= logstore::kMaxBackups.
  CommitTracker(Lsn start, size_t backups);

  // The primary's own log is durable below `lsn`. Smaller than before: ignored.
  void OnOwnDurable(Lsn lsn);
  // What DeliverySender::acked() of this backup has reached.
  // REQUIRES: backup < backups.
  void OnAcked(size_t backup, Lsn lsn);
  // The epoch has ended here: nothing commits any more, whatever completes.
  void Stop() { stopped_ = true; }

  // Exclusive; never moves back.
  Lsn committed() const { return committed_; }
  bool stopped() const { return stopped_; }

 private:
  void Advance();

  Lsn own_durable_;
  std::array<Lsn, logstore::kMaxBackups> acked_{};
  size_t backups_ = 0;
  Lsn committed_;
  bool stopped_ = true;  // until it is given an epoch
};

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_COMMIT_TRACKER_H_

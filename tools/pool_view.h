// A pool's file read from outside: by `whale log`, `whale dump --pool` and the
// check of replicas after a benchmark.
//
// The file is mapped privately: nothing here changes it, and a server may have
// it open meanwhile (what is read then is of different moments). The very code
// of recovery finds the records.
//
// Thread-safety: const calls may run together.
#ifndef WHALE_TOOLS_POOL_VIEW_H_
#define WHALE_TOOLS_POOL_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "logstore/pool.h"
#include "logstore/recovery.h"
#include "logstore/segment_map.h"
#include "pmem/shm_domain.h"

namespace whale::tools {

struct ShardView {
  logstore::ShardState state;
  Lsn committed;  // as far as this replica knows
  logstore::RecoveryResult walk;
};

class PoolView {
 public:
  // Errors: kNotFound, kPermissionDenied (the file), as Pool::Open.
  static absl::StatusOr<std::unique_ptr<PoolView>> Open(
      const std::string& path);
  ~PoolView();
  PoolView(const PoolView&) = delete;
  PoolView& operator=(const PoolView&) = delete;

  const std::string& path() const { return path_; }
  const logstore::Geometry& geometry() const { return pool_->geometry(); }
  // Segments of a shard, where they are mapped.
  logstore::SegmentMap Segments(ShardId shard) const;

  // Visits all whole records of a shard in the order of the log; headers stay
  // valid, key and value follow them. Errors: kDataLoss (the shard's state).
  absl::StatusOr<ShardView> Walk(ShardId shard,
                                 logstore::RecordVisitor visit) const;

 private:
  PoolView(std::string path, std::byte* map, size_t length)
      : path_(std::move(path)), map_(map), length_(length) {}
  Lsn KnownCommitted(const logstore::ShardArea& area,
                     const logstore::ShardState& state) const;

  const std::string path_;
  std::byte* const map_;
  const size_t length_;
  pmem::ShmDomain domain_;
  std::unique_ptr<logstore::Pool> pool_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_POOL_VIEW_H_

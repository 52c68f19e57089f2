// Memory registered with the adapter.
//
// A region is one memory region of the adapter, or, when it is large, several
// that are registered in parallel: pinning pages is what takes time. Pieces
// overlap, so that every grant up to the overlap lies within one of them and
// needs one key only.
//
// Memory that cannot be pinned (files on fs-dax) is registered for on-demand
// paging where the adapter has that and it works.
//
// Thread-safety: none.
#ifndef WHALE_FABRIC_VERBS_REGIONS_H_
#define WHALE_FABRIC_VERBS_REGIONS_H_

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "fabric/verbs/handles.h"

namespace whale::fabric::verbs {

// The longest range of a region in pieces that one key covers for sure.
inline constexpr uint64_t kPieceOverlapBytes = uint64_t{1} << 30;

struct RegionsConfig {
  ibv_pd* domain = nullptr;
  uint64_t piece_bytes = 0;      // not below twice the overlap, but for tests
  uint64_t flush_access = 0;     // tried first; see native_flush.h
  uint64_t tell_from_bytes = 0;  // smaller ones take no time worth telling
  // Whether on-demand paging can be used, or why not. Called once, by whatever
  // thread finds memory that cannot be pinned.
  std::function<absl::Status()> try_on_demand;
  std::function<void(std::string_view)> inform;
};

class Regions {
 public:
  explicit Regions(RegionsConfig config) : config_(std::move(config)) {}

  absl::StatusOr<RegionId> Register(const Memory& memory, const Access& access);
  void Deregister(RegionId id);
  // Whether memory that peers may write had to do without `flush_access`.
  bool flush_refused() const { return flush_refused_; }
  // Key 0, which no adapter accepts: no piece covers all of it.
  Grant MakeGrant(RegionId id, uint64_t offset_bytes,
                  uint64_t length_bytes) const;

  // The key for local use of a range; false: it is not registered.
  bool FindLocalKey(const void* address, uint64_t length_bytes,
                    uint32_t* key) const;
  // Whether peers may write there with this key: what a flush may ask for.
  bool IsWritable(uint64_t key, uint64_t address, uint64_t length_bytes) const;

 private:
  struct Piece {
    uint64_t begin = 0;
    uint64_t end = 0;
    RegionId region;
    MemoryHandle handle;
    bool writable = false;
  };

  absl::Status AddPieces(const Memory& memory, const Access& access,
                         RegionId id);
  absl::StatusOr<MemoryHandle> RegisterPiece(void* base, uint64_t length_bytes,
                                             int access);
  // Null: errno says why not.
  MemoryHandle RegisterWith(void* base, uint64_t length_bytes, int access);
  const absl::Status& OnDemand();

  const RegionsConfig config_;
  std::atomic<bool> flush_refused_{false};
  std::once_flag on_demand_tried_;
  absl::Status on_demand_;  // once tried
  uint64_t next_id_ = 1;
  std::vector<Piece> pieces_;
  mutable size_t last_local_ = 0;  // where the last FindLocalKey found it
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_REGIONS_H_

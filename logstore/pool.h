// A server's pool: one range of (persistent) memory that holds its superblock,
// per shard a state block, cells and metadata rings, the segment table and the
// segments. The byte picture is in docs/log_format.md.
//
// The pool neither knows files (pmem/pool_file.h maps them) nor the protocol:
// it says where things lie, checks them when it is opened, and keeps the
// segment table durable.
//
// Thread-safety: none; one worker owns a pool. Ownership: the mapping stays the
// caller's and must outlive the pool. Durability: what Allocate, Free and
// StoreState return from is durable in the pool's domain.
#ifndef WHALE_LOGSTORE_POOL_H_
#define WHALE_LOGSTORE_POOL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "logstore/history.h"
#include "pmem/domain.h"

namespace whale::logstore {

using Uuid = std::array<uint8_t, 16>;

inline constexpr uint32_t kFormatVersion = 3;
inline constexpr size_t kCellBytes = 64;
inline constexpr size_t kDeliveryCells = 4;
inline constexpr size_t kMaxBackups = 15;

// Chosen when a pool is formatted; the same on every server of a cluster,
// except for the uuid, server and slot count.
struct Geometry {
  Uuid pool_uuid{};
  Uuid cluster_uuid{};
  ServerId server;
  uint32_t shard_count = 0;
  uint64_t segment_bytes = 0;  // power of two; in production >= 8 MiB
  uint32_t segment_slots = 0;
  uint32_t ring_slots = 0;  // metadata records per ring; power of two
};

// Memory that holds, or shall hold, a pool.
struct Mapping {
  std::byte* base = nullptr;  // page aligned
  size_t length_bytes = 0;
  int fd = -1;             // for the shm fabric; -1 in the simulator
  uint64_t fd_offset = 0;  // of `base` in `fd`
  pmem::PersistenceDomain* domain = nullptr;
};

// What a replica must find again after a restart; stored in two alternating,
// checksummed copies.
struct ShardState {
  Epoch epoch;          // of the adopted configuration; 0: none yet
  Epoch ended_epoch;    // takes part in no epoch below it
  Lsn committed_start;  // A of `epoch`
  Lsn start;            // T of `epoch`
  History history;
  uint32_t ring = 0;  // which of the two rings is `epoch`'s
  // Persisted from time to time: floors below which the log must be whole.
  Lsn announced;
  Lsn durable;
  Lsn committed;
};

// Addresses within one shard's area, all in registered, persistent memory.
// Cells of a kind are written in turn, so that one is whole.
struct ShardArea {
  std::byte* delivery_cells;  // kDeliveryCells; written by the primary
  std::byte* chain_cells;     // 2; written by the predecessor
  std::byte* commit_cells;    // 2; written here when primary, READ by backups
  std::byte* epoch_cells;     // 2; written here, READ by the primary
  std::byte* progress_cells;  // 2 per backup, kMaxBackups of them; written by
                              // the backups when this server is the primary
  std::array<std::byte*, 2> rings;  // ring_slots metadata records each
};

struct SegmentInfo {
  ShardId shard;
  uint64_t number = 0;  // first LSN = number * segment_bytes; from 1
  uint32_t slot = 0;
};

class Pool {
 public:
  // Bytes of a pool with this geometry.
  static uint64_t BytesNeeded(const Geometry& geometry);
  // Writes a new, empty pool; whole or not there at all when it is
  // interrupted. Errors: kInvalidArgument (geometry, too small).
  static absl::StatusOr<std::unique_ptr<Pool>> Format(const Mapping& mapping,
                                                      const Geometry& geometry);
  // Reads an existing one. Errors name what is wrong and the cure: kNotFound
  // (no pool there: zeros, or an interrupted Format), kFailedPrecondition
  // (another format version), kDataLoss (neither superblock whole, the file is
  // shorter than it says, or a word of the segment table is damaged in both
  // copies). What is whole in one copy is mended in the other.
  static absl::StatusOr<std::unique_ptr<Pool>> Open(const Mapping& mapping);

  const Geometry& geometry() const { return geometry_; }
  const Mapping& mapping() const { return mapping_; }
  pmem::PersistenceDomain& domain() const { return *mapping_.domain; }
  // A new pool learns its cluster when it first joins one. Durable.
  // REQUIRES: it has none yet.
  void SetClusterUuid(const Uuid& cluster_uuid);

  ShardArea Area(ShardId shard) const;

  // Errors: kDataLoss (both copies damaged; a blank state is not an error).
  absl::StatusOr<ShardState> LoadState(ShardId shard) const;
  void StoreState(ShardId shard, const ShardState& state);

  // Takes a free slot for segment `number` of `shard`. Its bytes are what they
  // are, but never another shard's: those could pass for records of this one.
  // REQUIRES: number >= 1, not allocated to the shard already.
  // Errors: kResourceExhausted (the shard's quota, or the pool, is used up).
  absl::StatusOr<uint32_t> AllocateSegment(ShardId shard, uint64_t number);
  // REQUIRES: it is allocated.
  void FreeSegment(ShardId shard, uint64_t number);
  // Allocated segments of a shard, by number.
  std::vector<SegmentInfo> Segments(ShardId shard) const;
  std::byte* SlotBase(uint32_t slot) const;
  // Offset in the mapping (what a grant counts from).
  uint64_t OffsetOf(const void* address) const {
    return static_cast<const std::byte*>(address) - mapping_.base;
  }
  uint32_t free_slots() const { return static_cast<uint32_t>(free_.size()); }
  // Segments that one shard may have.
  uint32_t quota() const;

  // Slots that `shard` has.
  uint32_t used_slots(ShardId shard) const { return used_[shard.value()]; }

 private:
  // What a word of the segment table says, checked.
  struct Slot {
    uint64_t number = 0;  // 0: free
    ShardId shard;        // of a free slot: who had it last
  };

  Pool(const Mapping& mapping, const Geometry& geometry);

  void WriteFirstSuperblock();
  void WriteSuperblock();
  // Reads the table, mends a damaged word from the other copy.
  absl::Status LoadTable();
  void PersistFound();
  void MendTableWord(uint32_t slot);
  uint64_t TableWord(uint32_t slot) const;
  void WriteTableWord(uint32_t slot);
  void StoreTableWord(int copy, uint32_t slot);
  uint32_t FindSlot(ShardId shard, uint64_t number) const;

  Mapping mapping_;
  Geometry geometry_;
  uint64_t generation_ = 0;                  // of the superblock
  std::vector<uint64_t> state_generations_;  // by shard
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;  // slots, taken from the back
  std::vector<uint32_t> used_;  // segments per shard
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_POOL_H_

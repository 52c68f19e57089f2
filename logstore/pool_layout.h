// The byte picture of a pool's metadata (docs/log_format.md): what is where,
// and how each piece checks itself. Shared by the pool and the offline tools;
// everything here reads bytes that may be anything.
//
//   0        4 KiB    8 KiB                                  segments_offset
//   +--------+--------+-------------+-----+-------+-------+---------+------+
//   | super- | super- | shard 0:    | ... | table | table | (zeros) | slot | ..
//   | block  | block  | state state |     |       |       |         |  0   |
//   | copy 0 | copy 1 | cells rings |     | copy 0| copy 1|         |      |
//   +--------+--------+-------------+-----+-------+-------+---------+------+
//
// Thread-safety: pure functions.
#ifndef WHALE_LOGSTORE_POOL_LAYOUT_H_
#define WHALE_LOGSTORE_POOL_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "logstore/pool.h"

namespace whale::logstore {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kPoolMagic = 0x314c'5045'4c41'4857;   // "WHALEPL1"
inline constexpr uint64_t kStateMagic = 0x3154'5345'4c41'4857;  // "WHALEST1"
inline constexpr size_t kRingSlotBytes = 64;
// Places in the index have 36 bits of 16-byte units.
inline constexpr uint64_t kMaxPoolBytes = uint64_t{1} << 40;

// One copy of the superblock; fills a page with zeros. Magic, version and
// checksum stay where they are in every format version.
struct SuperblockPage {
  uint64_t magic;
  uint32_t format_version;
  uint32_t checksum;  // CRC-32C of the page without this field
  uint64_t generation;
  uint64_t pool_bytes;
  uint8_t pool_uuid[16];
  uint8_t cluster_uuid[16];
  uint32_t server;
  uint32_t shard_count;
  uint64_t segment_bytes;
  uint32_t segment_slots;
  uint32_t ring_slots;
  uint8_t zero[kPageBytes - 88];
};
static_assert(sizeof(SuperblockPage) == kPageBytes);

// One copy of a shard's state.
struct StatePage {
  uint64_t magic;
  uint32_t shard;
  uint32_t checksum;  // CRC-32C of the page without this field
  uint64_t generation;
  uint64_t epoch;
  uint64_t ended_epoch;
  uint64_t committed_start;
  uint64_t start;
  uint64_t announced;
  uint64_t durable;
  uint64_t committed;
  uint32_t ring;
  uint32_t history_truncated;
  uint32_t history_count;
  uint32_t zero32;
  struct Entry {
    uint64_t epoch;
    uint64_t start;
  } history[History::kMaxEntries];
  uint8_t zero[kPageBytes - 96 - History::kMaxEntries * 16];
};
static_assert(sizeof(StatePage) == kPageBytes);

// What a word of the segment table says.
//   bits 0-31 number (0: free), 32-47 shard (free: who had it last), 48-63
//   check: CRC-32C of pool uuid, slot and bits 0-47, folded to 16 bits
struct TableEntry {
  uint64_t number = 0;
  ShardId shard;
};
// A slot that no shard has had yet.
inline constexpr ShardId kNoShard{0xffff};
inline constexpr uint64_t kMaxSegmentNumber = UINT32_MAX;

uint64_t EncodeTableWord(const Uuid& pool_uuid, uint32_t slot,
                         const TableEntry& entry);
// Nothing if the word is damaged.
std::optional<TableEntry> DecodeTableWord(const Uuid& pool_uuid, uint32_t slot,
                                          uint64_t word);

// Offsets in the pool.
struct PoolLayout {
  uint64_t areas = 0;
  uint64_t area_bytes = 0;  // per shard
  uint64_t ring_bytes = 0;
  uint64_t tables[2] = {};
  uint64_t segments = 0;
  uint64_t total_bytes = 0;

  uint64_t Area(ShardId shard) const {
    return areas + shard.value() * area_bytes;
  }
  uint64_t State(ShardId shard, int copy) const {
    return Area(shard) + copy * kPageBytes;
  }
  uint64_t Cells(ShardId shard) const { return Area(shard) + 2 * kPageBytes; }
  uint64_t Ring(ShardId shard, int ring) const {
    return Area(shard) + 3 * kPageBytes + ring * ring_bytes;
  }
};

// Errors: kInvalidArgument, naming the number and its bounds.
absl::Status CheckGeometry(const Geometry& geometry);
// REQUIRES: CheckGeometry(geometry).ok().
PoolLayout LayoutOf(const Geometry& geometry);

struct Superblock {
  Geometry geometry;
  uint64_t generation = 0;
  bool copy_whole[2] = {};  // which copies hold just this
};
// `memory`: the pool, or what there is of it. Errors: as Pool::Open.
absl::StatusOr<Superblock> ReadSuperblock(std::span<const std::byte> memory);
// The table's entry for a slot, from whichever copy is whole (of two whole ones
// the first: it is written first). Nothing if neither is, or if it names a
// shard that the pool does not have. REQUIRES: `memory` holds the tables.
std::optional<TableEntry> ReadTable(std::span<const std::byte> memory,
                                    const PoolLayout& layout,
                                    const Geometry& geometry, uint32_t slot);
void FillSuperblock(const Geometry& geometry, uint64_t generation,
                    SuperblockPage* page);

struct StoredShardState {
  ShardState state;
  uint64_t generation = 0;
  bool copy_whole[2] = {};
};
// Errors: kDataLoss (neither copy whole).
absl::StatusOr<StoredShardState> ReadState(ShardId shard,
                                           const std::byte* copy0,
                                           const std::byte* copy1);
void FillState(ShardId shard, const ShardState& state, uint64_t generation,
               StatePage* page);

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_POOL_LAYOUT_H_

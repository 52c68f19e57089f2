#include "logstore/pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/remote_memory.h"
#include "common/status_macros.h"
#include "logstore/pool_layout.h"

namespace whale::logstore {
namespace {

std::span<const std::byte> MemoryOf(const Mapping& mapping) {
  return {mapping.base, mapping.length_bytes};
}

// Writes a page into both copies, one after the other, so that a crash leaves
// at least one whole.
template <typename Page>
void WriteBothCopies(pmem::PersistenceDomain& domain, const Page& page,
                     std::byte* copy0, std::byte* copy1) {
  for (std::byte* copy : {copy0, copy1}) {
    StoreShared(copy, page);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    domain.Persist(copy, sizeof(Page));
  }
}

void Zero(const Mapping& mapping, uint64_t offset, uint64_t length_bytes) {
  std::memset(mapping.base + offset, 0, length_bytes);
  mapping.domain->Persist(mapping.base + offset, length_bytes);
}

bool IsBlank(const Mapping& mapping, uint64_t length_bytes) {
  return std::all_of(mapping.base, mapping.base + length_bytes,
                     [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Pool::Pool(const Mapping& mapping, const Geometry& geometry)
    : mapping_(mapping),
      geometry_(geometry),
      state_generations_(geometry.shard_count),
      slots_(geometry.segment_slots),
      used_(geometry.shard_count) {}

uint64_t Pool::BytesNeeded(const Geometry& geometry) {
  return LayoutOf(geometry).total_bytes;
}

absl::StatusOr<std::unique_ptr<Pool>> Pool::Format(const Mapping& mapping,
                                                   const Geometry& geometry) {
  WHALE_RETURN_IF_ERROR(CheckGeometry(geometry));
  const PoolLayout layout = LayoutOf(geometry);
  if (mapping.length_bytes < layout.total_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pool of this geometry needs ", layout.total_bytes,
                     " bytes, there are ", mapping.length_bytes,
                     "; make it larger or choose fewer segments"));
  }
  // Superblocks go first and come last: an interrupted Format leaves no pool.
  // Records of a former pool could pass for those of the new one.
  if (!IsBlank(mapping, layout.segments)) {
    Zero(mapping, 0, 2 * kPageBytes);
    Zero(mapping, layout.areas, layout.total_bytes - layout.areas);
  }
  auto pool = std::unique_ptr<Pool>(new Pool(mapping, geometry));
  for (uint32_t shard = 0; shard < geometry.shard_count; ++shard) {
    pool->StoreState(ShardId(static_cast<uint16_t>(shard)), ShardState());
  }
  for (uint32_t slot = geometry.segment_slots; slot-- > 0;) {
    pool->slots_[slot] = {.number = 0, .shard = kNoShard};
    for (int copy = 0; copy < 2; ++copy) pool->StoreTableWord(copy, slot);
    pool->free_.push_back(slot);
  }
  mapping.domain->Persist(mapping.base + layout.tables[0],
                          layout.segments - layout.tables[0]);
  pool->WriteFirstSuperblock();
  return pool;
}

// What makes it a pool is one word, written when all the rest is there.
void Pool::WriteFirstSuperblock() {
  SuperblockPage page;
  FillSuperblock(geometry_, ++generation_, &page);
  const uint64_t magic = std::exchange(page.magic, 0);
  StoreShared(mapping_.base, page);
  domain().Persist(mapping_.base, sizeof(page));
  StoreSharedWord(mapping_.base, magic);
  domain().Persist(mapping_.base, sizeof(magic));
  page.magic = magic;
  WriteBothCopies(domain(), page, mapping_.base, mapping_.base + kPageBytes);
}

absl::StatusOr<std::unique_ptr<Pool>> Pool::Open(const Mapping& mapping) {
  WHALE_ASSIGN_OR_RETURN(const Superblock superblock,
                         ReadSuperblock(MemoryOf(mapping)));
  auto pool = std::unique_ptr<Pool>(new Pool(mapping, superblock.geometry));
  pool->PersistFound();
  pool->generation_ = superblock.generation;
  if (!superblock.copy_whole[0] || !superblock.copy_whole[1]) {
    pool->WriteSuperblock();
  }
  WHALE_RETURN_IF_ERROR(pool->LoadTable());
  const PoolLayout layout = LayoutOf(superblock.geometry);
  for (uint32_t i = 0; i < superblock.geometry.shard_count; ++i) {
    const ShardId shard(static_cast<uint16_t>(i));
    // A damaged state is LoadState's to report.
    const auto stored = ReadState(shard, mapping.base + layout.State(shard, 0),
                                  mapping.base + layout.State(shard, 1));
    if (!stored.ok()) continue;
    pool->state_generations_[i] = stored->generation;
    if (!stored->copy_whole[0] || !stored->copy_whole[1]) {
      pool->StoreState(shard, stored->state);
    }
  }
  return pool;
}

// What a restart finds, the process before may have written and not persisted.
// Of two copies one must be durable before the other is written.
void Pool::PersistFound() {
  const PoolLayout layout = LayoutOf(geometry_);
  domain().WriteBack(mapping_.base, 2 * kPageBytes);
  for (uint32_t i = 0; i < geometry_.shard_count; ++i) {
    const ShardId shard(static_cast<uint16_t>(i));
    domain().WriteBack(mapping_.base + layout.State(shard, 0), 2 * kPageBytes);
  }
  domain().WriteBack(mapping_.base + layout.tables[0],
                     layout.segments - layout.tables[0]);
  domain().Fence();
}

void Pool::WriteSuperblock() {
  SuperblockPage page;
  FillSuperblock(geometry_, ++generation_, &page);
  WriteBothCopies(domain(), page, mapping_.base, mapping_.base + kPageBytes);
}

void Pool::SetClusterUuid(const Uuid& cluster_uuid) {
  WHALE_CHECK(geometry_.cluster_uuid == Uuid{});
  geometry_.cluster_uuid = cluster_uuid;
  WriteSuperblock();
}

absl::Status Pool::LoadTable() {
  const PoolLayout layout = LayoutOf(geometry_);
  for (uint32_t slot = geometry_.segment_slots; slot-- > 0;) {
    const std::optional<TableEntry> entry =
        ReadTable(MemoryOf(mapping_), layout, geometry_, slot);
    if (!entry.has_value() ||
        (entry->number != 0 &&
         FindSlot(entry->shard, entry->number) != geometry_.segment_slots)) {
      return absl::DataLossError(absl::StrCat(
          "the segment table is damaged at slot ", slot,
          "; remove the pool's file and let the server be refilled from the "
          "others"));
    }
    slots_[slot] = {.number = entry->number, .shard = entry->shard};
    if (entry->number == 0) {
      free_.push_back(slot);
    } else {
      ++used_[entry->shard.value()];
    }
    MendTableWord(slot);
  }
  return absl::OkStatus();
}

void Pool::MendTableWord(uint32_t slot) {
  const PoolLayout layout = LayoutOf(geometry_);
  for (uint64_t table : layout.tables) {
    const uint64_t word =
        LoadRemoteWord(mapping_.base + table + slot * sizeof(uint64_t));
    if (word != TableWord(slot)) return WriteTableWord(slot);
  }
}

uint64_t Pool::TableWord(uint32_t slot) const {
  return EncodeTableWord(
      geometry_.pool_uuid, slot,
      {.number = slots_[slot].number, .shard = slots_[slot].shard});
}

void Pool::StoreTableWord(int copy, uint32_t slot) {
  StoreSharedWord(mapping_.base + LayoutOf(geometry_).tables[copy] +
                      slot * sizeof(uint64_t),
                  TableWord(slot));
}

void Pool::WriteTableWord(uint32_t slot) {
  const PoolLayout layout = LayoutOf(geometry_);
  for (int copy = 0; copy < 2; ++copy) {
    StoreTableWord(copy, slot);
    domain().Persist(
        mapping_.base + layout.tables[copy] + slot * sizeof(uint64_t),
        sizeof(uint64_t));
  }
}

uint32_t Pool::FindSlot(ShardId shard, uint64_t number) const {
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].number == number && slots_[slot].shard == shard) {
      return slot;
    }
  }
  return geometry_.segment_slots;
}

absl::StatusOr<uint32_t> Pool::AllocateSegment(ShardId shard, uint64_t number) {
  WHALE_CHECK(shard.value() < geometry_.shard_count);
  WHALE_CHECK(number >= 1 && number <= kMaxSegmentNumber);
  WHALE_CHECK(FindSlot(shard, number) == geometry_.segment_slots);
  if (used_[shard.value()] >= quota() || free_.empty()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the pool of server ", geometry_.server.value(), " is full: shard ",
        shard.value(), " has ", used_[shard.value()], " of at most ", quota(),
        " segments, ", free_.size(), " of ", geometry_.segment_slots,
        " are free; delete data or use larger pools"));
  }
  // One that needs no scrubbing, if there is any; else the last.
  const auto holds_others = [this, shard](uint32_t slot) {
    return slots_[slot].shard != shard && slots_[slot].shard != kNoShard;
  };
  const auto clean =
      std::find_if_not(free_.rbegin(), free_.rend(), holds_others);
  const auto chosen =
      std::prev(clean != free_.rend() ? clean.base() : free_.end());
  const uint32_t slot = *chosen;
  free_.erase(chosen);
  if (holds_others(slot)) {
    Zero(mapping_, OffsetOf(SlotBase(slot)), geometry_.segment_bytes);
  }
  slots_[slot] = {.number = number, .shard = shard};
  WriteTableWord(slot);
  ++used_[shard.value()];
  return slot;
}

void Pool::FreeSegment(ShardId shard, uint64_t number) {
  const uint32_t slot = FindSlot(shard, number);
  WHALE_CHECK(number >= 1 && slot < geometry_.segment_slots);
  slots_[slot].number = 0;
  WriteTableWord(slot);
  --used_[shard.value()];
  free_.insert(free_.begin(), slot);  // used again as late as possible
}

std::vector<SegmentInfo> Pool::Segments(ShardId shard) const {
  std::vector<SegmentInfo> segments;
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].number != 0 && slots_[slot].shard == shard) {
      segments.push_back(
          {.shard = shard, .number = slots_[slot].number, .slot = slot});
    }
  }
  std::sort(segments.begin(), segments.end(),
            [](const SegmentInfo& a, const SegmentInfo& b) {
              return a.number < b.number;
            });
  return segments;
}

ShardArea Pool::Area(ShardId shard) const {
  WHALE_CHECK(shard.value() < geometry_.shard_count);
  const PoolLayout layout = LayoutOf(geometry_);
  std::byte* cells = mapping_.base + layout.Cells(shard);
  static_assert((kDeliveryCells + 6 + 2 * kMaxBackups) * kCellBytes <=
                kPageBytes);
  std::byte* pairs = cells + kDeliveryCells * kCellBytes;
  return ShardArea{
      .delivery_cells = cells,
      .chain_cells = pairs,
      .commit_cells = pairs + 2 * kCellBytes,
      .epoch_cells = pairs + 4 * kCellBytes,
      .progress_cells = pairs + 6 * kCellBytes,
      .rings = {mapping_.base + layout.Ring(shard, 0),
                mapping_.base + layout.Ring(shard, 1)},
  };
}

absl::StatusOr<ShardState> Pool::LoadState(ShardId shard) const {
  WHALE_CHECK(shard.value() < geometry_.shard_count);
  const PoolLayout layout = LayoutOf(geometry_);
  WHALE_ASSIGN_OR_RETURN(
      StoredShardState stored,
      ReadState(shard, mapping_.base + layout.State(shard, 0),
                mapping_.base + layout.State(shard, 1)));
  return std::move(stored.state);
}

void Pool::StoreState(ShardId shard, const ShardState& state) {
  WHALE_CHECK(shard.value() < geometry_.shard_count && state.ring < 2);
  const PoolLayout layout = LayoutOf(geometry_);
  StatePage page;
  FillState(shard, state, ++state_generations_[shard.value()], &page);
  WriteBothCopies(domain(), page, mapping_.base + layout.State(shard, 0),
                  mapping_.base + layout.State(shard, 1));
}

std::byte* Pool::SlotBase(uint32_t slot) const {
  WHALE_CHECK(slot < geometry_.segment_slots);
  return mapping_.base + LayoutOf(geometry_).segments +
         slot * geometry_.segment_bytes;
}

uint32_t Pool::quota() const {
  return geometry_.segment_slots / geometry_.shard_count;
}

}  // namespace whale::logstore

#include "logstore/pool_layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/remote_memory.h"
#include "common/units.h"

namespace whale::logstore {
namespace {

// Both page formats have their checksum at bytes 12 .. 15.
constexpr size_t kChecksumOffset = 12;
static_assert(offsetof(SuperblockPage, checksum) == kChecksumOffset);
static_assert(offsetof(StatePage, checksum) == kChecksumOffset);

uint32_t PageChecksum(const void* page) {
  const auto* bytes = static_cast<const std::byte*>(page);
  const uint32_t crc = ExtendCrc32c(0, bytes, kChecksumOffset);
  return ExtendCrc32c(crc, bytes + kChecksumOffset + 4,
                      kPageBytes - kChecksumOffset - 4);
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

Geometry GeometryOf(const SuperblockPage& page) {
  Geometry geometry;
  std::memcpy(geometry.pool_uuid.data(), page.pool_uuid, 16);
  std::memcpy(geometry.cluster_uuid.data(), page.cluster_uuid, 16);
  geometry.server = ServerId(page.server);
  geometry.shard_count = page.shard_count;
  geometry.segment_bytes = page.segment_bytes;
  geometry.segment_slots = page.segment_slots;
  geometry.ring_slots = page.ring_slots;
  return geometry;
}

ShardState StateOf(const StatePage& page) {
  std::vector<EpochStart> entries(page.history_count);
  for (uint32_t i = 0; i < page.history_count; ++i) {
    entries[i] = {Epoch(page.history[i].epoch), Lsn(page.history[i].start)};
  }
  return ShardState{
      .epoch = Epoch(page.epoch),
      .ended_epoch = Epoch(page.ended_epoch),
      .committed_start = Lsn(page.committed_start),
      .start = Lsn(page.start),
      .history = History(entries, page.history_truncated != 0),
      .ring = page.ring,
      .announced = Lsn(page.announced),
      .durable = Lsn(page.durable),
      .committed = Lsn(page.committed),
  };
}

bool IsWholeState(const StatePage& page, ShardId shard) {
  return page.magic == kStateMagic && page.shard == shard.value() &&
         page.checksum == PageChecksum(&page) && page.ring < 2 &&
         page.history_count <= History::kMaxEntries;
}

absl::Status Bad(const char* what, uint64_t value, const char* allowed) {
  return absl::InvalidArgumentError(absl::StrCat(
      "pool geometry: ", what, " is ", value, ", allowed is ", allowed));
}

}  // namespace

uint64_t EncodeTableWord(const Uuid& pool_uuid, uint32_t slot,
                         const TableEntry& entry) {
  WHALE_CHECK(entry.number <= kMaxSegmentNumber);
  const uint64_t content = entry.number | uint64_t{entry.shard.value()} << 32;
  uint32_t crc = ExtendCrc32c(0, pool_uuid.data(), pool_uuid.size());
  crc = ExtendCrc32c(crc, &slot, sizeof(slot));
  crc = ExtendCrc32c(crc, &content, 6);
  return content | uint64_t{(crc ^ (crc >> 16)) & 0xffff} << 48;
}

std::optional<TableEntry> DecodeTableWord(const Uuid& pool_uuid, uint32_t slot,
                                          uint64_t word) {
  const TableEntry entry{
      .number = word & UINT32_MAX,
      .shard = ShardId(static_cast<uint16_t>(word >> 32)),
  };
  if (word != EncodeTableWord(pool_uuid, slot, entry)) return std::nullopt;
  return entry;
}

std::optional<TableEntry> ReadTable(std::span<const std::byte> memory,
                                    const PoolLayout& layout,
                                    const Geometry& geometry, uint32_t slot) {
  for (uint64_t table : layout.tables) {
    const uint64_t word =
        LoadRemoteWord(memory.data() + table + slot * sizeof(uint64_t));
    const auto entry = DecodeTableWord(geometry.pool_uuid, slot, word);
    if (!entry.has_value()) continue;
    if (entry->number == 0 || entry->shard.value() < geometry.shard_count) {
      return entry;
    }
  }
  return std::nullopt;
}

absl::Status CheckGeometry(const Geometry& geometry) {
  if (geometry.shard_count < 1 || geometry.shard_count > 4096) {
    return Bad("shard count", geometry.shard_count, "1 to 4096");
  }
  if (!std::has_single_bit(geometry.segment_bytes) ||
      geometry.segment_bytes < kPageBytes || geometry.segment_bytes > kGiB) {
    return Bad("segment size", geometry.segment_bytes,
               "a power of two from 4 KiB to 1 GiB");
  }
  if (!std::has_single_bit(geometry.ring_slots) || geometry.ring_slots < 2 ||
      geometry.ring_slots > (1u << 24)) {
    return Bad("ring slots", geometry.ring_slots,
               "a power of two from 2 to 2^24");
  }
  if (geometry.segment_slots < geometry.shard_count) {
    return Bad("segment slots", geometry.segment_slots,
               "at least one per shard");
  }
  if (geometry.segment_slots > kMaxPoolBytes / geometry.segment_bytes ||
      LayoutOf(geometry).total_bytes > kMaxPoolBytes) {
    return Bad("segment slots", geometry.segment_slots,
               "as many as make a pool of at most 1 TiB");
  }
  return absl::OkStatus();
}

PoolLayout LayoutOf(const Geometry& geometry) {
  PoolLayout layout;
  layout.areas = 2 * kPageBytes;
  layout.ring_bytes =
      RoundUp(uint64_t{geometry.ring_slots} * kRingSlotBytes, kPageBytes);
  layout.area_bytes = 3 * kPageBytes + 2 * layout.ring_bytes;
  const uint64_t table_bytes =
      RoundUp(uint64_t{geometry.segment_slots} * sizeof(uint64_t), kPageBytes);
  layout.tables[0] = layout.areas + geometry.shard_count * layout.area_bytes;
  layout.tables[1] = layout.tables[0] + table_bytes;
  layout.segments = layout.tables[1] + table_bytes;
  layout.total_bytes =
      layout.segments + geometry.segment_slots * geometry.segment_bytes;
  return layout;
}

void FillSuperblock(const Geometry& geometry, uint64_t generation,
                    SuperblockPage* page) {
  *page = SuperblockPage{};
  page->magic = kPoolMagic;
  page->format_version = kFormatVersion;
  page->generation = generation;
  page->pool_bytes = LayoutOf(geometry).total_bytes;
  std::memcpy(page->pool_uuid, geometry.pool_uuid.data(), 16);
  std::memcpy(page->cluster_uuid, geometry.cluster_uuid.data(), 16);
  page->server = geometry.server.value();
  page->shard_count = geometry.shard_count;
  page->segment_bytes = geometry.segment_bytes;
  page->segment_slots = geometry.segment_slots;
  page->ring_slots = geometry.ring_slots;
  page->checksum = PageChecksum(page);
}

absl::StatusOr<Superblock> ReadSuperblock(std::span<const std::byte> memory) {
  const size_t head = std::min<size_t>(memory.size(), 2 * kPageBytes);
  // A pool in the making has no magic yet and no second copy; a damaged one
  // has either.
  if (AllZero(memory.first(std::min<size_t>(head, sizeof(uint64_t)))) &&
      AllZero(memory.subspan(std::min<size_t>(head, kPageBytes),
                             head - std::min<size_t>(head, kPageBytes)))) {
    return absl::NotFoundError("no pool here yet: it must be formatted first");
  }
  if (head < 2 * kPageBytes) {
    return absl::DataLossError(
        absl::StrCat("the pool is cut off after ", memory.size(),
                     " bytes; restore the file, or remove it and let the "
                     "server be refilled from the others"));
  }
  SuperblockPage pages[2];
  std::memcpy(pages, memory.data(), sizeof(pages));
  const SuperblockPage* best = nullptr;
  for (const SuperblockPage& page : pages) {
    if (page.magic != kPoolMagic || page.checksum != PageChecksum(&page)) {
      continue;
    }
    if (best == nullptr || page.generation > best->generation) best = &page;
  }
  if (best == nullptr) {
    return absl::DataLossError(
        "neither copy of the superblock is whole: this is no pool, or it is "
        "damaged; remove the file and let the server be refilled from the "
        "others");
  }
  if (best->format_version != kFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the pool has format version ", best->format_version,
        ", this program reads version ", kFormatVersion,
        "; use the release that wrote it, or start with a new pool"));
  }
  Superblock result{.geometry = GeometryOf(*best),
                    .generation = best->generation};
  if (absl::Status status = CheckGeometry(result.geometry); !status.ok()) {
    return absl::DataLossError(status.message());
  }
  const uint64_t needed = LayoutOf(result.geometry).total_bytes;
  if (best->pool_bytes != needed || memory.size() < needed) {
    return absl::DataLossError(absl::StrCat(
        "the pool should have ", needed, " bytes, its superblock says ",
        best->pool_bytes, " and there are ", memory.size(),
        ": the file was cut off; restore it, or remove it and let the server "
        "be refilled from the others"));
  }
  for (int copy = 0; copy < 2; ++copy) {
    result.copy_whole[copy] =
        std::memcmp(&pages[copy], best, sizeof(*best)) == 0;
  }
  return result;
}

void FillState(ShardId shard, const ShardState& state, uint64_t generation,
               StatePage* page) {
  *page = StatePage{};
  page->magic = kStateMagic;
  page->shard = shard.value();
  page->generation = generation;
  page->epoch = state.epoch.value();
  page->ended_epoch = state.ended_epoch.value();
  page->committed_start = state.committed_start.value();
  page->start = state.start.value();
  page->announced = state.announced.value();
  page->durable = state.durable.value();
  page->committed = state.committed.value();
  page->ring = state.ring;
  page->history_truncated = state.history.truncated() ? 1 : 0;
  const auto entries = state.history.entries();
  page->history_count = static_cast<uint32_t>(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    page->history[i] = {entries[i].epoch.value(), entries[i].start.value()};
  }
  page->checksum = PageChecksum(page);
}

absl::StatusOr<StoredShardState> ReadState(ShardId shard,
                                           const std::byte* copy0,
                                           const std::byte* copy1) {
  StatePage pages[2];
  std::memcpy(&pages[0], copy0, kPageBytes);
  std::memcpy(&pages[1], copy1, kPageBytes);
  const StatePage* best = nullptr;
  for (const StatePage& page : pages) {
    if (!IsWholeState(page, shard)) continue;
    if (best == nullptr || page.generation > best->generation) best = &page;
  }
  if (best == nullptr) {
    return absl::DataLossError(absl::StrCat(
        "neither copy of the state of shard ", shard.value(),
        " is whole: the pool is damaged; remove the file and let the server "
        "be refilled from the others"));
  }
  StoredShardState result{.state = StateOf(*best),
                          .generation = best->generation};
  for (int copy = 0; copy < 2; ++copy) {
    result.copy_whole[copy] =
        std::memcmp(&pages[copy], best, sizeof(*best)) == 0;
  }
  return result;
}

}  // namespace whale::logstore

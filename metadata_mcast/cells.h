// Cells: 64 bytes that one server writes and another reads without asking.
//
//            0      8            16         24         32        40 .. 56 60 64
//   Delivery | epoch| delivered  | committed| ring pos.| sequence| zero  |z
//   |crc| Commit   | epoch| committed  | sequence | zero |z |crc| Epoch    |
//   ended| active     | sequence | zero                       |z |crc|
//
// All integers little-endian; `z` and `zero` are zeros; `crc` is CRC-32C over
// bytes 0 .. 59. No write of a cell is atomic: a cell checks itself, and cells
// come in pairs written alternately (slot = sequence modulo 2), so that one is
// whole whatever the writer was doing when it stopped.
//
// Thread-safety: readers may be in other processes; see common/remote_memory.h.
#ifndef WHALE_METADATA_MCAST_CELLS_H_
#define WHALE_METADATA_MCAST_CELLS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/crc32c.h"
#include "common/ids.h"
#include "common/remote_memory.h"

namespace whale::metadata_mcast {

inline constexpr size_t kCellBytes = 64;
inline constexpr size_t kCellSlots = 2;

// Primary -> backup, behind every delivery.
struct DeliveryCell {
  uint64_t epoch;
  uint64_t delivered;      // LSN: everything below it was written before
  uint64_t committed;      // LSN: the commit watermark
  uint64_t ring_position;  // metadata records written so far in this epoch
  uint64_t sequence;       // from 1 in each epoch
  uint64_t reserved[2];
  uint32_t zero;
  uint32_t crc;
};

// At the primary; READ by backups (protocol, section 6, step 5).
struct CommitCell {
  uint64_t epoch;
  uint64_t committed;
  uint64_t sequence;
  uint64_t reserved[4];
  uint32_t zero;
  uint32_t crc;
};

// At every server; READ by a primary without a lease.
struct EpochCell {
  uint64_t ended_epoch;   // takes part in no epoch below it
  uint64_t active_epoch;  // 0: none
  uint64_t sequence;
  uint64_t reserved[4];
  uint32_t zero;
  uint32_t crc;
};

template <typename Cell>
inline constexpr bool kIsCell =
    sizeof(Cell) == kCellBytes&& offsetof(Cell, crc) == kCellBytes - 4 &&
    std::is_trivially_copyable_v<Cell>;
static_assert(kIsCell<DeliveryCell>);
static_assert(kIsCell<CommitCell>);
static_assert(kIsCell<EpochCell>);

template <typename Cell>
uint32_t CellCrc(const Cell& cell) {
  static_assert(kIsCell<Cell>);
  return ExtendCrc32c(0, &cell, offsetof(Cell, crc));
}
template <typename Cell>
void SealCell(Cell& cell) {
  cell.crc = CellCrc(cell);
}
template <typename Cell>
bool IsWhole(const Cell& cell) {
  return cell.crc == CellCrc(cell);
}

// Where cell number `sequence` of a pair goes.
inline size_t CellOffset(uint64_t sequence) {
  return static_cast<size_t>(sequence % kCellSlots) * kCellBytes;
}

// The newest whole cell of the pair among those that `accept(cell)` takes; none
// if neither is. At least as new as the newest that was whole when the call
// began: while the slots are read one after the other, two more cells may be
// written. If the second slot is in the middle of such a write, what the first
// held before may be older than what the second held when the call began; then
// the first is looked at again.
// REQUIRES: `pair` is 8-byte aligned and kCellSlots * kCellBytes long.
template <typename Cell, typename Accept>
std::optional<Cell> NewestWholeIf(const std::byte* pair, Accept&& accept) {
  while (true) {
    const Cell first = LoadRemote<Cell>(pair);
    const Cell second = LoadRemote<Cell>(pair + kCellBytes);
    if (accept(second) && IsWhole(second)) {
      const bool newer = accept(first) && first.sequence > second.sequence;
      return newer && IsWhole(first) ? first : second;
    }
    if (!accept(first) || !IsWhole(first)) return std::nullopt;
    if (LoadRemote<Cell>(pair).sequence == first.sequence) return first;
  }
}
// Whether neither slot of a copy that a READ fetched was caught in the middle
// of a write. Only then is the newest whole cell of the copy as new as the READ
// itself: the slots were fetched at different times, so next to a torn one the
// whole one may be older than what was there when the READ began.
template <typename Cell>
bool IsSettled(const std::byte* pair) {
  for (size_t slot = 0; slot < kCellSlots; ++slot) {
    const Cell cell = LoadRemote<Cell>(pair + slot * kCellBytes);
    const bool blank = cell.crc == 0 && cell.sequence == 0;
    if (!blank && !IsWhole(cell)) return false;
  }
  return true;
}
// The newest whole cell of `epoch`.
template <typename Cell>
std::optional<Cell> NewestWhole(const std::byte* pair, Epoch epoch) {
  return NewestWholeIf<Cell>(
      pair, [epoch](const Cell& cell) { return cell.epoch == epoch.value(); });
}
// Both cells of the pair that are whole and of `epoch`, the newer first; a
// sequence of 0 stands for none.
template <typename Cell>
std::array<Cell, kCellSlots> WholePair(const std::byte* pair, Epoch epoch) {
  std::array<Cell, kCellSlots> cells{};
  for (size_t slot = 0; slot < kCellSlots; ++slot) {
    const Cell cell = LoadRemote<Cell>(pair + slot * kCellBytes);
    if (cell.epoch == epoch.value() && IsWhole(cell)) cells[slot] = cell;
  }
  if (cells[0].sequence < cells[1].sequence) std::swap(cells[0], cells[1]);
  return cells;
}
// The newest whole cell of a kind that has no epoch of its own.
template <typename Cell>
std::optional<Cell> NewestWhole(const std::byte* pair) {
  return NewestWholeIf<Cell>(pair, [](const Cell&) { return true; });
}

// Writes one of this server's own cells where others READ it: seals a copy and
// stores it in its slot. Not persisted; sequences of a pair must only grow.
template <typename Cell>
void StoreOwnCell(std::byte* pair, Cell cell) {
  SealCell(cell);
  StoreShared(pair + CellOffset(cell.sequence), cell);
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_CELLS_H_

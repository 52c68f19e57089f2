// Cells: 64 bytes that one server writes and another reads without asking.
//
//            0      8            16         24         32        40 .. 56 60 64
//   Delivery | epoch| delivered  | committed| ring pos.| sequence| zero  |z
//   |crc| Commit   | epoch| committed  | sequence | zero |z |crc| Epoch    |
//   ended| active     | sequence | zero                       |z |crc|
//
// All integers little-endian; `z` and `zero` are zeros; `crc` is CRC-32C over
// bytes 0 .. 59. No write of a cell is atomic: a cell checks itself, and each
// kind has several slots that are written in turn (slot = sequence modulo
// kSlots), so that one is whole whatever the writer was doing when it stopped.
//
// Thread-safety: readers may be in other processes; see common/remote_memory.h.
#ifndef WHALE_METADATA_MCAST_CELLS_H_
#define WHALE_METADATA_MCAST_CELLS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "common/crc32c.h"
#include "common/ids.h"
#include "common/remote_memory.h"
#include "logstore/pool.h"

namespace whale::metadata_mcast {

using logstore::kCellBytes;

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

// Slots of a kind. Delivery cells have more than two, because as many batches
// less one may be in flight (protocol, section 4).
template <typename Cell>
inline constexpr size_t kSlots = 2;
template <>
inline constexpr size_t kSlots<DeliveryCell> = logstore::kDeliveryCells;

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

// Where cell number `sequence` of a kind goes.
template <typename Cell>
size_t CellOffset(uint64_t sequence) {
  return static_cast<size_t>(sequence % kSlots<Cell>) * kCellBytes;
}

template <typename Cell>
using CellSlots = std::array<Cell, kSlots<Cell>>;
template <typename Cell>
CellSlots<Cell> LoadSlots(const std::byte* slots) {
  CellSlots<Cell> cells;
  for (size_t slot = 0; slot < cells.size(); ++slot) {
    cells[slot] = LoadRemote<Cell>(slots + slot * kCellBytes);
  }
  return cells;
}
// Among those that `accept(cell)` takes, the one with the largest sequence
// below `bound`, whole or not; nullptr if there is none.
template <typename Cell, typename Accept>
const Cell* LargestBelow(uint64_t bound, const CellSlots<Cell>& cells,
                         Accept&& accept) {
  const Cell* largest = nullptr;
  for (const Cell& cell : cells) {
    if (cell.sequence < bound && accept(cell) &&
        (largest == nullptr || cell.sequence > largest->sequence)) {
      largest = &cell;
    }
  }
  return largest;
}

// The newest whole cell among those that `accept(cell)` takes; none if there
// is none. At least as new as the newest that was whole when the call began:
// while the slots are read one after the other, more cells may be written, and
// what stands next to a torn one may be older than that. Then all are looked at
// again, until two looks have found the same bytes (docs/spec/cells.pml).
// REQUIRES: `slots` is 8-byte aligned and kSlots<Cell> * kCellBytes long.
template <typename Cell, typename Accept>
std::optional<Cell> NewestWholeIf(const std::byte* slots, Accept&& accept) {
  CellSlots<Cell> cells = LoadSlots<Cell>(slots);
  while (true) {
    const Cell* cell = LargestBelow<Cell>(UINT64_MAX, cells, accept);
    if (cell == nullptr) return std::nullopt;
    if (IsWhole(*cell)) return *cell;
    const CellSlots<Cell> again = LoadSlots<Cell>(slots);
    if (std::memcmp(&again, &cells, sizeof(cells)) == 0) {
      while (cell != nullptr && !IsWhole(*cell)) {
        cell = LargestBelow<Cell>(cell->sequence, cells, accept);
      }
      return cell != nullptr ? std::optional<Cell>(*cell) : std::nullopt;
    }
    cells = again;
  }
}
// Whether neither slot of a copy that a READ fetched was caught in the middle
// of a write. Only then is the newest whole cell of the copy as new as the READ
// itself: the slots were fetched at different times, so next to a torn one the
// whole one may be older than what was there when the READ began.
template <typename Cell>
bool IsSettled(const std::byte* pair) {
  for (const Cell& cell : LoadSlots<Cell>(pair)) {
    const bool blank = cell.crc == 0 && cell.sequence == 0;
    if (!blank && !IsWhole(cell)) return false;
  }
  return true;
}
// The newest whole cell of `epoch`.
template <typename Cell>
std::optional<Cell> NewestWhole(const std::byte* slots, Epoch epoch) {
  return NewestWholeIf<Cell>(
      slots, [epoch](const Cell& cell) { return cell.epoch == epoch.value(); });
}
// The newest whole cell of a kind that has no epoch of its own.
template <typename Cell>
std::optional<Cell> NewestWhole(const std::byte* slots) {
  return NewestWholeIf<Cell>(slots, [](const Cell&) { return true; });
}

// Writes one of this server's own cells where others READ it: seals a copy and
// stores it in its slot. Not persisted; sequences of a pair must only grow.
template <typename Cell>
void StoreOwnCell(std::byte* pair, Cell cell) {
  SealCell(cell);
  StoreShared(pair + CellOffset<Cell>(cell.sequence), cell);
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_CELLS_H_

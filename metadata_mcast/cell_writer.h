// Writes cells of one kind into their slots at a peer, one work request each.
//
// Thread-safety: none. Ownership: a request points at the writer's own copy of
// the cell; it is sent inline, so the copy need only last until it was posted.
#ifndef WHALE_METADATA_MCAST_CELL_WRITER_H_
#define WHALE_METADATA_MCAST_CELL_WRITER_H_

#include <cstdint>

#include "common/check.h"
#include "fabric/fabric.h"
#include "metadata_mcast/cells.h"

namespace whale::metadata_mcast {

template <typename Cell>
class CellWriter {
 public:
  static_assert(kCellBytes <= fabric::kMaxInlineBytes);

  CellWriter() = default;
  // `slots`: the right to write them all at the peer.
  CellWriter(const fabric::Grant& slots, Epoch epoch)
      : slots_(slots), epoch_(epoch) {
    WHALE_CHECK(slots.length_bytes >= kSlots<Cell> * kCellBytes);
  }

  // Fills in epoch, sequence and checksum; an unsignaled, inline kWrite into
  // the next slot, to be posted before the next call.
  fabric::WorkRequest Write(Cell cell) {
    cell.epoch = epoch_.value();
    cell.sequence = ++sequence_;
    SealCell(cell);
    cell_ = cell;
    fabric::WorkRequest request;
    request.opcode = fabric::Opcode::kWrite;
    request.inline_data = true;
    request.local = &cell_;
    request.length_bytes = kCellBytes;
    request.remote_key = slots_.key;
    request.remote_address = slots_.address + CellOffset<Cell>(cell.sequence);
    return request;
  }
  uint64_t sequence() const { return sequence_; }

 private:
  fabric::Grant slots_;
  Epoch epoch_;
  uint64_t sequence_ = 0;
  Cell cell_{};
};

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_CELL_WRITER_H_

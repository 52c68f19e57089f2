// Writes cells of one kind into a pair at a peer, one work request each.
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
  // `pair`: the right to write both slots at the peer.
  CellWriter(const fabric::Grant& pair, Epoch epoch)
      : pair_(pair), epoch_(epoch) {
    WHALE_CHECK(pair.length_bytes >= kCellSlots * kCellBytes);
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
    request.remote_key = pair_.key;
    request.remote_address = pair_.address + CellOffset(cell.sequence);
    return request;
  }
  uint64_t sequence() const { return sequence_; }

 private:
  fabric::Grant pair_;
  Epoch epoch_;
  uint64_t sequence_ = 0;
  Cell cell_{};
};

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_CELL_WRITER_H_

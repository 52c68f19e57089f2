// Cells of the chain: as metadata_mcast/cells.h, 64 bytes each.
//
//             0      8         16        24        32           40        48 56
//             60 64
//   Chain    | epoch| sent upto| sequence| zero                            |z
//   |crc| Progress | epoch| announced| durable | applied | ring releas.|
//   sequence| 0|z |crc|
//
// All integers little-endian; `z` and `zero` are zeros; `crc` is CRC-32C over
// bytes 0 .. 59.
#ifndef WHALE_CHAIN_CELLS_H_
#define WHALE_CHAIN_CELLS_H_

#include <cstdint>

#include "metadata_mcast/cells.h"

namespace whale::chain {

// Predecessor -> successor, behind the values.
struct ChainCell {
  uint64_t epoch;
  uint64_t sent_upto;  // LSN: every value below it was written before, unless
                       // it goes by value to this successor anyway
  uint64_t sequence;   // from 1 in each epoch
  uint64_t reserved[4];
  uint32_t zero;
  uint32_t crc;
};

// Backup -> primary, one pair for each backup.
struct ProgressCell {
  uint64_t epoch;
  uint64_t announced;      // LSN
  uint64_t durable;        // LSN: all values below it are there, durably
  uint64_t applied;        // LSN
  uint64_t ring_released;  // ring entries that may be written over
  uint64_t sequence;       // from 1 in each epoch
  uint64_t reserved[1];
  uint32_t zero;
  uint32_t crc;
};

static_assert(metadata_mcast::kIsCell<ChainCell>);
static_assert(metadata_mcast::kIsCell<ProgressCell>);

}  // namespace whale::chain

#endif  // WHALE_CHAIN_CELLS_H_

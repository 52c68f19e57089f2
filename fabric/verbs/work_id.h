// What ibv_wc::wr_id holds. The kind must be in it: of a failed request the
// completion has no valid opcode.
//
//   receive: bit 63, index of the buffer
//   send:    connection's slot (15 bits) | its generation (16) | sequence (32)
#ifndef WHALE_FABRIC_VERBS_WORK_ID_H_
#define WHALE_FABRIC_VERBS_WORK_ID_H_

#include <cstdint>

namespace whale::fabric::verbs {

inline constexpr uint64_t kReceiveBit = uint64_t{1} << 63;

constexpr uint64_t ReceiveWorkId(uint32_t index) { return kReceiveBit | index; }
constexpr bool IsReceive(uint64_t work_id) {
  return (work_id & kReceiveBit) != 0;
}
constexpr uint32_t BufferOf(uint64_t work_id) {
  return static_cast<uint32_t>(work_id);
}

constexpr uint64_t SendWorkId(uint16_t slot, uint16_t generation,
                              uint32_t sequence) {
  return uint64_t{slot} << 48 | uint64_t{generation} << 32 | sequence;
}
constexpr uint16_t SlotOf(uint64_t work_id) {
  return static_cast<uint16_t>(work_id >> 48);
}
constexpr uint16_t GenerationOf(uint64_t work_id) {
  return static_cast<uint16_t>(work_id >> 32);
}
constexpr uint32_t SequenceOf(uint64_t work_id) {
  return static_cast<uint32_t>(work_id);
}

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_WORK_ID_H_

// Room for messages on their way: a ring of registered bytes, in which each
// message is written in place, lies in one piece, and is freed in order.
//
// Thread-safety: none. Ownership: borrows the bytes.
#ifndef WHALE_FABRIC_VERBS_MESSAGE_RING_H_
#define WHALE_FABRIC_VERBS_MESSAGE_RING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace whale::fabric::verbs {

class MessageRing {
 public:
  static constexpr uint32_t kBytes = 128 * 1024;

  void Reset(std::byte* base) {
    base_ = base;
    head_ = tail_ = open_ = 0;
  }

  // Room for a message; nullptr: there is none until others are freed.
  std::byte* Reserve(size_t length_bytes) {
    const uint32_t need = Rounded(length_bytes);
    const uint32_t offset = head_ % kBytes;
    const uint32_t skipped = offset + need > kBytes ? kBytes - offset : 0;
    if (head_ + skipped + need - tail_ > kBytes) return nullptr;
    open_ = head_ + skipped;
    return base_ + open_ % kBytes;
  }
  const std::byte* reserved() const { return base_ + open_ % kBytes; }
  // The message has this length after all. Returns the position at which it
  // ends, for FreeUntil.
  uint32_t Commit(size_t length_bytes) {
    head_ = open_ + Rounded(length_bytes);
    return head_;
  }
  void FreeUntil(uint32_t position) { tail_ = position; }

 private:
  static uint32_t Rounded(size_t length_bytes) {
    return static_cast<uint32_t>((std::max<size_t>(length_bytes, 1) + 63) / 64 *
                                 64);
  }

  // Positions only grow (modulo 2^32, of which kBytes is a divisor).
  std::byte* base_ = nullptr;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  uint32_t open_ = 0;
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_MESSAGE_RING_H_

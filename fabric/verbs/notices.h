// The 32 bits that every two-sided message carries as its immediate: what it
// is, and how many of the peer's messages have been taken so far, which gives
// the peer its credits back.
#ifndef WHALE_FABRIC_VERBS_NOTICES_H_
#define WHALE_FABRIC_VERBS_NOTICES_H_

#include <cstdint>

namespace whale::fabric::verbs {

enum class NoticeKind : uint32_t {
  kMessage = 0,
  kCredits = 1,       // nothing but the credits
  kFlushRequest = 2,  // FlushRange after FlushRange: persist them
  kFlushAnswer = 3,   // 4 bytes: how many flush requests are done
};

struct FlushRange {
  uint64_t key = 0;
  uint64_t address = 0;
  uint64_t length_bytes = 0;
};
static_assert(sizeof(FlushRange) == 24);

inline constexpr uint32_t kTakenMask = (uint32_t{1} << 30) - 1;

constexpr uint32_t EncodeNotice(NoticeKind kind, uint32_t taken) {
  return static_cast<uint32_t>(kind) << 30 | (taken & kTakenMask);
}
constexpr NoticeKind NoticeKindOf(uint32_t immediate) {
  return static_cast<NoticeKind>(immediate >> 30);
}
constexpr uint32_t TakenOf(uint32_t immediate) {
  return immediate & kTakenMask;
}

// --- How many may be on their way ---

// Credit notices towards a peer that polls or not: each gives half of the
// credits back, and without new messages of the peer there is no third.
inline constexpr uint32_t kNoticesAtOnce = 4;
// Flush messages of one connection that are not answered.
inline constexpr uint32_t kFlushesAtOnce = 8;
// Requests of one flush message; a longer run takes several.
inline constexpr uint32_t kRangesPerFlush = 128;
// Messages that may be posted and not yet completed by the adapter.
inline constexpr uint32_t kMessagesAtOnce = 64;
// Receive buffers of a connection beyond its peer's credits.
inline constexpr uint32_t kBuffersWithoutCredit =
    kNoticesAtOnce + 2 * kFlushesAtOnce;

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_NOTICES_H_

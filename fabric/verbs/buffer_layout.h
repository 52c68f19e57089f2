// How a connection's registered buffers are laid out.
#ifndef WHALE_FABRIC_VERBS_BUFFER_LAYOUT_H_
#define WHALE_FABRIC_VERBS_BUFFER_LAYOUT_H_

#include <cstddef>

#include "fabric/verbs/message_ring.h"
#include "fabric/verbs/notices.h"

namespace whale::fabric::verbs {

// The message ring comes first.
// What a flushing READ brings; nobody looks at it.
inline constexpr size_t kReadBackAt = MessageRing::kBytes;
inline constexpr size_t kReadBackBytes = 8;
inline constexpr size_t kFlushMessagesAt = kReadBackAt + 64;
inline constexpr size_t kFlushMessageBytes =
    kRangesPerFlush * sizeof(FlushRange);
inline constexpr size_t kConnectionBufferBytes =
    kFlushMessagesAt + kFlushesAtOnce * kFlushMessageBytes;
static_assert(kFlushMessageBytes <= 8192, "it must fit into a receive buffer");

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_BUFFER_LAYOUT_H_

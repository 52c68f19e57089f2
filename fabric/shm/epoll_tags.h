// How connection ids are made, and what epoll hands back.
#ifndef WHALE_FABRIC_SHM_EPOLL_TAGS_H_
#define WHALE_FABRIC_SHM_EPOLL_TAGS_H_

#include <cstdint>

namespace whale::fabric::shm {

// A connection id is a sequence number (from 1) above the connection's bit.
inline constexpr int kConnectionBits = 16;
inline constexpr uint64_t kConnectionBitMask =
    (uint64_t{1} << kConnectionBits) - 1;
inline constexpr uint32_t kMaxConnections = 32768;
static_assert(kMaxConnections <= kConnectionBitMask);

// Smaller than every connection id.
inline constexpr uint64_t kWakeTag = 0;
inline constexpr uint64_t kListenerTag = 1;

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_EPOLL_TAGS_H_

// The 64-bit hash of a key: XXH3 (xxHash 0.8 and later; stable across
// versions and machines). It chooses the shard, travels in metadata records
// and leads into the index, so it is part of the format.
#ifndef WHALE_COMMON_HASH_H_
#define WHALE_COMMON_HASH_H_

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

#include "common/ids.h"

namespace whale {

inline uint64_t HashKey(std::string_view key) {
  return XXH3_64bits(key.data(), key.size());
}

// The shard of a key. Uses the hash's high bits (multiply-shift); the index
// uses the low ones. REQUIRES: shard_count > 0.
inline ShardId ShardOfHash(uint64_t hash, uint32_t shard_count) {
  return ShardId(static_cast<uint16_t>(
      (static_cast<unsigned __int128>(hash) * shard_count) >> 64));
}

}  // namespace whale

#endif  // WHALE_COMMON_HASH_H_

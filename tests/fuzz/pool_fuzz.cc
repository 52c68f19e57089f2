// A pool whose metadata is anything: superblocks, shard states, segment table.
//
// A good pool is changed at places that the input names, with or without the
// page's checksum made right again. Opening it is refused with a message, or
// gives a pool whose every part can be used.
#include <cstring>
#include <vector>

#include "common/check.h"
#include "common/crc32c.h"
#include "logstore/log.h"
#include "logstore/pool_layout.h"
#include "logstore/test_memory.h"
#include "tests/fuzz/input.h"

namespace whale::logstore {
namespace {

// A superblock or state page says at bytes 12 .. 15 what the others give.
void Seal(std::byte* page) {
  constexpr size_t kChecksum = offsetof(SuperblockPage, checksum);
  static_assert(kChecksum == offsetof(StatePage, checksum));
  uint32_t crc = ExtendCrc32c(0, page, kChecksum);
  crc = ExtendCrc32c(crc, page + kChecksum + 4, kPageBytes - kChecksum - 4);
  std::memcpy(page + kChecksum, &crc, sizeof(crc));
}

void Change(fuzz::Input& input, TestMemory& memory) {
  const uint8_t how = input.Take<uint8_t>();
  const uint64_t at = input.TakeBelow(memory.bytes());
  const std::string_view bytes =
      input.TakeString().substr(0, memory.bytes() - at);
  std::memcpy(memory.base() + at, bytes.data(), bytes.size());
  if ((how & 1) != 0) Seal(memory.base() + at / kPageBytes * kPageBytes);
  if ((how & 2) != 0) {  // the same in the other copy
    const uint64_t page = at / kPageBytes;
    const uint64_t other = page ^ 1;
    if ((other + 1) * kPageBytes <= memory.bytes()) {
      std::memcpy(memory.base() + other * kPageBytes,
                  memory.base() + page * kPageBytes, kPageBytes);
    }
  }
}

void Use(Pool& pool) {
  for (uint16_t shard = 0; shard < pool.geometry().shard_count; ++shard) {
    const auto state = pool.LoadState(ShardId(shard));
    if (!state.ok()) {
      WHALE_CHECK(!state.status().message().empty());
      continue;
    }
    pool.StoreState(ShardId(shard), *state);
    const auto again = pool.LoadState(ShardId(shard));
    WHALE_CHECK(again.ok() && again->history == state->history);
    const Log log(&pool, ShardId(shard));
    for (const SegmentInfo& segment : pool.Segments(ShardId(shard))) {
      WHALE_CHECK(log.HasSegment(segment.number));
      log.Check(log.SegmentStart(segment.number), state->history);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  fuzz::Input input(data, length);
  TestPool made;
  WHALE_CHECK(made.pool->AllocateSegment(ShardId(0), 1).ok());
  WHALE_CHECK(made.pool->AllocateSegment(ShardId(1), 1).ok());
  made.pool->StoreState(ShardId(0), {.epoch = Epoch(1), .start = Lsn(4096)});
  made.pool.reset();
  for (int i = 0; i < 8 && !input.empty(); ++i) Change(input, made.memory);
  auto pool = Pool::Open(made.memory.mapping());
  if (!pool.ok()) {
    WHALE_CHECK(!pool.status().message().empty());
    return 0;
  }
  Use(**pool);
  // What was mended stays mended.
  pool->reset();
  WHALE_CHECK(Pool::Open(made.memory.mapping()).ok());
  return 0;
}

}  // namespace whale::logstore

#include "bench/floor/floor.h"

#include <gtest/gtest.h>

#include "bench/floor/primary.h"

namespace whale::bench::floor {
namespace {

// Small logs, so that they are used round and round.
FloorOptions Small() {
  FloorOptions options;
  options.operations = 5'000;
  options.warmup = 100;
  options.log_bytes = uint64_t{1} << 20;
  return options;
}

void ExpectAll(const FloorOptions& options) {
  const auto result = RunFloor(options);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto& stats = result->of(ycsb::OperationKind::kUpdate);
  EXPECT_EQ(stats.ok, options.operations);
  EXPECT_EQ(stats.latency_ns.count(), options.operations);
  EXPECT_GT(result->throughput(), 0);
}

TEST(Floor, AnswersEveryOperationAtAnyDepthAndSize) {
  for (const uint32_t depth : {1u, 3u, 32u}) {
    for (const uint64_t bytes : {1u, 100u, 2000u}) {
      FloorOptions options = Small();
      options.depth = depth;
      options.value_bytes = bytes;
      ExpectAll(options);
    }
  }
}

TEST(Floor, BackupsMayPollOrBeAbsentAndLinesBeWrittenBack) {
  for (const Backups mode : {Backups::kSleep, Backups::kPoll, Backups::kNone}) {
    FloorOptions options = Small();
    options.backup_mode = mode;
    options.write_back = true;
    ExpectAll(options);
  }
}

TEST(FloorPrimary, AValueIsInEveryLogBeforeItsAnswer) {
  FloorOptions options = Small();
  options.value_bytes = 8;
  std::vector<std::byte> memory(4096 * 16);
  Shared shared;
  Cell cells[2] = {};
  std::vector<std::vector<std::byte>> logs(
      3, std::vector<std::byte>(options.log_bytes));
  alignas(64) std::byte requests[64] = {};
  ReplySlot reply{};
  shared.cells = cells;
  shared.requests = requests;
  shared.replies = &reply;
  shared.ring_slots = 1;
  shared.slot_bytes = shared.record_bytes = 64;
  for (auto& log : logs) shared.logs.push_back(log.data());
  auto* slot = shared.request(0);
  *reinterpret_cast<uint64_t*>(slot->value()) = 0x1122334455667788;
  slot->sequence.store(1);
  Primary primary(options, &shared);
  EXPECT_TRUE(primary.Turn());
  EXPECT_FALSE(primary.Turn());
  for (const auto& log : logs) {
    EXPECT_EQ(*reinterpret_cast<const uint64_t*>(log.data()),
              0x1122334455667788u);
  }
  EXPECT_EQ(cells[0].end, 64u);
  EXPECT_EQ(cells[1].sequence.load(), 1u);
  EXPECT_EQ(reply.sequence.load(), 1u);
}

}  // namespace
}  // namespace whale::bench::floor

// For tests: memory under a pool that can lose what was not persisted.
//
// There are two copies: what the CPU sees and what would survive. Crash() makes
// of each aligned 8-byte word that was not covered by a finished persist either
// the old or the new value, at random.
#ifndef WHALE_LOGSTORE_TEST_MEMORY_H_
#define WHALE_LOGSTORE_TEST_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/prng.h"
#include "logstore/pool.h"
#include "pmem/domain.h"

namespace whale::logstore {

class TestMemory final : public pmem::PersistenceDomain {
 public:
  explicit TestMemory(uint64_t bytes)
      : bytes_((bytes + 4095) / 4096 * 4096),
        visible_(static_cast<std::byte*>(std::aligned_alloc(4096, bytes_))),
        durable_(bytes_) {
    std::memset(visible_, 0, bytes_);
  }
  ~TestMemory() override { std::free(visible_); }
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;

  std::string_view name() const override { return "test"; }
  pmem::Survives survives() const override { return pmem::Survives::kPower; }
  bool persist_is_free() const override { return false; }
  void WriteBack(const void* data, size_t length_bytes) override {
    const auto begin = static_cast<const std::byte*>(data) - visible_;
    started_.emplace_back(begin / 8 * 8, (begin + length_bytes + 7) / 8 * 8);
  }
  void Fence() override {
    if (fences_left_ == 0 && stopped_.empty()) {
      stopped_.assign(visible_, visible_ + bytes_);
    }
    if (fences_left_ > 0) --fences_left_;
    if (!stopped_.empty()) return;
    for (const auto& [begin, end] : started_) {
      std::memcpy(&durable_[begin], visible_ + begin, end - begin);
    }
    started_.clear();
  }

  // The power goes in the fence after so many more; what runs on from there
  // until Crash() never happened.
  void LosePowerAfter(int fences) { fences_left_ = fences; }
  void Crash(Prng& prng) {
    const std::byte* now = stopped_.empty() ? visible_ : stopped_.data();
    for (uint64_t at = 0; at < bytes_; at += 8) {
      if (prng.Chance(0.5)) std::memcpy(&durable_[at], now + at, 8);
    }
    std::memcpy(visible_, durable_.data(), bytes_);
    started_.clear();
    stopped_.clear();
    fences_left_ = -1;
  }

  // Only the process dies there: what it saw stays, durable or not.
  void Restart() {
    if (!stopped_.empty()) std::memcpy(visible_, stopped_.data(), bytes_);
    started_.clear();
    stopped_.clear();
    fences_left_ = -1;
  }

  std::byte* base() { return visible_; }
  uint64_t bytes() const { return bytes_; }
  Mapping mapping() {
    return {.base = visible_, .length_bytes = bytes_, .domain = this};
  }

 private:
  const uint64_t bytes_;
  std::byte* const visible_;
  std::vector<std::byte> durable_;
  std::vector<std::pair<uint64_t, uint64_t>> started_;
  int fences_left_ = -1;            // -1: no limit
  std::vector<std::byte> stopped_;  // what was visible when the power went
};

inline Geometry SmallGeometry(uint64_t segment_bytes = 4096,
                              uint32_t segment_slots = 8,
                              uint32_t shard_count = 2) {
  Geometry geometry;
  geometry.pool_uuid.fill(0x11);
  geometry.server = ServerId(7);
  geometry.shard_count = shard_count;
  geometry.segment_bytes = segment_bytes;
  geometry.segment_slots = segment_slots;
  geometry.ring_slots = 4;
  return geometry;
}

// A formatted pool in such memory.
struct TestPool {
  explicit TestPool(const Geometry& geometry = SmallGeometry())
      : memory(Pool::BytesNeeded(geometry)),
        pool(*Pool::Format(memory.mapping(), geometry)) {}
  // As after a restart.
  void Reopen() {
    pool.reset();
    pool = *Pool::Open(memory.mapping());
  }

  TestMemory memory;
  std::unique_ptr<Pool> pool;
};

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_TEST_MEMORY_H_

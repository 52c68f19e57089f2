#include "sim/sim_memory.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "common/units.h"

namespace whale::sim {

inline constexpr size_t kPageBytes = 4096;

SimMemory::SimMemory(size_t length_bytes, pmem::Survives survives)
    : length_bytes_(length_bytes),
      survives_(survives),
      memory_(new std::byte[length_bytes + kPageBytes]()) {
  WHALE_CHECK(length_bytes % kPageBytes == 0);
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  live_ = memory_.get() + (RoundUp(address, kPageBytes) - address);
  if (survives == pmem::Survives::kPower) durable_.resize(length_bytes);
}

bool SimMemory::Cover(const void* data, size_t length_bytes, size_t* begin,
                      size_t* end) const {
  if (length_bytes == 0 || !Contains(data)) return false;
  const size_t offset = static_cast<const std::byte*>(data) - live_;
  *begin = offset / 8 * 8;
  *end = std::min<size_t>(RoundUp(offset + length_bytes, 8), length_bytes_);
  return true;
}

void SimMemory::WriteBack(const void* data, size_t length_bytes) {
  if (crash_point_) crash_point_();
  size_t begin, end;
  if (durable_.empty() || !Cover(data, length_bytes, &begin, &end)) return;
  pending_.push_back({begin, end - begin, pending_bytes_.size()});
  pending_bytes_.insert(pending_bytes_.end(), live_ + begin, live_ + end);
}

void SimMemory::Fence() {
  if (crash_point_) crash_point_();
  for (const Pending& range : pending_) {
    if (!kept_.empty()) break;
    std::memcpy(durable_.data() + range.offset,
                pending_bytes_.data() + range.data, range.length);
  }
  pending_.clear();
  pending_bytes_.clear();
}

void SimMemory::MakeDurable(const void* data, size_t length_bytes) {
  size_t begin, end;
  if (durable_.empty() || !kept_.empty() ||
      !Cover(data, length_bytes, &begin, &end)) {
    return;
  }
  std::memcpy(durable_.data() + begin, live_ + begin, end - begin);
}

void SimMemory::Crash(bool power, Prng& random) {
  WHALE_CHECK(kept_.empty());
  kept_.assign(live_, live_ + length_bytes_);
  if (power) LosePower(random);
}

// Extremes are worth as much as mixtures: nothing, all, or some words.
void SimMemory::LosePower(Prng& random) {
  WHALE_CHECK(survives_ == pmem::Survives::kPower);
  const double share = std::clamp(random.NextDouble() * 2 - 0.5, 0.0, 1.0);
  for (size_t page = 0; page < length_bytes_; page += kPageBytes) {
    if (std::memcmp(&kept_[page], &durable_[page], kPageBytes) == 0) continue;
    for (size_t word = page; word < page + kPageBytes; word += 8) {
      if (std::memcmp(&kept_[word], &durable_[word], 8) == 0) continue;
      if (!random.Chance(share)) {
        std::memcpy(&kept_[word], &durable_[word], 8);
      }
    }
  }
  durable_ = kept_;
}

void SimMemory::Restart() {
  std::memcpy(live_, kept_.data(), length_bytes_);
  kept_ = {};
  pending_.clear();
  pending_bytes_.clear();
}

void SimMemory::Blank() {
  std::memset(live_, 0, length_bytes_);
  std::fill(durable_.begin(), durable_.end(), std::byte{0});
}

void SimMemory::Rot(size_t begin, size_t end, Prng& random) {
  const size_t at = begin + random.Below(end - begin);
  const auto bit = static_cast<std::byte>(1u << random.Below(8));
  live_[at] ^= bit;
  if (!durable_.empty()) durable_[at] ^= bit;
}

}  // namespace whale::sim

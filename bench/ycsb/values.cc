#include "bench/ycsb/values.h"

#include <cstring>

#include "common/prng.h"
#include "common/units.h"

namespace whale::bench::ycsb {
namespace {

constexpr uint64_t kHeaderBytes = 16;
constexpr uint64_t kStampedBytes = kHeaderBytes + 8;
constexpr uint64_t kOffsets = 64 * kKiB;

// The second word of a value: ties its stamp to its record.
uint64_t Tie(uint64_t number, uint64_t stamp) {
  return number ^ (stamp * 0x9e3779b97f4a7c15);
}

// Part of what the values mean: a later run checks those of an earlier one.
constexpr uint64_t kNoiseSeed = 0x5eed0f57a1e5;

std::string Noise(uint64_t bytes) {
  Prng prng(kNoiseSeed);
  std::string noise(RoundUp(bytes, 8), '\0');
  for (size_t i = 0; i < noise.size(); i += 8) {
    const uint64_t word = prng.Next();
    std::memcpy(noise.data() + i, &word, 8);
  }
  return noise;
}

}  // namespace

Values::Values(uint64_t value_bytes)
    : value_bytes_(value_bytes),
      value_(value_bytes, '\0'),
      noise_(
          std::make_shared<const std::string>(Noise(value_bytes + kOffsets))) {}

std::string_view Values::Body(uint64_t stamp) const {
  const uint64_t header = value_bytes_ < kStampedBytes ? 0 : kHeaderBytes;
  return std::string_view(*noise_).substr(stamp % kOffsets,
                                          value_bytes_ - header);
}

std::string_view Values::Make(uint64_t number, uint64_t stamp) {
  const std::string_view body = Body(stamp);
  if (value_bytes_ >= kStampedBytes) {
    std::memcpy(value_.data(), &stamp, 8);
    const uint64_t tie = Tie(number, stamp);
    std::memcpy(value_.data() + 8, &tie, 8);
  }
  std::memcpy(value_.data() + (value_bytes_ - body.size()), body.data(),
              body.size());
  return value_;
}

bool Values::Matches(uint64_t number, std::string_view value) const {
  if (value.size() != value_bytes_) return false;
  if (value_bytes_ < kStampedBytes) return true;
  uint64_t stamp, tie;
  std::memcpy(&stamp, value.data(), 8);
  std::memcpy(&tie, value.data() + 8, 8);
  return tie == Tie(number, stamp) && value.substr(kHeaderBytes) == Body(stamp);
}

}  // namespace whale::bench::ycsb

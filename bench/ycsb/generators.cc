#include "bench/ycsb/generators.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "common/check.h"

namespace whale::bench::ycsb {
namespace {

// YCSB's scrambled zipfian draws from this many values; the sum belongs to
// them and to theta = 0.99, and would take minutes to compute.
constexpr uint64_t kScrambledItems = 10'000'000'000;
constexpr double kScrambledZeta = 26.46902820178302;

// Terms first + 1 .. last of zeta(last, theta).
double ZetaTerms(uint64_t first, uint64_t last, double theta) {
  double sum = 0;
  for (uint64_t i = first + 1; i <= last; ++i) {
    sum += std::pow(static_cast<double>(i), -theta);
  }
  return sum;
}

}  // namespace

uint64_t FnvHash64(uint64_t value) {
  uint64_t hash = 0xCBF29CE484222325;
  for (int i = 0; i < 8; ++i) {
    hash ^= value & 0xff;
    hash *= 1099511628211;
    value >>= 8;
  }
  return static_cast<int64_t>(hash) < 0 ? 0 - hash : hash;
}

std::string_view KeyName(uint64_t number, KeyBuffer* buffer) {
  constexpr std::string_view kPrefix = "user";
  kPrefix.copy(buffer->data(), kPrefix.size());
  char* const digits = buffer->data() + kPrefix.size();
  const std::to_chars_result end =
      std::to_chars(digits, buffer->data() + buffer->size(), FnvHash64(number));
  return {buffer->data(), static_cast<size_t>(end.ptr - buffer->data())};
}

std::string KeyName(uint64_t number) {
  KeyBuffer buffer;
  return std::string(KeyName(number, &buffer));
}

Zipfian::Zipfian(uint64_t items, double theta)
    : Zipfian(items, theta, ZetaTerms(0, items, theta)) {}

Zipfian::Zipfian(uint64_t items, double theta, double zeta)
    : items_(items),
      theta_(theta),
      zeta_items_(zeta),
      zeta_two_(ZetaTerms(0, 2, theta)) {
  WHALE_CHECK(items > 0 && theta > 0 && theta < 1);
  Derive();
}

void Zipfian::Derive() {
  alpha_ = 1 / (1 - theta_);
  second_ = 1 + std::pow(0.5, theta_);
  eta_ = (1 - std::pow(2.0 / static_cast<double>(items_), 1 - theta_)) /
         (1 - zeta_two_ / zeta_items_);
}

uint64_t Zipfian::Next(Prng& prng) const {
  const double u = prng.NextDouble();
  const double uz = u * zeta_items_;
  if (uz < 1 || items_ == 1) return 0;
  if (uz < second_ || items_ == 2) return 1;
  const double position =
      static_cast<double>(items_) * std::pow(eta_ * u - eta_ + 1, alpha_);
  return std::min(static_cast<uint64_t>(position), items_ - 1);
}

void Zipfian::Grow(uint64_t items) {
  WHALE_CHECK(items >= items_);
  if (items == items_) return;
  zeta_items_ += ZetaTerms(items_, items, theta_);
  items_ = items;
  Derive();
}

ScrambledZipfian::ScrambledZipfian(uint64_t items)
    : items_(items),
      zipfian_(kScrambledItems, kZipfianConstant, kScrambledZeta) {
  WHALE_CHECK(items > 0);
}

uint64_t ScrambledZipfian::Next(Prng& prng) const {
  return FnvHash64(zipfian_.Next(prng)) % items_;
}

uint64_t Latest::Next(Prng& prng, uint64_t items) {
  zipfian_.Grow(items);
  return items - 1 - zipfian_.Next(prng);
}

}  // namespace whale::bench::ycsb

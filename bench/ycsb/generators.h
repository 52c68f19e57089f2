// YCSB's choosers of keys: uniform, zipfian, scrambled zipfian and latest.
//
// Distributions and constants are those of YCSB's core workload (Cooper et
// al., SoCC 2010), so that results can be compared; the zipfian algorithm is
// that of Gray et al., "Quickly Generating Billion-Record Synthetic
// Databases", SIGMOD 1994. A choice is a record number from 0; KeyName turns
// it into a key.
//
// Thread-safety: none; copy one per thread. The random source is the caller's.
#ifndef WHALE_BENCH_YCSB_GENERATORS_H_
#define WHALE_BENCH_YCSB_GENERATORS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/prng.h"

namespace whale::bench::ycsb {

inline constexpr double kZipfianConstant = 0.99;

// 64-bit FNV-1a over the eight bytes of `value`, low byte first; the absolute
// value of the result taken as signed, as YCSB does.
uint64_t FnvHash64(uint64_t value);

// The key of record `number`: "user" and the hash of the number in decimal, so
// that records in a row lie anywhere (YCSB's insertorder=hashed).
std::string KeyName(uint64_t number);

// The same without allocating; `buffer` holds the text.
using KeyBuffer = std::array<char, 24>;
std::string_view KeyName(uint64_t number, KeyBuffer* buffer);

// Values 0 .. items - 1, the smaller the likelier.
class Zipfian {
 public:
  // Sums `items` terms once: about 20 ms per million.
  explicit Zipfian(uint64_t items, double theta = kZipfianConstant);
  // The same with a known sum, zeta(items, theta).
  Zipfian(uint64_t items, double theta, double zeta);

  uint64_t items() const { return items_; }
  uint64_t Next(Prng& prng) const;
  // Continues the sum up to `items`. REQUIRES: not fewer than now.
  void Grow(uint64_t items);

 private:
  void Derive();

  uint64_t items_;
  double theta_;
  double zeta_items_;
  double zeta_two_;
  double alpha_ = 0;
  double eta_ = 0;
  double second_ = 0;  // share of the first two values, times zeta
};

// Zipfian over a fixed, huge number of values, spread by hash over 0 ..
// items - 1: popular records lie anywhere, and popularity does not depend on
// the number of records.
class ScrambledZipfian {
 public:
  explicit ScrambledZipfian(uint64_t items);
  uint64_t Next(Prng& prng) const;

 private:
  uint64_t items_;
  Zipfian zipfian_;
};

// The most recent records are the most popular.
class Latest {
 public:
  // REQUIRES: items > 0.
  explicit Latest(uint64_t items) : zipfian_(items) {}
  // `items`: how many there are now; never fewer than before.
  uint64_t Next(Prng& prng, uint64_t items);

 private:
  Zipfian zipfian_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_GENERATORS_H_

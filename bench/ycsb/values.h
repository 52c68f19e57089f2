// Values that tell by themselves whether they are whole.
//
// A value is a stamp (8 bytes), a mix of stamp and record number (8 bytes) and
// a stretch of fixed pseudo-random bytes chosen by the stamp. A reader that
// knows the record can so check every byte, whoever wrote it, in this run or an
// earlier one. Values below 24 bytes carry no stamp and are compared by length
// only.
//
// Thread-safety: Matches may be called from any thread; Make from one.
#ifndef WHALE_BENCH_YCSB_VALUES_H_
#define WHALE_BENCH_YCSB_VALUES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace whale::bench::ycsb {

class Values {
 public:
  explicit Values(uint64_t value_bytes);

  uint64_t value_bytes() const { return value_bytes_; }
  // Valid until the next call. Different stamps give different values.
  std::string_view Make(uint64_t number, uint64_t stamp);
  // Whether `value` is one that Make gives for `number`, with any stamp.
  bool Matches(uint64_t number, std::string_view value) const;

 private:
  std::string_view Body(uint64_t stamp) const;

  uint64_t value_bytes_;
  std::string value_;
  std::shared_ptr<const std::string> noise_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_VALUES_H_

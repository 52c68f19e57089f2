// Strong types for the numbers that cross every boundary of Whale.
//
// An LSN must never be mixed up with an epoch or a server id, so each is its
// own type without implicit conversions. `.value()` gives the raw number for
// formats and messages.
//
// Thread-safety: plain values.
#ifndef WHALE_COMMON_IDS_H_
#define WHALE_COMMON_IDS_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace whale {

template <typename Tag, typename T>
class StrongInt {
 public:
  using ValueType = T;
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(T value) : value_(value) {}
  constexpr T value() const { return value_; }
  constexpr auto operator<=>(const StrongInt&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const StrongInt& id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  T value_ = 0;
};

// Position of a shard's hash range; 0 .. shard count - 1.
using ShardId = StrongInt<struct ShardIdTag, uint16_t>;
// A server, as the operator numbers it; 0 means "none".
using ServerId = StrongInt<struct ServerIdTag, uint32_t>;
// One life of a server process. A restarted server has a new one.
using Incarnation = StrongInt<struct IncarnationTag, uint64_t>;
// Number of a configuration; epochs of a shard only grow. 0 means "none".
using Epoch = StrongInt<struct EpochTag, uint64_t>;
// A client's session; issued once by the coordinator, never reused. 0: none.
using SessionId = StrongInt<struct SessionIdTag, uint64_t>;
// Number of a request within (session, shard); the first is 1.
using RequestNumber = StrongInt<struct RequestNumberTag, uint64_t>;

// Byte position in a shard's log. Never reset; multiples of 16.
class Lsn {
 public:
  constexpr Lsn() = default;
  constexpr explicit Lsn(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr auto operator<=>(const Lsn&) const = default;
  constexpr Lsn operator+(uint64_t bytes) const { return Lsn(value_ + bytes); }
  constexpr Lsn& operator+=(uint64_t bytes) {
    value_ += bytes;
    return *this;
  }
  // REQUIRES: *this >= other.
  constexpr uint64_t operator-(Lsn other) const {
    return value_ - other.value_;
  }

 private:
  uint64_t value_ = 0;
};

// Larger than every LSN of a record; used for "no bound".
inline constexpr Lsn kMaxLsn{UINT64_MAX};

}  // namespace whale

#endif  // WHALE_COMMON_IDS_H_

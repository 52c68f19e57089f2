// The bytes that a fuzzer gives, taken from the front; zeros once they end.
//
// Values of fixed width in the machine's order, so that seeds are written as
// plainly as they are read (tests/fuzz/seeds.cc).
#ifndef WHALE_TESTS_FUZZ_INPUT_H_
#define WHALE_TESTS_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace whale::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t length_bytes)
      : rest_(reinterpret_cast<const char*>(data), length_bytes) {}

  bool empty() const { return rest_.empty(); }
  template <typename T>
  T Take() {
    T value{};
    const std::string_view bytes = TakeUpTo(sizeof(value));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // In [0, bound). REQUIRES: bound > 0.
  uint64_t TakeBelow(uint64_t bound) { return Take<uint32_t>() % bound; }
  // Two bytes of length, then so many bytes or what is left.
  std::string_view TakeString() { return TakeUpTo(Take<uint16_t>()); }

 private:
  std::string_view TakeUpTo(size_t length_bytes) {
    const std::string_view taken =
        rest_.substr(0, std::min(length_bytes, rest_.size()));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view rest_;
};

}  // namespace whale::fuzz

#endif  // WHALE_TESTS_FUZZ_INPUT_H_

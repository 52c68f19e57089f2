#include "common/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "common/prng.h"

namespace whale {
namespace {

uint32_t Crc(std::string_view text) {
  return ExtendCrc32c(0, text.data(), text.size());
}

std::vector<uint8_t> RandomBytes(Prng& prng, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(prng.Next());
  return bytes;
}

// RFC 3720, B.4, and the check value of the CRC catalogues.
TEST(Crc32cTest, KnownValues) {
  EXPECT_EQ(Crc(""), 0u);
  EXPECT_EQ(Crc("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending(32, '\0'), descending(32, '\0');
  for (int i = 0; i < 32; ++i) {
    ascending[i] = static_cast<char>(i);
    descending[i] = static_cast<char>(31 - i);
  }
  EXPECT_EQ(Crc(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc(descending), 0x113fdb5cu);
}

TEST(Crc32cTest, ProcessorAgreesWithTable) {
  Prng prng(1);
  const auto bytes = RandomBytes(prng, 5000);
  for (size_t length = 0; length < 300; ++length) {
    const size_t at = prng.Below(16);
    const auto start = static_cast<uint32_t>(prng.Next());
    ASSERT_EQ(ExtendCrc32c(start, &bytes[at], length),
              ExtendCrc32cPortable(start, &bytes[at], length))
        << length;
  }
}

TEST(Crc32cTest, CallsCanBeChained) {
  Prng prng(2);
  const auto bytes = RandomBytes(prng, 1000);
  const uint32_t whole = ExtendCrc32c(0, bytes.data(), bytes.size());
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    ASSERT_EQ(ExtendCrc32c(ExtendCrc32c(0, bytes.data(), cut),
                           bytes.data() + cut, bytes.size() - cut),
              whole);
  }
}

TEST(Crc32cTest, CopyingGivesCopyAndChecksum) {
  Prng prng(3);
  const auto bytes = RandomBytes(prng, 400);
  for (size_t length = 0; length < 300; ++length) {
    const size_t from = prng.Below(16), to = prng.Below(16);
    std::array<uint8_t, 400> copy{};
    const uint32_t crc =
        CopyAndExtendCrc32c(77, &copy[to], &bytes[from], length);
    ASSERT_EQ(crc, ExtendCrc32c(77, &bytes[from], length));
    ASSERT_EQ(std::memcmp(&copy[to], &bytes[from], length), 0);
    ASSERT_EQ(copy[to + length], 0) << "wrote behind its end";
    ASSERT_EQ(to == 0 ? 0 : copy[to - 1], 0);
  }
}

TEST(Crc32cTest, EveryFlippedBitChangesIt) {
  Prng prng(4);
  auto bytes = RandomBytes(prng, 100);
  const uint32_t whole = ExtendCrc32c(0, bytes.data(), bytes.size());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    ASSERT_NE(ExtendCrc32c(0, bytes.data(), bytes.size()), whole);
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

}  // namespace
}  // namespace whale

#include "tools/value_parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace whale::tools {
namespace {

TEST(ParseBytes, UnderstandsUnits) {
  EXPECT_EQ(*ParseBytes("0"), 0u);
  EXPECT_EQ(*ParseBytes("4096"), 4096u);
  EXPECT_EQ(*ParseBytes("12B"), 12u);
  EXPECT_EQ(*ParseBytes("64KiB"), 65536u);
  EXPECT_EQ(*ParseBytes("64k"), 65536u);
  EXPECT_EQ(*ParseBytes("1 MiB"), 1u << 20);
  EXPECT_EQ(*ParseBytes("1GiB"), 1u << 30);
  EXPECT_EQ(*ParseBytes("2MB"), 2'000'000u);
  EXPECT_EQ(*ParseBytes("3T"), 3ull << 40);
}

TEST(ParseBytes, RefusesWhatItCannotMean) {
  for (const char* text : {"", "MiB", "-1", "1.5G", "1X", "1KiBs", "1 2",
                           "99999999999999999999", "16777216T"}) {
    EXPECT_EQ(ParseBytes(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(FormatBytes, IsReadBackAsTheSame) {
  for (const uint64_t bytes : {0ull, 1ull, 1023ull, 1024ull, 1ull << 20,
                               (1ull << 30) + 1, 3ull << 40, ~0ull}) {
    EXPECT_EQ(*ParseBytes(FormatBytes(bytes)), bytes) << FormatBytes(bytes);
  }
  EXPECT_EQ(FormatBytes(64 << 20), "64MiB");
}

TEST(ParseDuration, UnderstandsUnitsAndRefusesOthers) {
  EXPECT_EQ(*ParseDuration("250ms"), absl::Milliseconds(250));
  EXPECT_EQ(*ParseDuration("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*ParseDuration("0"), absl::ZeroDuration());
  for (const char* text : {"", "5", "-1s", "inf", "2 weeks"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(ParseCount, KeepsToItsRange) {
  EXPECT_EQ(*ParseCount("1", 1, 15), 1u);
  EXPECT_EQ(*ParseCount("15", 1, 15), 15u);
  for (const char* text : {"0", "16", "-1", "", "x", "1.0", "1k"}) {
    EXPECT_FALSE(ParseCount(text, 1, 15).ok()) << text;
  }
  EXPECT_THAT(std::string(ParseCount("16", 1, 15).status().message()),
              testing::HasSubstr("from 1 to 15"));
}

TEST(ParseBoolAndList, Work) {
  EXPECT_TRUE(*ParseBool("Yes"));
  EXPECT_FALSE(*ParseBool("0"));
  EXPECT_FALSE(ParseBool("maybe").ok());
  EXPECT_THAT(ParseList(" a:1, b:2,,"), testing::ElementsAre("a:1", "b:2"));
  EXPECT_TRUE(ParseList("").empty());
}

}  // namespace
}  // namespace whale::tools

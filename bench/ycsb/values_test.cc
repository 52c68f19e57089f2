#include "bench/ycsb/values.h"

#include <gtest/gtest.h>

namespace whale::bench::ycsb {
namespace {

TEST(Values, AreRecognisedByAnotherRun) {
  Values writer(1000), reader(1000);
  EXPECT_TRUE(reader.Matches(7, writer.Make(7, 123456789)));
  EXPECT_TRUE(reader.Matches(7, writer.Make(7, 1)));
  EXPECT_FALSE(reader.Matches(8, writer.Make(7, 1)));
  const std::string first(writer.Make(7, 1));
  EXPECT_NE(first, writer.Make(7, 2));
}

TEST(Values, EveryChangedByteIsSeen) {
  Values values(200);
  std::string value(values.Make(3, 77));
  for (size_t i = 0; i < value.size(); ++i) {
    value[i] ^= 1;
    EXPECT_FALSE(values.Matches(3, value)) << i;
    value[i] ^= 1;
  }
  EXPECT_TRUE(values.Matches(3, value));
}

TEST(Values, TornBetweenTwoWritesIsSeen) {
  Values values(1000);
  const std::string a(values.Make(3, 1)), b(values.Make(3, 2));
  for (size_t i = 8; i < a.size(); i += 16) {
    EXPECT_FALSE(values.Matches(3, a.substr(0, i) + b.substr(i))) << i;
  }
}

TEST(Values, AnySizeWorks) {
  for (const uint64_t bytes : {0, 1, 15, 16, 23, 24, 25, 4 << 20}) {
    Values values(bytes);
    EXPECT_EQ(values.Make(5, 9).size(), bytes);
    EXPECT_TRUE(values.Matches(5, values.Make(5, 9)));
    EXPECT_FALSE(values.Matches(5, std::string(bytes + 1, 'x')));
  }
}

}  // namespace
}  // namespace whale::bench::ycsb

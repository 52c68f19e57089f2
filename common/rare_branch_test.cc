#include "common/rare_branch.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace whale {
namespace {

void Work(bool rare) {
  if (rare) RareBranch<"test: taken">();
  if (rare && !rare) RareBranch<"test: never taken">();
}

TEST(RareBranch, ListsEveryMarkWithItsHits) {
  Work(true);
  Work(true);
  Work(false);
  std::map<std::string, uint64_t> marks;
  RareBranchMark::ForEach([&marks](std::string_view name, uint64_t hits) {
    marks[std::string(name)] = hits;
  });
  const std::map<std::string, uint64_t> expected = {{"test: taken", 2},
                                                    {"test: never taken", 0}};
  EXPECT_EQ(marks, expected);
}

}  // namespace
}  // namespace whale

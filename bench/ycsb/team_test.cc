#include "bench/ycsb/team.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace whale::bench::ycsb {
namespace {

using Report = std::function<bool(const Progress&)>;
using Start = std::function<int64_t()>;

bool GoOn(const Progress&) { return true; }

TEST(Team, ResultsOfAllProcessesAreSummed) {
  const auto team =
      Team::Fork(3, [](uint32_t process, Phase phase, const std::string& target,
                       const Report& report, const Start& start) {
        PhaseResult result;
        result.phase = phase;
        const int64_t start_ns = start();
        report({.phase = phase, .operations = 1});
        result.elapsed_ns = process;
        result.operations = target == "there" && start_ns > 0 ? 10 : 0;
        result.series.resize(process + 1);
        result.series[process].Record(process);
        return result;
      });
  ASSERT_TRUE(team.ok()) << team.status();
  for (const Phase phase : {Phase::kLoad, Phase::kRun}) {
    const auto result = (*team)->Run(phase, "there", 30, GoOn);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->phase, phase);
    EXPECT_EQ(result->operations, 30u);
    EXPECT_EQ(result->elapsed_ns, 2);
    EXPECT_EQ(result->series.size(), 3u);
  }
}

TEST(Team, AProcessThatFailsOrDiesEndsThePhase) {
  const auto fail = [](uint32_t process, Phase, const std::string& target,
                       const Report&,
                       const Start& start) -> absl::StatusOr<PhaseResult> {
    if (process == 1 && target == "die") _exit(1);
    if (process == 1) return absl::UnavailableError("no\nserver");
    start();
    return PhaseResult{};
  };
  auto team = Team::Fork(2, fail);
  ASSERT_TRUE(team.ok());
  EXPECT_THAT(
      std::string((*team)->Run(Phase::kRun, "", 1, GoOn).status().message()),
      testing::HasSubstr("no server"));
  team = Team::Fork(2, fail);
  ASSERT_TRUE(team.ok());
  EXPECT_THAT(
      std::string((*team)->Run(Phase::kRun, "die", 1, GoOn).status().message()),
      testing::HasSubstr("died"));
}

}  // namespace
}  // namespace whale::bench::ycsb

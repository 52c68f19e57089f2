// Several client processes at all replicas, with asynchronous, overlapping
// operations on few keys: what they were told must be linearizable.
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/load.h"

namespace whale::process_test {
namespace {

constexpr int kLoadTimeoutMs = 120'000;

// Policies by what a value's way is: by value to all, to one mirror and then
// along the chain, along the chain only.
struct Case {
  const char* name;
  std::vector<std::string> dev_arguments;
};

class LinearizabilityTest : public testing::TestWithParam<Case> {};

TEST_P(LinearizabilityTest, OverlappingOperationsOfSeveralClients) {
  Cluster cluster(GetParam().dev_arguments);
  ASSERT_NO_FATAL_FAILURE(cluster.Start());
  Load load(&cluster, {.seed = 7, .clients = 4, .operations = 3000});
  ASSERT_NO_FATAL_FAILURE(load.Finish(kLoadTimeoutMs));
  ASSERT_NO_FATAL_FAILURE(load.FinalReads());
  load.Check();
  EXPECT_EQ(cluster.Stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Policies, LinearizabilityTest,
    testing::Values(Case{"OneMirror", {}},
                    Case{"ChainOnly",
                         {"--mirrors", "0", "--by-value-max-bytes", "0"}},
                    Case{"Star", {"--mirrors", "2"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace whale::process_test

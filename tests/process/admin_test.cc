// Servers come and go, are drained and replaced, shards move and the policy
// changes, by `whale admin` while clients write and read: nothing that was
// acknowledged is lost, histories stay linearizable.
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/load.h"

namespace whale::process_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kEndless = 1'000'000;
constexpr int kTimeoutMs = 120'000;
constexpr uint64_t kProgressBytes = 20'000;

class Admin : public ::testing::Test {
 protected:
  Admin() : cluster_({"--lease", "500ms", "--shards", "4"}) {}

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(cluster_.Start());
    load_ =
        std::make_unique<Load>(&cluster_, LoadOptions{.seed = 21,
                                                      .clients = 2,
                                                      .operations = kEndless,
                                                      .timeout_ms = 5000,
                                                      .rate = 500});
    AwaitProgress();
  }
  void AwaitProgress() {
    const uint64_t target = load_->HistoryBytes() + kProgressBytes;
    EXPECT_TRUE(
        WaitFor([&] { return load_->HistoryBytes() >= target; }, kTimeoutMs))
        << cluster_.Whale({"status"}).output;
  }
  // The request is carried out, and the load goes on.
  void Done(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "admin");
    arguments.insert(arguments.end(), {"--wait", "--interval", "50ms"});
    const CommandResult result = cluster_.Whale(arguments, kTimeoutMs);
    EXPECT_EQ(result.exit_code, 0)
        << result.output << cluster_.Whale({"status"}).output;
    EXPECT_THAT(result.output, HasSubstr("done"));
    AwaitProgress();
  }
  void Refused(std::vector<std::string> arguments, const std::string& why) {
    arguments.insert(arguments.begin(), "admin");
    const CommandResult result = cluster_.Whale(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.output, HasSubstr(why));
  }
  std::string Status() { return cluster_.Whale({"status"}).output; }

  Cluster cluster_;
  std::unique_ptr<Load> load_;
};

TEST_F(Admin, ChangesTheClusterUnderLoad) {
  Refused({"remove-server", "1"}, "keeps 3 replicas of each shard");
  Refused({"drain", "9"}, "server 9 is not in this cluster");
  Refused({"move-shard", "0", "1", "9"}, "server 9 is not in this cluster");
  Refused({"set-policy", "--mirrors", "3"}, "it must be less than 3");
  Refused({"set-policy", "--mirrors", "2", "--shards", "0", "--if-epoch", "77"},
          "the request is for epoch 77");

  Refused({"declare-lost", "9"}, "there is no shard 9");
  const CommandResult lost =
      cluster_.Whale({"admin", "declare-lost", "0", "--confirm"});
  EXPECT_EQ(lost.exit_code, 0);
  EXPECT_THAT(lost.output, HasSubstr("shard 0 lacks no values"));

  ASSERT_EQ(cluster_.Whale({"admin", "add-server", "4"}).exit_code, 0);
  const auto fourth = cluster_.StartServer(4);
  Done({"add-server", "4"});
  Done({"drain", "2"});
  EXPECT_THAT(Status(), HasSubstr("drained: server 2"));
  Done({"add-server", "2"});

  const CommandResult policy =
      cluster_.Whale({"admin", "set-policy", "--mirrors", "2",
                      "--copy-bytes-per-second", "16MiB"});
  EXPECT_EQ(policy.exit_code, 0) << policy.output;
  AwaitProgress();

  const auto fifth = cluster_.StartServer(5);  // ends: it is not added yet
  EXPECT_TRUE(fifth->WaitExit(kTimeoutMs));
  ASSERT_EQ(cluster_.Whale({"admin", "replace-server", "4", "5"}).exit_code, 0);
  const auto fifth_again = cluster_.StartServer(5);
  Done({"replace-server", "4", "5"});
  EXPECT_TRUE(fourth->WaitExit(kTimeoutMs)) << "it was not told to go";

  Done({"remove-server", "5"});
  EXPECT_TRUE(fifth_again->WaitExit(kTimeoutMs));
  EXPECT_THAT(Status(), Not(HasSubstr("being removed")));

  ASSERT_NO_FATAL_FAILURE(load_->Stop());
  ASSERT_NO_FATAL_FAILURE(load_->Finish(kTimeoutMs));
  ASSERT_NO_FATAL_FAILURE(load_->FinalReads());
  load_->Check();
  EXPECT_EQ(cluster_.Stop(), 0);
}

}  // namespace
}  // namespace whale::process_test

// Real input: this machine's list of packages, each paragraph under its
// package's name. Loaded with `whale load`, read back from every replica, and
// compared with what the file says; and again after kill -9 of everything.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/process/cluster_fixture.h"

namespace whale::process_test {
namespace {

constexpr char kStatusFile[] = "/var/lib/dpkg/status";
constexpr int kCommandTimeoutMs = 120'000;

using Records = std::map<std::string, std::string>;

// Paragraphs are separated by empty lines. A package that is there for several
// architectures comes several times; later ones get the architecture's name.
Records ParseStatusFile(const std::string& text) {
  Records records;
  const std::vector<std::string> paragraphs = absl::StrSplit(text, "\n\n");
  for (const std::string& paragraph : paragraphs) {
    std::string name, architecture;
    const std::vector<std::string> lines = absl::StrSplit(paragraph, '\n');
    for (const std::string& line : lines) {
      const std::pair<std::string, std::string> field =
          absl::StrSplit(line, absl::MaxSplits(": ", 1));
      if (field.first == "Package" && name.empty()) name = field.second;
      if (field.first == "Architecture" && architecture.empty())
        architecture = field.second;
    }
    if (name.empty()) continue;
    const std::string key =
        records.contains(name) ? absl::StrCat(name, ":", architecture) : name;
    records[key] =
        absl::StrCat(paragraph, paragraph.ends_with('\n') ? "" : "\n");
  }
  return records;
}

class RealInputTest : public testing::Test {
 protected:
  void ExpectAtEveryReplica(const Records& expected) {
    const std::unique_ptr<Client> client = cluster_.Connect();
    ASSERT_NE(client, nullptr);
    for (uint32_t replica = 1; replica <= kReplicas; ++replica) {
      ReadOptions options;
      options.replica = replica;
      for (const auto& [key, value] : expected) {
        const absl::StatusOr<ReadResult> found = client->Get(key, options);
        ASSERT_TRUE(found.ok())
            << key << " at replica " << replica << ": " << found.status();
        ASSERT_EQ(found->value, value) << key << " at replica " << replica;
      }
    }
  }

  Cluster cluster_;
};

TEST_F(RealInputTest, PackagesAreTheSameAtEveryReplicaAndAfterACrash) {
  const std::string text = ReadFile(kStatusFile);
  if (text.empty()) GTEST_SKIP() << "no " << kStatusFile << " on this host";
  const Records expected = ParseStatusFile(text);
  // Values on both sides of the bound for delivery by value.
  size_t large = 0;
  for (const auto& [key, value] : expected) large += value.size() > 4096;
  EXPECT_GT(large, 0u);
  EXPECT_LT(large, expected.size());

  ASSERT_NO_FATAL_FAILURE(cluster_.Start());
  const CommandResult load = cluster_.Whale(
      {"load", "--format", "dpkg", kStatusFile}, kCommandTimeoutMs);
  ASSERT_EQ(load.exit_code, 0) << load.output;
  ASSERT_NO_FATAL_FAILURE(ExpectAtEveryReplica(expected));

  cluster_.KillAll();
  ASSERT_NO_FATAL_FAILURE(cluster_.Start());
  ASSERT_NO_FATAL_FAILURE(ExpectAtEveryReplica(expected));
  EXPECT_EQ(cluster_.Stop(), 0);
}

}  // namespace
}  // namespace whale::process_test

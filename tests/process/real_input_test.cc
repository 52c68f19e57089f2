// Real input: this machine's list of packages, each paragraph under its
// package's name. Loaded with `whale load`, dumped from every replica, and
// compared with what the file says; and again after kill -9 of everything.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
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
    for (int replica = 1; replica <= 3; ++replica) {
      const std::string path =
          absl::StrCat(cluster_.folder(), "/dump.", replica, ".json");
      const CommandResult dump =
          cluster_.Whale({"dump", path, "--replica", absl::StrCat(replica)},
                         kCommandTimeoutMs);
      ASSERT_EQ(dump.exit_code, 0) << dump.output;
      Records found;
      std::ifstream file(path);
      std::string line;
      while (std::getline(file, line)) {
        const auto record = nlohmann::json::parse(line);
        found[record.at("key")] = record.at("value");
      }
      found.erase("cluster-fixture");
      EXPECT_EQ(found.size(), expected.size());
      for (const auto& [key, value] : expected) {
        EXPECT_EQ(found[key], value) << key << " at replica " << replica;
      }
      std::filesystem::remove(path);
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

#include "tools/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tools/nearest.h"

namespace whale::tools {
namespace {

using testing::HasSubstr;

// One command's flags, as `whale serve` might have them.
class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    options_.AddBytes("pool-bytes", &pool_bytes_, "size");
    options_.AddDuration("lease", &lease_, "time");
    options_.AddCount("id", &id_, "number", 1, 100);
    options_.AddFlag("json", &json_, "as JSON");
    options_.AddString("dir", &dir_, "where");
    options_.AddList("cluster", &cluster_, "who");
    options_.AddArgument("KEY", &key_, "the key", /*required=*/false);
  }

  absl::Status Resolve(std::vector<std::string> arguments,
                       const std::string& toml = "") {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app_.parse(arguments);
    auto file = ConfigFile::Parse(toml, "test.toml");
    if (!file.ok()) return file.status();
    return options_.Resolve(
        *file, [this](const std::string& name) -> std::optional<std::string> {
          const auto it = environment_.find(name);
          if (it == environment_.end()) return std::nullopt;
          return it->second;
        });
  }

  uint64_t pool_bytes_ = 1 << 30;
  absl::Duration lease_ = absl::Seconds(2);
  uint32_t id_ = 1;
  bool json_ = false;
  std::string dir_;
  std::string key_;
  std::vector<std::string> cluster_ = {"127.0.0.1:7400"};
  std::map<std::string, std::string> environment_;
  CLI::App app_;
  Options options_{&app_, "serve"};
};

TEST_F(OptionsTest, DefaultsStayWhenNothingIsSaid) {
  ASSERT_TRUE(Resolve({}).ok());
  EXPECT_EQ(pool_bytes_, 1u << 30);
  EXPECT_EQ(lease_, absl::Seconds(2));
  EXPECT_FALSE(json_);
  EXPECT_FALSE(options_.Given("pool-bytes"));
}

TEST_F(OptionsTest, CommandLineBeforeEnvironmentBeforeFileBeforeDefault) {
  const std::string toml = "id = 3\nlease = '3s'\npool-bytes = 3000\n";
  environment_ = {{"WHALE_ID", "2"}, {"WHALE_LEASE", "2s"}};
  ASSERT_TRUE(Resolve({"--id", "1"}, toml).ok());
  EXPECT_EQ(id_, 1u);
  EXPECT_EQ(lease_, absl::Seconds(2));
  EXPECT_EQ(pool_bytes_, 3000u);
  EXPECT_EQ(dir_, "");
  EXPECT_TRUE(options_.Given("id"));
  EXPECT_TRUE(options_.Given("lease"));
  EXPECT_TRUE(options_.Given("pool-bytes"));
  EXPECT_FALSE(options_.Given("dir"));
}

TEST_F(OptionsTest, ACommandsTableWinsOverTheTopOfTheFile) {
  ASSERT_TRUE(Resolve({},
                      "id = 3\ndir = 'top'\n[serve]\nid = 4\n"
                      "[get]\ndir = 'other'\n")
                  .ok());
  EXPECT_EQ(id_, 4u);
  EXPECT_EQ(dir_, "top");
}

TEST_F(OptionsTest, FlagsTakeNoOrExplicitValues) {
  environment_ = {{"WHALE_JSON", "true"}};
  ASSERT_TRUE(Resolve({"--json=false"}).ok());
  EXPECT_FALSE(json_);
  app_.clear();
  ASSERT_TRUE(Resolve({"--json"}).ok());
  EXPECT_TRUE(json_);
  app_.clear();
  environment_ = {};
  ASSERT_TRUE(Resolve({}, "json = true").ok());
  EXPECT_TRUE(json_);
}

TEST_F(OptionsTest, ListsComeWithCommasOrAsTomlLists) {
  ASSERT_TRUE(Resolve({"--cluster", "a:1,b:2"}).ok());
  EXPECT_THAT(cluster_, testing::ElementsAre("a:1", "b:2"));
  app_.clear();
  ASSERT_TRUE(Resolve({}, "cluster = ['c:3', 'd:4']").ok());
  EXPECT_THAT(cluster_, testing::ElementsAre("c:3", "d:4"));
}

TEST_F(OptionsTest, ErrorsNameThePlace) {
  EXPECT_THAT(std::string(Resolve({"--pool-bytes", "much"}).message()),
              HasSubstr("--pool-bytes: \"much\" is not a size"));
  app_.clear();
  environment_ = {{"WHALE_LEASE", "soon"}};
  EXPECT_THAT(std::string(Resolve({}).message()),
              HasSubstr("environment variable WHALE_LEASE"));
  environment_ = {};
  app_.clear();
  EXPECT_THAT(std::string(Resolve({}, "\nid = 101").message()),
              HasSubstr("test.toml:2: id"));
}

TEST_F(OptionsTest, ASingleDashIsAnArgument) {
  ASSERT_TRUE(Resolve({"--id", "2", "-"}).ok());
  EXPECT_EQ(key_, "-");
}

KnownFlags Known() {
  return {{"serve", {"pool-bytes", "id"}}, {"bench.ycsb", {"records"}}};
}

std::string CheckError(const std::string& toml) {
  const auto file = ConfigFile::Parse(toml, "w.toml");
  if (!file.ok()) return std::string(file.status().message());
  return std::string(file->CheckKeys(Known()).message());
}

TEST(ConfigFile, UnknownKeysNameTheNearestKnownOne) {
  EXPECT_THAT(CheckError("id = 1\npool-byte = 5\n"),
              HasSubstr("w.toml:2: unknown key \"pool-byte\"; the nearest "
                        "known one is \"pool-bytes\""));
  EXPECT_THAT(CheckError("[serve]\nrecords = 5\n"),
              HasSubstr("unknown key \"records\" in [serve]"));
  EXPECT_THAT(CheckError("[serv]\nid = 5\n"), HasSubstr("[serve]"));
}

TEST(ConfigFile, KnownKeysPassWhereverTheyStand) {
  EXPECT_EQ(CheckError("id = 1\nrecords = 2\n[serve]\npool_bytes = '1MiB'\n"
                       "[bench.ycsb]\nrecords = 5\n"),
            "");
}

TEST(ConfigFile, BrokenFilesAreRefusedWithTheLine) {
  EXPECT_THAT(CheckError("id = 1\nid = = 2\n"), HasSubstr("w.toml:2"));
  EXPECT_THAT(CheckError("id = 1979-05-27\n"), HasSubstr("cannot be"));
  EXPECT_THAT(CheckError("id = 1979-05-27T'\n"), HasSubstr("w.toml:1"));
  EXPECT_THAT(CheckError("id\u024c = 1\n"), HasSubstr("w.toml:1"));
  EXPECT_THAT(CheckError("id = [[1]]\n"), HasSubstr("cannot be"));
  EXPECT_EQ(ConfigFile::Load("/nonexistent/whale.toml").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("same", "same"), 0u);
  EXPECT_EQ(Nearest("shard", {"shards", "replicas"}), "shards");
  EXPECT_EQ(Nearest("x", {}), "");
}

}  // namespace
}  // namespace whale::tools

#include "tools/private_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace whale::tools {
namespace {

namespace fs = std::filesystem;

// The pid of a process that has ended and was reaped.
pid_t DeadPid() {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  return pid;
}

class PrivateDirectoryTest : public testing::Test {
 protected:
  PrivateDirectoryTest() : parent_(testing::TempDir() + "private-XXXXXX") {
    EXPECT_NE(mkdtemp(parent_.data()), nullptr);
  }
  ~PrivateDirectoryTest() override { fs::remove_all(parent_); }

  std::string Make(const std::string& name, mode_t mode = 0700) {
    const std::string path = parent_ + "/" + name;
    EXPECT_EQ(mkdir(path.c_str(), mode), 0);
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    std::ofstream(path + "/pool") << "bytes";
    return path;
  }

  std::string parent_;
};

TEST_F(PrivateDirectoryTest, IsPrivateAndGoesWithItsOwner) {
  std::string path;
  {
    auto directory = PrivateDirectory::Create(parent_);
    ASSERT_TRUE(directory.ok()) << directory.status();
    path = (*directory)->path();
    EXPECT_THAT(path, testing::StartsWith(
                          absl::StrCat(parent_, "/whale-dev-", getpid(), "-")));
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
    std::ofstream(path + "/pool") << "bytes";
    // Its owner lives: not a left-over.
    EXPECT_TRUE(PrivateDirectory::RemoveLeftOvers(parent_).empty());
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(PrivateDirectoryTest, OnlyOurOwnLeftOversAreRemoved) {
  const std::string dead = absl::StrCat(DeadPid());
  const std::string ours = "whale-dev-" + dead + "-aB3xYz";
  Make(ours);
  Make("whale-dev-" + dead + "-short");
  Make("whale-dev-" + dead + "-abc_ef");
  Make("whale-dev-0-abcdef");
  Make("whale-dev-x-abcdef");
  Make("other-" + dead + "-abcdef");
  Make("whale-dev-" + dead + "-Public", 0755);
  Make(absl::StrCat("whale-dev-", getpid(), "-abcdef"));
  const std::string target = Make("target");
  fs::create_directory_symlink(target,
                               parent_ + "/whale-dev-" + dead + "-linked");
  EXPECT_THAT(PrivateDirectory::RemoveLeftOvers(parent_),
              testing::ElementsAre(ours));
  EXPECT_FALSE(fs::exists(parent_ + "/" + ours));
  EXPECT_TRUE(fs::exists(target + "/pool"));
}

TEST_F(PrivateDirectoryTest, ALockedDirectoryIsInUseWhateverItsPid) {
  const std::string path =
      Make(absl::StrCat("whale-dev-", DeadPid(), "-abcdef"));
  {
    const auto lock = DirectoryLock::Take(path);
    ASSERT_TRUE(lock.ok());
    EXPECT_TRUE(PrivateDirectory::RemoveLeftOvers(parent_).empty());
    const auto second = DirectoryLock::Take(path);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.status().message()),
                testing::HasSubstr(absl::StrCat("pid ", getpid())));
  }
  EXPECT_EQ(PrivateDirectory::RemoveLeftOvers(parent_).size(), 1u);
}

}  // namespace
}  // namespace whale::tools

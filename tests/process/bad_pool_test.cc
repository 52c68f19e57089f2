// Pools that are not what they should be: cut off, flipped, of another format,
// server or cluster, rotten in the middle of the log. A server refuses each
// with a message that says so; put right again, everything is there.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "logstore/pool_layout.h"
#include "pmem/pool_file_header.h"
#include "tests/process/cluster_fixture.h"
#include "tests/process/history_file.h"

namespace whale::process_test {
namespace {

using testing::ContainsRegex;

constexpr char kKey[] = "kept";
constexpr uint64_t kPageBytes = logstore::kPageBytes;
// The store begins behind the fabric's guard, with the two superblocks.
constexpr uint64_t kSuperblock = pmem::kGuardBytes;

// A part of a file that a test changes and puts right again.
class Patch {
 public:
  Patch(std::string path, uint64_t offset, uint64_t length)
      : path_(std::move(path)), offset_(offset), original_(length, '\0') {
    const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(pread(fd, original_.data(), length, offset), ssize_t(length));
    close(fd);
  }
  const std::string& original() const { return original_; }
  void Write(const std::string& bytes) const {
    const int fd = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(pwrite(fd, bytes.data(), bytes.size(), offset_),
              ssize_t(bytes.size()));
    close(fd);
  }
  void Restore() const { Write(original_); }

 private:
  const std::string path_;
  const uint64_t offset_;
  std::string original_;
};

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

class BadPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(cluster_.Start());
    const std::unique_ptr<Client> client = cluster_.Connect();
    ASSERT_NE(client, nullptr);
    ASSERT_TRUE(client->Put(kKey, "value").ok());
    ASSERT_TRUE(client->WaitReplicated(absl::Seconds(30)).ok());
    ASSERT_EQ(cluster_.Stop(), 0);
  }

  std::string Pool(int server) const {
    return absl::StrCat(cluster_.folder(), "/data/server-", server, "/pool");
  }
  uint64_t PoolBytes() const { return std::filesystem::file_size(Pool(1)); }

  void ExpectRefused(const std::string& regex) {
    const CommandResult result = cluster_.StartInVain();
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.output, ContainsRegex(regex));
    EXPECT_THAT(result.output, ContainsRegex("server"));
  }
  void ExpectWhole() {
    ASSERT_NO_FATAL_FAILURE(cluster_.Start());
    const std::unique_ptr<Client> client = cluster_.Connect();
    ASSERT_NE(client, nullptr);
    const absl::StatusOr<ReadResult> result = client->Get(kKey);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->value, "value");
  }

  Cluster cluster_;
};

TEST_F(BadPoolTest, CutOff) {
  const uint64_t kept = PoolBytes() / 2;
  const Patch lost(Pool(1), kept, PoolBytes() - kept);
  std::filesystem::resize_file(Pool(1), kept);
  ExpectRefused("cut off|no pool file|damaged");
  lost.Restore();
  ExpectWhole();
}

TEST_F(BadPoolTest, FlippedBitInTheFilesHeader) {
  const Patch copy0(Pool(1), PoolBytes() - 2 * kPageBytes, kPageBytes);
  const Patch copy1(Pool(1), PoolBytes() - kPageBytes, kPageBytes);
  copy0.Write(Flipped(copy0.original(), 30));
  copy1.Write(Flipped(copy1.original(), 30));
  ExpectRefused("damaged|whole");
  copy1.Restore();  // one whole copy is enough
  ExpectWhole();
}

TEST_F(BadPoolTest, FlippedBitInTheSuperblock) {
  const Patch copy0(Pool(1), kSuperblock, kPageBytes);
  const Patch copy1(Pool(1), kSuperblock + kPageBytes, kPageBytes);
  copy0.Write(Flipped(copy0.original(), 41));
  copy1.Write(Flipped(copy1.original(), 41));
  ExpectRefused("superblock");
  copy1.Restore();
  ExpectWhole();
}

TEST_F(BadPoolTest, AnotherFormatVersion) {
  const Patch both(Pool(1), kSuperblock, 2 * kPageBytes);
  std::string changed = both.original();
  for (int copy = 0; copy < 2; ++copy) {
    logstore::SuperblockPage page;
    std::memcpy(&page, changed.data() + copy * kPageBytes, sizeof(page));
    page.format_version = 99;
    constexpr size_t kChecksum = offsetof(logstore::SuperblockPage, checksum);
    const char* bytes = reinterpret_cast<const char*>(&page);
    const uint32_t crc = ExtendCrc32c(0, bytes, kChecksum);
    page.checksum = ExtendCrc32c(crc, bytes + kChecksum + sizeof(uint32_t),
                                 sizeof(page) - kChecksum - sizeof(uint32_t));
    std::memcpy(changed.data() + copy * kPageBytes, &page, sizeof(page));
  }
  both.Write(changed);
  ExpectRefused("format version 99");
  both.Restore();
  ExpectWhole();
}

TEST_F(BadPoolTest, PoolsOfTwoServersMixedUp) {
  std::filesystem::rename(Pool(1), Pool(1) + ".own");
  std::filesystem::copy_file(Pool(2), Pool(1));
  ExpectRefused("pool of server 2");
  std::filesystem::remove(Pool(1));
  std::filesystem::rename(Pool(1) + ".own", Pool(1));
  ExpectWhole();
}

TEST_F(BadPoolTest, PoolOfAnotherCluster) {
  std::filesystem::rename(Pool(1), Pool(1) + ".own");
  {
    Cluster other;
    ASSERT_NO_FATAL_FAILURE(other.Start());
    ASSERT_EQ(other.Stop(), 0);
    std::filesystem::copy_file(other.folder() + "/data/server-1/pool", Pool(1));
  }
  ExpectRefused("cluster");
  std::filesystem::remove(Pool(1));
  std::filesystem::rename(Pool(1) + ".own", Pool(1));
  ExpectWhole();
}

// Bytes that change in one replica's log while nobody looks: the others go on
// without it and it is filled again; nobody reads a wrong value.
TEST_F(BadPoolTest, RotInTheMiddleOfALog) {
  constexpr int kKeys = 100;
  const auto key = [](int i) { return absl::StrFormat("rot-%03d", i); };
  ASSERT_NO_FATAL_FAILURE(cluster_.Start());
  std::unique_ptr<Client> client = cluster_.Connect();
  ASSERT_NE(client, nullptr);
  for (int i = 0; i < kKeys; ++i) {
    ASSERT_TRUE(client->Put(key(i), MakeValue(key(i), 500)).ok());
  }
  ASSERT_TRUE(client->WaitReplicated(absl::Seconds(30)).ok());
  client.reset();
  ASSERT_EQ(cluster_.Stop(), 0);

  const std::string victim = MakeValue(key(50), 500);
  const size_t place = ReadFile(Pool(2)).find(victim);
  ASSERT_NE(place, std::string::npos);
  const Patch value(Pool(2), place, victim.size());
  value.Write(Flipped(victim, 400));
  const CommandResult verify =
      RunCommand({WHALE_PROGRAM, "log", "verify", Pool(2)}, cluster_.tag());
  EXPECT_EQ(verify.exit_code, 2) << verify.output;
  EXPECT_THAT(verify.output, ContainsRegex("damage|checksum"));

  ASSERT_NO_FATAL_FAILURE(cluster_.Start());
  client = cluster_.Connect();
  ASSERT_NE(client, nullptr);
  const auto expect_all = [&](uint32_t replica) {
    ReadOptions options;
    options.replica = replica;
    for (int i = 0; i < kKeys; ++i) {
      const absl::StatusOr<ReadResult> result = client->Get(key(i), options);
      ASSERT_TRUE(result.ok()) << key(i) << ": " << result.status();
      EXPECT_TRUE(result->value == MakeValue(key(i), 500)) << key(i);
    }
  };
  ASSERT_NO_FATAL_FAILURE(expect_all(1));
  ASSERT_NO_FATAL_FAILURE(cluster_.AwaitWhole());
  ASSERT_NO_FATAL_FAILURE(expect_all(2));
  client.reset();
  ASSERT_EQ(cluster_.Stop(), 0);
  const CommandResult again =
      RunCommand({WHALE_PROGRAM, "log", "verify", Pool(2)}, cluster_.tag());
  EXPECT_EQ(again.exit_code, 0) << again.output;
}

}  // namespace
}  // namespace whale::process_test

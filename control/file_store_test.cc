#include "control/file_store.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "control/stored_state.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

proto::StoredState State(uint64_t revision) {
  proto::StoredState state;
  state.set_format_version(kStoredFormatVersion);
  state.set_revision(revision);
  state.set_cluster_uuid("0123456789abcdef");
  state.set_segment_bytes(8 << 20);
  state.set_ring_slots(64);
  state.set_next_session(1000 * revision);
  return state;
}

class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() {
    std::string name = ::testing::TempDir() + "whale_store_XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~FileStoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<FileStore> Open() {
    auto store = FileStore::Open(directory_);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  std::string StateFile() const { return directory_ + "/state"; }
  std::string Read() const {
    std::ifstream file(StateFile(), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void Write(const std::string& path, const std::string& bytes) const {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  std::string directory_;
};

TEST_F(FileStoreTest, KeepsWhatWasStored) {
  EXPECT_FALSE((*Open()->Load()).has_value());
  EXPECT_TRUE(Open()->CompareAndSwap(0, State(1)).ok());
  EXPECT_TRUE(Open()->CompareAndSwap(1, State(2)).ok());
  auto state = Open()->Load();
  ASSERT_TRUE(state.ok()) << state.status();
  ASSERT_TRUE(state->has_value());
  EXPECT_EQ((*state)->revision(), 2u);
  EXPECT_EQ((*state)->next_session(), 2000u);
}

TEST_F(FileStoreTest, CreatesItsDirectory) {
  const std::string deep = directory_ + "/a/b/c";
  auto store = FileStore::Open(deep);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->CompareAndSwap(0, State(1)).ok());
  EXPECT_EQ((*store)->Name(), "file:" + deep);
}

TEST_F(FileStoreTest, SwapsOnlyTheExpectedRevision) {
  auto store = Open();
  ASSERT_TRUE(store->CompareAndSwap(0, State(1)).ok());
  proto::StoredState other = State(1);
  other.set_next_session(7);
  EXPECT_EQ(store->CompareAndSwap(0, other).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(store->CompareAndSwap(5, State(6)).code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ((*store->Load())->next_session(), 1000u);
  // The same once more: an answer may have been lost.
  EXPECT_TRUE(store->CompareAndSwap(0, State(1)).ok());
}

TEST_F(FileStoreTest, SecondLeaderIsToldWhoLeads) {
  auto first = Open();
  auto second = FileStore::Open(directory_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("process " + std::to_string(getpid())));
  first.reset();
  EXPECT_TRUE(FileStore::Open(directory_).ok());
}

TEST_F(FileStoreTest, EveryFlippedBitIsRefusedAndLeftAsItIs) {
  auto store = Open();
  ASSERT_TRUE(store->CompareAndSwap(0, State(1)).ok());
  const std::string good = Read();
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      EXPECT_FALSE(DecodeStateFile(bad).ok()) << at << ", bit " << bit;
    }
    std::string bad = good;
    bad[at] = static_cast<char>(~bad[at]);
    Write(StateFile(), bad);
    const auto loaded = store->Load();
    ASSERT_FALSE(loaded.ok()) << at;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(StateFile()));
    EXPECT_FALSE(store->CompareAndSwap(1, State(2)).ok());
    EXPECT_EQ(Read(), bad);
  }
}

TEST_F(FileStoreTest, EveryTornFileIsRefused) {
  auto store = Open();
  ASSERT_TRUE(store->CompareAndSwap(0, State(1)).ok());
  const std::string good = Read();
  for (size_t length = 0; length < good.size(); ++length) {
    Write(StateFile(), good.substr(0, length));
    EXPECT_EQ(store->Load().status().code(), absl::StatusCode::kDataLoss)
        << length;
  }
  EXPECT_EQ(DecodeStateFile(good + '\0').status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(DecodeStateFile(good).ok());
}

TEST_F(FileStoreTest, OtherFormatVersionIsNamed) {
  std::string bytes = EncodeStateFile(State(1));
  bytes[8] = 9;
  const auto state = DecodeStateFile(bytes);
  EXPECT_EQ(state.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(state.status().message()),
              HasSubstr("format version 9"));
}

TEST_F(FileStoreTest, CrashBeforeTheRenameLeavesTheOldState) {
  ASSERT_TRUE(Open()->CompareAndSwap(0, State(1)).ok());
  const std::string next = EncodeStateFile(State(2));
  for (const size_t written : {size_t{0}, next.size() / 2, next.size()}) {
    Write(directory_ + "/state.new", next.substr(0, written));
    auto store = Open();
    EXPECT_EQ((*store->Load())->revision(), 1u);
    EXPECT_FALSE(std::filesystem::exists(directory_ + "/state.new"));
  }
  // The very first one, too: nothing is stored then.
  std::filesystem::remove(StateFile());
  Write(directory_ + "/state.new", next);
  EXPECT_FALSE((*Open()->Load()).has_value());
}

TEST_F(FileStoreTest, DirectoryThatCannotBeUsedIsNamed) {
  Write(directory_ + "/file", "x");
  const auto store = FileStore::Open(directory_ + "/file/below");
  EXPECT_EQ(store.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(store.status().message()),
              HasSubstr(directory_ + "/file"));
}

TEST_F(FileStoreTest, SpecsAreParsed) {
  EXPECT_TRUE(OpenConfigStore("file:" + directory_, {}).ok());
  EXPECT_EQ(OpenConfigStore("etcd:127.0.0.1:2379", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenConfigStore("", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenConfigStore("file:", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenConfigStore("/tmp/x", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A checksum does not help against a state that is wrong in itself.
class StoredStateTest : public ::testing::Test {
 protected:
  StoredStateTest() : state_(State(1)) {
    state_.set_shard_count(1);
    state_.add_servers()->set_server_id(1);
    proto::StoredShard* shard = state_.add_shards();
    shard->set_epoch(3);
    shard->add_members(1);
    shard->add_placed(1);
    shard->set_committed(8 << 20);
    shard->set_start(8 << 20);
    shard->add_history()->set_epoch(3);
  }
  proto::StoredState state_;
};

TEST_F(StoredStateTest, GoodOneIsBelieved) {
  EXPECT_TRUE(CheckStoredState(state_).ok()) << CheckStoredState(state_);
}

TEST_F(StoredStateTest, ContradictionsAreNot) {
  const auto expect_refused = [](proto::StoredState state, const char* why) {
    EXPECT_THAT(std::string(CheckStoredState(state).message()), HasSubstr(why));
  };
  proto::StoredState bad = state_;
  bad.set_format_version(kStoredFormatVersion + 1);
  expect_refused(bad, "format version");
  bad = state_;
  bad.clear_ring_slots();
  expect_refused(bad, "ring slots");
  bad = state_;
  bad.clear_cluster_uuid();
  expect_refused(bad, "cluster uuid");
  bad = state_;
  bad.set_shard_count(2);
  expect_refused(bad, "number of shards");
  bad = state_;
  bad.add_servers()->set_server_id(1);
  expect_refused(bad, "named twice");
  bad = state_;
  bad.mutable_shards(0)->add_members(9);
  expect_refused(bad, "unknown member 9");
  bad = state_;
  bad.mutable_shards(0)->set_start(1);
  expect_refused(bad, "cut below");
  bad = state_;
  bad.mutable_shards(0)->set_reserved_epoch(2);
  expect_refused(bad, "old epoch");
  bad = state_;
  bad.mutable_shards(0)->clear_history();
  expect_refused(bad, "history");
}

}  // namespace
}  // namespace whale::control

#include "tools/pool_view.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

#include "logstore/log.h"
#include "logstore/pool_mapping.h"
#include "tools/pool_compare.h"

namespace whale::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr ShardId kShard{0};
constexpr Epoch kEpoch{3};

// Pools of two servers, written as if by a cluster of one shard.
class PoolViewTest : public testing::Test {
 protected:
  PoolViewTest() : dir_(testing::TempDir() + "pool-view-XXXXXX") {
    EXPECT_NE(mkdtemp(dir_.data()), nullptr);
  }
  ~PoolViewTest() override { std::filesystem::remove_all(dir_); }

  std::string Path(uint32_t server) const {
    return dir_ + "/" + std::to_string(server);
  }

  // A pool with these puts; everything is durable, the last is not committed.
  void MakePool(uint32_t server, const std::vector<std::string>& keys) {
    logstore::Geometry geometry;
    geometry.pool_uuid[0] = static_cast<uint8_t>(server);
    geometry.server = ServerId(server);
    geometry.shard_count = 1;
    geometry.segment_bytes = 8 << 20;
    geometry.segment_slots = 4;
    geometry.ring_slots = 64;
    auto file = pmem::PoolFile::Create(Path(server),
                                       logstore::Pool::BytesNeeded(geometry),
                                       pmem::DomainKind::kShm);
    ASSERT_TRUE(file.ok()) << file.status();
    auto pool = logstore::Pool::Format(logstore::MappingOf(**file), geometry);
    ASSERT_TRUE(pool.ok()) << pool.status();
    logstore::Log log(pool->get(), kShard);
    ASSERT_TRUE(log.AddSegment(1).ok());
    log.set_end(log.begin());
    logstore::ShardState state;
    state.epoch = kEpoch;
    state.history.Add(kEpoch, log.begin());
    for (const std::string& key : keys) {
      state.committed = log.end();
      const std::string value = "value of " + key;
      const Lsn lsn = log.Reserve(key.size(), value.size());
      log.Write(lsn, {.epoch = kEpoch}, key, value);
      last_ = lsn;
    }
    state.announced = state.durable = log.end();
    (*pool)->StoreState(kShard, state);
    committed_ = state.committed;
    ASSERT_TRUE((*file)->CloseClean().ok());
  }

  // Changes one byte of a record's key, wherever it lies in the file.
  void Damage(uint32_t server, const std::string& key) {
    std::fstream file(Path(server),
                      std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const size_t at = bytes.find(key);
    ASSERT_NE(at, bytes.npos);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('#');
  }

  proto::ClusterStatus Status() const {
    proto::ClusterStatus status;
    proto::ShardEntry* shard = status.mutable_map()->add_shards();
    shard->add_members(1);
    shard->add_members(2);
    proto::ServerReport* report = status.add_reports();
    report->set_server_id(1);
    report->add_shards()->set_committed(committed_.value());
    return status;
  }
  absl::StatusOr<uint64_t> Compare() const {
    return ComparePools({{1, Path(1)}, {2, Path(2)}}, Status());
  }

  std::string dir_;
  Lsn committed_;
  Lsn last_;
};

TEST_F(PoolViewTest, FindsWhatTheServerWrote) {
  MakePool(1, {"alpha", "beta", "gamma"});
  const auto view = PoolView::Open(Path(1));
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ((*view)->geometry().server, ServerId(1));
  std::vector<std::string> keys, values;
  const auto walked =
      (*view)->Walk(kShard, [&](Lsn, const logstore::RecordHeader& header) {
        keys.emplace_back(KeyOf(header));
        values.emplace_back(ValueOf(header));
      });
  ASSERT_TRUE(walked.ok()) << walked.status();
  EXPECT_THAT(keys, ElementsAre("alpha", "beta", "gamma"));
  EXPECT_EQ(values[1], "value of beta");
  EXPECT_EQ(walked->committed, last_);
  EXPECT_EQ(walked->walk.records, 3u);
  EXPECT_TRUE(walked->walk.damage.empty());
}

TEST_F(PoolViewTest, SeesRotBelowWhatWasDurable) {
  MakePool(1, {"alpha", "beta", "gamma"});
  Damage(1, "beta");
  const auto view = PoolView::Open(Path(1));
  ASSERT_TRUE(view.ok()) << view.status();
  const auto walked =
      (*view)->Walk(kShard, [](Lsn, const logstore::RecordHeader&) {});
  ASSERT_TRUE(walked.ok());
  EXPECT_EQ(walked->walk.damage.size(), 1u);
}

TEST_F(PoolViewTest, LeavesTheFileAsItWas) {
  MakePool(1, {"alpha"});
  const auto read = [this] {
    std::ifstream file(Path(1), std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  const std::string before = read();
  {
    const auto view = PoolView::Open(Path(1));
    ASSERT_TRUE(view.ok());
    EXPECT_TRUE(
        (*view)->Walk(kShard, [](Lsn, const logstore::RecordHeader&) {}).ok());
  }
  EXPECT_TRUE(before == read());
}

TEST_F(PoolViewTest, FilesThatAreNoPoolsAreRefused) {
  EXPECT_EQ(PoolView::Open(Path(1)).status().code(),
            absl::StatusCode::kNotFound);
  std::ofstream(Path(1)) << "not a pool at all";
  const auto view = PoolView::Open(Path(1));
  EXPECT_FALSE(view.ok());
  EXPECT_THAT(std::string(view.status().message()), HasSubstr(Path(1)));
}

TEST_F(PoolViewTest, EqualLogsCompareEqualWhateverIsNotCommitted) {
  MakePool(1, {"alpha", "beta", "gamma"});
  MakePool(2, {"alpha", "beta", "delta"});
  const auto bytes = Compare();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, committed_.value() - (8 << 20));
}

TEST_F(PoolViewTest, ADifferenceBelowTheCommitWatermarkIsFound) {
  MakePool(1, {"alpha", "beta", "gamma"});
  MakePool(2, {"alpha", "BETA", "gamma"});
  const auto bytes = Compare();
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("differ"));
}

TEST_F(PoolViewTest, ALogThatIsNotWholeIsFound) {
  MakePool(2, {"alpha"});
  MakePool(1, {"alpha", "beta", "gamma"});
  EXPECT_EQ(Compare().status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace whale::tools

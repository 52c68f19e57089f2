#include "sim/checkers/log_identity.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "logstore/log.h"
#include "sim/sim_memory.h"

namespace whale::checkers {
namespace {

constexpr ShardId kShard{0};
constexpr Epoch kEpoch{1};

// A pool with some records of epoch 1.
class Replica {
 public:
  explicit Replica(uint32_t server) {
    logstore::Geometry geometry;
    geometry.pool_uuid.fill(static_cast<uint8_t>(server));
    geometry.server = ServerId(server);
    geometry.shard_count = 1;
    geometry.segment_bytes = 32 << 10;
    geometry.segment_slots = 8;
    geometry.ring_slots = 64;
    memory_ = std::make_unique<sim::SimMemory>(
        RoundUp(logstore::Pool::BytesNeeded(geometry), 4096),
        pmem::Survives::kProcess);
    logstore::Mapping mapping;
    mapping.base = memory_->base();
    mapping.length_bytes = memory_->length_bytes();
    mapping.domain = memory_.get();
    pool_ = logstore::Pool::Format(mapping, geometry).value();
    logstore::ShardState state;
    state.epoch = kEpoch;
    state.start = Lsn(geometry.segment_bytes);
    state.history.Add(kEpoch, state.start);
    pool_->StoreState(kShard, state);
    log_ = std::make_unique<logstore::Log>(pool_.get(), kShard);
    EXPECT_TRUE(log_->AddSegment(1).ok());
    EXPECT_TRUE(log_->AddSegment(2).ok());
    log_->set_end(log_->begin());
  }
  void Append(const std::string& value) {
    const std::string key = "key";
    if (!log_->Fits(logstore::RecordBytes(key.size(), value.size()))) {
      log_->EnterNextSegment(kEpoch);
    }
    logstore::RecordFields fields;
    fields.epoch = kEpoch;
    log_->Write(log_->Reserve(key.size(), value.size()), fields, key, value);
  }
  logstore::Pool* pool() { return pool_.get(); }
  logstore::Log& log() { return *log_; }

 private:
  std::unique_ptr<sim::SimMemory> memory_;
  std::unique_ptr<logstore::Pool> pool_;
  std::unique_ptr<logstore::Log> log_;
};

class LogIdentityTest : public testing::Test {
 protected:
  void Append(const std::string& value) {
    a_.Append(value);
    b_.Append(value);
  }
  std::string Check(Lsn committed) {
    return CheckLogIdentity({a_.pool(), b_.pool()}, kShard, committed).problem;
  }
  std::string Check() { return Check(a_.log().end()); }

  Replica a_{1};
  Replica b_{2};
};

TEST_F(LogIdentityTest, AcceptsEqualLogsOfSeveralSegments) {
  for (int i = 0; i < 40; ++i) Append(std::string(1000 + i, 'x'));
  EXPECT_GE(a_.log().end(), a_.log().SegmentStart(2));
  EXPECT_EQ(Check(), "");
}

TEST_F(LogIdentityTest, RejectsAnotherValue) {
  Append("one");
  a_.Append("two");
  b_.Append("2!!");
  EXPECT_NE(Check(), "");
}

TEST_F(LogIdentityTest, RejectsAMissingRecord) {
  Append("one");
  a_.Append("two");
  EXPECT_NE(Check(), "");
}

TEST_F(LogIdentityTest, RejectsARottenBit) {
  Append("one");
  Append("two");
  *b_.log().ValueAddress(b_.log().begin()) ^= std::byte{1};
  EXPECT_NE(Check(), "");
}

TEST_F(LogIdentityTest, IgnoresWhatIsNotBelowTheWatermark) {
  Append("one");
  const Lsn committed = a_.log().end();
  a_.Append("two");
  EXPECT_EQ(Check(committed), "");
}

}  // namespace
}  // namespace whale::checkers

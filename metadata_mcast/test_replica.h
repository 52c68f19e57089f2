// For tests: a server's memory with a real log in it, and a peer's requests
// carried out on it.
//
// There are two copies of the memory: what the CPU sees, and what survives a
// loss of power. A WRITE changes the first only; a remote flush, or a persist
// of the owner, copies its range to the second.
#ifndef WHALE_METADATA_MCAST_TEST_REPLICA_H_
#define WHALE_METADATA_MCAST_TEST_REPLICA_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "logstore/history.h"
#include "logstore/log.h"
#include "logstore/pool.h"
#include "pmem/domain.h"

namespace whale::metadata_mcast {

// A persistence domain over two copies of one range.
class TwoCopyDomain final : public pmem::PersistenceDomain {
 public:
  TwoCopyDomain(std::byte* visible, std::byte* durable)
      : visible_(visible), durable_(durable) {}
  std::string_view name() const override { return "test"; }
  pmem::Survives survives() const override { return pmem::Survives::kPower; }
  bool persist_is_free() const override { return false; }
  void WriteBack(const void* data, size_t length_bytes) override {
    const auto offset = static_cast<const std::byte*>(data) - visible_;
    std::memcpy(durable_ + offset, data, length_bytes);
  }
  void Fence() override { ++fences_; }
  int fences() const { return fences_; }

 private:
  std::byte* const visible_;
  std::byte* const durable_;
  int fences_ = 0;
};

class TestReplica {
 public:
  static constexpr uint64_t kKey = 77;  // of every grant
  static constexpr uint32_t kSlots = 16;
  static constexpr ShardId kShard{0};

  explicit TestReplica(uint64_t segment_bytes = 256 * 1024,
                       uint32_t ring_slots = 64) {
    logstore::Geometry geometry;
    geometry.pool_uuid = {1};
    geometry.server = ServerId(1);
    geometry.shard_count = 1;
    geometry.segment_bytes = segment_bytes;
    geometry.segment_slots = kSlots;
    geometry.ring_slots = ring_slots;
    length_ = logstore::Pool::BytesNeeded(geometry);
    visible_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, length_)));
    durable_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, length_)));
    std::memset(visible_.get(), 0, length_);
    std::memset(durable_.get(), 0, length_);
    domain_ = std::make_unique<TwoCopyDomain>(visible_.get(), durable_.get());
    auto pool = logstore::Pool::Format({.base = visible_.get(),
                                        .length_bytes = length_,
                                        .domain = domain_.get()},
                                       geometry);
    EXPECT_TRUE(pool.ok()) << pool.status();
    pool_ = std::move(*pool);
    log_ = std::make_unique<logstore::Log>(pool_.get(), kShard);
    log_->set_end(log_->begin());
    AddSegment(1);
  }

  logstore::Log& log() { return *log_; }
  logstore::Pool& pool() { return *pool_; }
  TwoCopyDomain& domain() { return *domain_; }
  logstore::ShardArea area() const { return pool_->Area(kShard); }
  uint32_t ring_slots() const { return pool_->geometry().ring_slots; }

  void AddSegment(uint64_t number) {
    const absl::Status status = log_->AddSegment(number);
    ASSERT_TRUE(status.ok()) << status;
  }
  fabric::Grant GrantOf(const std::byte* from, uint64_t length_bytes) const {
    return {kKey, pool_->OffsetOf(from), length_bytes};
  }
  fabric::Grant SegmentGrant(uint64_t number) const {
    return GrantOf(log_->SegmentBase(number), log_->segment_bytes());
  }
  fabric::Grant RingGrant() const {
    return GrantOf(area().rings[0], uint64_t{ring_slots()} * 64);
  }

  fabric::Grant DeliveryGrant() const {
    return GrantOf(area().delivery_cells,
                   logstore::kDeliveryCells * logstore::kCellBytes);
  }

  // --- At a primary ---
  Lsn Append(Epoch epoch, std::string_view key, std::string_view value,
             logstore::RecordType type = logstore::RecordType::kPut) {
    const uint64_t bytes = logstore::RecordBytes(key.size(), value.size());
    if (!log_->Fits(bytes)) {
      AddSegment(log_->SegmentOf(log_->end()) + 1);
      log_->EnterNextSegment(epoch);
    }
    const Lsn lsn = log_->Reserve(key.size(), value.size());
    logstore::RecordFields fields;
    fields.type = type;
    fields.epoch = epoch;
    fields.session = SessionId(5);
    fields.request = RequestNumber(++requests_);
    log_->Write(lsn, fields, key, value);
    return lsn;
  }

  // --- As the target of a peer ---
  // Carries out the request's first `bytes` bytes only (a torn WRITE).
  void ExecutePart(const fabric::WorkRequest& request, uint64_t bytes) {
    ASSERT_EQ(request.remote_key, kKey);
    ASSERT_LE(request.remote_address + request.length_bytes, length_);
    if (request.opcode == fabric::Opcode::kRemoteFlush) {
      domain_->Persist(visible_.get() + request.remote_address,
                       request.length_bytes);
      return;
    }
    ASSERT_TRUE(request.opcode == fabric::Opcode::kWrite ||
                request.opcode == fabric::Opcode::kWriteWithImm);
    ASSERT_TRUE(!request.inline_data ||
                request.length_bytes <= fabric::kMaxInlineBytes);
    std::memcpy(visible_.get() + request.remote_address, request.local, bytes);
  }
  void Execute(const fabric::WorkRequest& request) {
    ExecutePart(request, request.length_bytes);
  }
  void Execute(std::span<const fabric::WorkRequest> requests) {
    for (const fabric::WorkRequest& request : requests) Execute(request);
  }
  // What was not flushed or persisted is gone.
  void LosePower() { std::memcpy(visible_.get(), durable_.get(), length_); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  uint64_t length_ = 0;
  std::unique_ptr<std::byte, Free> visible_;
  std::unique_ptr<std::byte, Free> durable_;
  std::unique_ptr<TwoCopyDomain> domain_;
  std::unique_ptr<logstore::Pool> pool_;
  std::unique_ptr<logstore::Log> log_;
  uint64_t requests_ = 0;
};

// The signaled requests of a batch.
inline size_t CountSignaled(std::span<const fabric::WorkRequest> requests) {
  size_t count = 0;
  for (const fabric::WorkRequest& request : requests) {
    count += request.signaled;
  }
  return count;
}

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_TEST_REPLICA_H_

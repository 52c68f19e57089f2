// The figure of section 5: a primary, a mirror that feeds the chain, its head
// and its tail. The primary multicasts; values travel from the mirror to the
// head to the tail; durable watermarks travel back. Random order of events; in
// the end all logs are the same and everything counts as replicated.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "chain/backup_log.h"
#include "chain/cells.h"
#include "chain/forwarder.h"
#include "chain/progress.h"
#include "common/prng.h"
#include "metadata_mcast/announcer.h"
#include "metadata_mcast/commit_tracker.h"
#include "metadata_mcast/delivery_sender.h"
#include "metadata_mcast/test_replica.h"

namespace whale::chain {
namespace {

using fabric::WorkRequest;
using metadata_mcast::Announced;
using metadata_mcast::Announcer;
using metadata_mcast::AnnouncerConfig;
using metadata_mcast::CellWriter;
using metadata_mcast::CommitTracker;
using metadata_mcast::DeliveryConfig;
using metadata_mcast::DeliverySender;
using metadata_mcast::NewestWhole;
using metadata_mcast::TestReplica;

constexpr Epoch kEpoch{3};
constexpr uint64_t kSegmentBytes = 128 * 1024;
constexpr uint32_t kRingSlots = 32;
constexpr Lsn kStart{kSegmentBytes};

// A connection: what was posted and not yet carried out.
class Wire {
 public:
  void Post(const WorkRequest* requests, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      queue_.push_back({requests[i], {}});
      if (requests[i].inline_data) {
        std::memcpy(queue_.back().inline_data, requests[i].local,
                    requests[i].length_bytes);
      }
    }
  }
  // Carries out the oldest; true if that completes a batch.
  bool Step(TestReplica& target) {
    if (queue_.empty()) return false;
    Item item = queue_.front();
    queue_.pop_front();
    if (item.request.inline_data) item.request.local = item.inline_data;
    target.Execute(item.request);
    return item.request.signaled;
  }

 private:
  struct Item {
    WorkRequest request;
    alignas(8) std::byte inline_data[64];
  };
  std::deque<Item> queue_;
};

struct Policy {
  size_t mirrors;
  uint64_t by_value_max_bytes;
  fabric::FlushMethod flush;
};

void PrintTo(const Policy& policy, std::ostream* out) {
  *out << "m=" << policy.mirrors << " by_value=" << policy.by_value_max_bytes
       << " flush=" << static_cast<int>(policy.flush);
}

struct Backup {
  Backup() : memory(kSegmentBytes, kRingSlots), log(kStart) {}

  TestReplica memory;
  std::unique_ptr<TestReplica> staging;  // at the primary, for this backup
  std::unique_ptr<DeliverySender> sender;
  std::unique_ptr<Announcer> announcer;
  std::unique_ptr<Forwarder> forwarder;  // to the next one
  BackupLog log;
  CellWriter<ProgressCell> progress;
  Wire delivery;
  Wire chain;     // to the next one
  Wire upstream;  // to the primary
  size_t next = 0;
};

class Chain {
 public:
  Chain(const Policy& policy, uint64_t seed)
      : policy_(policy),
        prng_(seed),
        primary_(kSegmentBytes, kRingSlots),
        backups_(3),
        commit_(kStart, 3),
        replicated_(kStart, 3) {
    history_.Add(kEpoch, kStart);
    for (size_t b = 0; b < backups_.size(); ++b) SetUp(b);
    if (policy.mirrors == 0) {
      forwarder_ = MakeForwarder(0);
    } else if (policy.mirrors < backups_.size()) {
      backups_[policy.mirrors - 1].next = policy.mirrors;
    }
    for (size_t b = policy.mirrors; b + 1 < backups_.size(); ++b) {
      backups_[b].next = b + 1;
    }
    for (Backup& backup : backups_) {
      if (backup.next > 0) backup.forwarder = MakeForwarder(backup.next);
    }
  }

  void Run(int records) {
    while (appended_ < records || !AllReplicated()) {
      if (appended_ < records && prng_.Chance(0.2)) Append();
      Backup& backup = backups_[prng_.Below(backups_.size())];
      switch (prng_.Below(6)) {
        case 0:
          Deliver(backup);
          break;
        case 1:
          ReceiveDelivery(backup);
          break;
        case 2:
          Announce(backup);
          break;
        case 3:
          Forward(backup);
          break;
        case 4:
          CarryChain(backup);
          break;
        case 5:
          ReportProgress(backup);
          break;
      }
      CheckInvariants();
      if (testing::Test::HasFailure()) return;
    }
  }

  void ExpectSameLogs() {
    for (Lsn lsn = kStart; lsn < log().end();) {
      const logstore::RecordHeader& header = log().HeaderAt(lsn);
      for (Backup& backup : backups_) {
        ASSERT_EQ(std::memcmp(backup.memory.log().At(lsn), log().At(lsn),
                              logstore::TransferBytes(header)),
                  0)
            << lsn.value();
      }
      lsn = log().After(lsn, logstore::RecordBytes(header));
    }
  }

  logstore::Log& log() { return primary_.log(); }
  TestReplica& backup_memory(size_t b) { return backups_[b].memory; }
  const logstore::History& history() const { return history_; }
  uint64_t forwarded_by_primary() const {
    return forwarder_ ? forwarder_->counters().bytes : 0;
  }

 private:
  void SetUp(size_t b) {
    Backup& backup = backups_[b];
    TestReplica& memory = backup.memory;
    DeliveryConfig delivery;
    delivery.epoch = kEpoch;
    delivery.start = kStart;
    delivery.mirror = b < policy_.mirrors;
    delivery.by_value_max_bytes = policy_.by_value_max_bytes;
    delivery.flush = policy_.flush;
    delivery.ring = memory.RingGrant();
    delivery.ring_slots = kRingSlots;
    delivery.delivery_cells = memory.DeliveryGrant();
    backup.sender = std::make_unique<DeliverySender>(delivery);
    backup.sender->AddSegment(1, memory.SegmentGrant(1));
    backup.staging = std::make_unique<TestReplica>(kSegmentBytes, kRingSlots);

    AnnouncerConfig announcer;
    announcer.epoch = kEpoch;
    announcer.start = kStart;
    announcer.committed = kStart;
    announcer.delivery_cells = memory.area().delivery_cells;
    announcer.ring = memory.area().rings[0];
    announcer.ring_slots = kRingSlots;
    backup.announcer = std::make_unique<Announcer>(announcer);
    backup.progress = CellWriter<ProgressCell>(
        primary_.GrantOf(primary_.area().progress_cells + b * 128, 128),
        kEpoch);
    replicated_.SetStart(b, kStart, kStart);
  }
  std::unique_ptr<Forwarder> MakeForwarder(size_t to) {
    TestReplica& memory = backups_[to].memory;
    ForwarderConfig config;
    config.epoch = kEpoch;
    config.start = kStart;
    config.by_value_max_bytes = policy_.by_value_max_bytes;
    config.chain_cells = memory.GrantOf(memory.area().chain_cells, 128);
    auto forwarder = std::make_unique<Forwarder>(config);
    forwarder->AddSegment(1, memory.SegmentGrant(1));
    return forwarder;
  }

  void Append() {
    const uint64_t bytes =
        prng_.Chance(0.05) ? prng_.Below(100'000) : prng_.Below(1000);
    primary_.Append(kEpoch, "key" + std::to_string(prng_.Below(50)),
                    std::string(bytes, 'a' + appended_ % 26));
    ++appended_;
    log().Persist(own_durable_, log().end());
    own_durable_ = log().end();
    commit_.OnOwnDurable(own_durable_);
    replicated_.OnOwnDurable(own_durable_);
    for (uint64_t n = 2; n <= log().SegmentOf(log().end()); ++n) {
      for (size_t b = 0; b < backups_.size(); ++b) Grant(b, n);
    }
  }
  void Grant(size_t b, uint64_t number) {
    Backup& backup = backups_[b];
    if (backup.sender->HasSegment(number)) return;
    backup.memory.AddSegment(number);
    const fabric::Grant grant = backup.memory.SegmentGrant(number);
    backup.sender->AddSegment(number, grant);
    if (b == 0 && forwarder_) forwarder_->AddSegment(number, grant);
    for (Backup& other : backups_) {
      if (other.forwarder && other.next == b) {
        other.forwarder->AddSegment(number, grant);
      }
    }
  }

  void Deliver(Backup& backup) {
    const size_t count = backup.sender->Plan(
        log(), own_durable_, commit_.committed(), out_.data(), out_.size(),
        {backup.staging->area().rings[0], kRingSlots}, 0);
    backup.delivery.Post(out_.data(), count);
  }
  void ReceiveDelivery(Backup& backup) {
    for (uint64_t steps = prng_.Below(8); steps > 0; --steps) {
      if (!backup.delivery.Step(backup.memory)) continue;
      const size_t b = &backup - backups_.data();
      backup.sender->OnCompletion();
      commit_.OnAcked(b, backup.sender->acked());
      replicated_.OnDelivered(b, backup.sender->acked(),
                              backup.sender->last_metadata_end());
    }
  }
  void Announce(Backup& backup) {
    backup.announcer->Announce(
        backup.memory.log(), history_, [&](const Announced& record) {
          backup.log.OnAnnounced(record.lsn,
                                 logstore::RecordBytes(record.header),
                                 record.by_value);
        });
    backup.log.OnAnnouncedUpTo(backup.announcer->announced());
    const auto cell =
        NewestWhole<ChainCell>(backup.memory.area().chain_cells, kEpoch);
    if (cell) backup.log.TakeChain(*cell, backup.memory.log(), history_);
    EXPECT_EQ(backup.announcer->failed_tries(), 0u);
    EXPECT_FALSE(backup.log.damage());
  }
  void Forward(Backup& backup) {
    if (&backup == &backups_[0] && forwarder_) {
      primary_wire_.Post(out_.data(),
                         forwarder_->Plan(log(), own_durable_, out_.data(),
                                          out_.size(), 0, prng_.Chance(0.5)));
    }
    if (!backup.forwarder) return;
    backup.chain.Post(
        out_.data(),
        backup.forwarder->Plan(backup.memory.log(), backup.log.durable(),
                               out_.data(), out_.size(), 0, false));
  }
  void CarryChain(Backup& backup) {
    for (uint64_t steps = prng_.Below(8); steps > 0; --steps) {
      if (&backup == &backups_[0] && forwarder_ &&
          primary_wire_.Step(backups_[0].memory)) {
        forwarder_->OnCompletion();
      }
      if (backup.forwarder && backup.chain.Step(backups_[backup.next].memory)) {
        backup.forwarder->OnCompletion();
      }
    }
  }
  void ReportProgress(Backup& backup) {
    const size_t b = &backup - backups_.data();
    const WorkRequest cell = backup.progress.Write(
        {.announced = backup.log.announced().value(),
         .durable = backup.log.durable().value(),
         .ring_released = backup.announcer->ReleaseRing(backup.log.durable())});
    backup.upstream.Post(&cell, 1);
    backup.upstream.Step(primary_);
    const auto seen = NewestWhole<ProgressCell>(
        primary_.area().progress_cells + b * 128, kEpoch);
    ASSERT_TRUE(seen);
    backup.sender->OnProgress(seen->ring_released);
    replicated_.OnProgress(b, *seen);
  }

  bool AllReplicated() {
    return replicated_.replicated() == log().end() &&
           backups_[0].log.durable() == log().end() &&
           backups_[1].log.durable() == log().end() &&
           backups_[2].log.durable() == log().end();
  }

  // Relations that must hold at every moment.
  void CheckInvariants() {
    EXPECT_LE(replicated_.replicated(), own_durable_);
    for (Backup& backup : backups_) {
      EXPECT_LE(commit_.committed(), backup.sender->acked());
      EXPECT_LE(backup.sender->acked(), backup.sender->posted());
      EXPECT_LE(backup.log.durable(), backup.log.announced());
      EXPECT_LE(backup.announcer->known_committed(), commit_.committed());
    }
  }

  const Policy policy_;
  Prng prng_;
  TestReplica primary_;
  std::vector<Backup> backups_;
  CommitTracker commit_;
  ReplicatedTracker replicated_;
  logstore::History history_;
  std::unique_ptr<Forwarder> forwarder_;  // the primary's, without a mirror
  Wire primary_wire_;
  Lsn own_durable_ = kStart;
  int appended_ = 0;
  std::array<WorkRequest, 24> out_;
};

class ChainTest : public testing::TestWithParam<Policy> {};
class DurableChainTest : public ChainTest {};

TEST_P(ChainTest, EverythingReachesEveryReplica) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    Chain chain(GetParam(), seed);
    chain.Run(250);
    ASSERT_FALSE(HasFailure());
    chain.ExpectSameLogs();
    ASSERT_GT(chain.log().SegmentOf(chain.log().end()), 2u);
  }
}

// What counts as replicated is found at every backup after a loss of power.
TEST_P(DurableChainTest, WhatIsReplicatedSurvivesALossOfPower) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Chain chain(GetParam(), seed);
    chain.Run(150);
    ASSERT_FALSE(HasFailure());
    for (size_t b = 0; b < 3; ++b) {
      chain.backup_memory(b).LosePower();
      for (Lsn lsn = kStart; lsn < chain.log().end();) {
        ASSERT_EQ(chain.backup_memory(b).log().Check(lsn, chain.history()),
                  logstore::Log::Validity::kValid);
        lsn = chain.log().After(
            lsn, logstore::RecordBytes(chain.log().HeaderAt(lsn)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policies, ChainTest,
    testing::Values(
        // Pure metadata multicast, the default, a star, and in between.
        Policy{0, 0, fabric::FlushMethod::kNone},
        Policy{0, 256, fabric::FlushMethod::kReceiverFlush},
        Policy{1, 256, fabric::FlushMethod::kNone},
        Policy{1, 256, fabric::FlushMethod::kReadAfterWrite},
        Policy{2, 0, fabric::FlushMethod::kReceiverFlush},
        Policy{3, 0, fabric::FlushMethod::kNone}));
INSTANTIATE_TEST_SUITE_P(
    Policies, DurableChainTest,
    testing::Values(Policy{0, 256, fabric::FlushMethod::kReceiverFlush},
                    Policy{1, 256, fabric::FlushMethod::kReadAfterWrite},
                    Policy{2, 0, fabric::FlushMethod::kNativeFlush}));

// With a mirror the primary's adapter sends a large value only to the mirror.
TEST(ChainLoad, TheMirrorFeedsTheChain) {
  Chain without({0, 256, fabric::FlushMethod::kNone}, 1);
  without.Run(100);
  EXPECT_GT(without.forwarded_by_primary(), 0u);
  Chain with({1, 256, fabric::FlushMethod::kNone}, 1);
  with.Run(100);
  EXPECT_EQ(with.forwarded_by_primary(), 0u);
}

}  // namespace
}  // namespace whale::chain

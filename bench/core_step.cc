// What one step of each pure core costs, per record: ordering, delivery,
// announcing, chain, commit, applying.
//
// A primary, a mirror that gets records by value and forwards them, and a tail
// that gets metadata and then values: all in memory of this process, requests
// carried out by copying. Every iteration takes a batch of records all the
// way; only the part that gives the benchmark its name is timed. Run on an
// otherwise idle machine.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "chain/forwarder.h"
#include "chain/replica_state.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/units.h"
#include "metadata_mcast/announcer.h"
#include "metadata_mcast/cells.h"
#include "metadata_mcast/delivery_sender.h"
#include "pmem/shm_domain.h"
#include "primary/committer.h"
#include "primary/ordering.h"

namespace whale {
namespace {

constexpr Epoch kEpoch{1};
constexpr ShardId kShard{0};
constexpr SessionId kSession{1};
constexpr uint64_t kSegmentBytes = 8 * kMiB;
constexpr uint32_t kSegments = 16;
constexpr uint32_t kRingSlots = 8192;
constexpr uint64_t kGrantKey = 1;
constexpr size_t kKeys = 10'000;

enum class Part : uint8_t {
  kOrdering,
  kDeliverValues,
  kDeliverMetadata,
  kCommit,  // the primary applies as well
  kAnnounceValues,
  kAnnounceMetadata,
  kForward,
  kTakeChain,
  kApply,
};
constexpr std::array<const char*, 9> kPartNames = {
    "Ordering", "DeliverValues",  "DeliverMetadata",
    "Commit",   "AnnounceValues", "AnnounceMetadata",
    "Forward",  "TakeChain",      "Apply"};

// One server's memory and its state.
class Memory {
 public:
  Memory() {
    logstore::Geometry geometry;
    geometry.shard_count = 1;
    geometry.segment_bytes = kSegmentBytes;
    geometry.segment_slots = kSegments;
    geometry.ring_slots = kRingSlots;
    const uint64_t bytes = RoundUp(logstore::Pool::BytesNeeded(geometry), 4096);
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)));
    std::memset(memory_.get(), 0, bytes);
    pool_ = *logstore::Pool::Format(
        {.base = memory_.get(), .length_bytes = bytes, .domain = &domain_},
        geometry);
    state_ = std::make_unique<chain::ReplicaState>(pool_.get(), kShard);
    state_->log.set_end(state_->log.begin());
    for (uint64_t i = 0; i < kSegments; ++i) {
      WHALE_CHECK(state_->log.AddSegment(First() + i).ok());
    }
    state_->history.Add(kEpoch, state_->log.begin());
  }

  chain::ReplicaState& state() { return *state_; }
  logstore::ShardArea area() const { return pool_->Area(kShard); }
  uint64_t First() const { return state_->log.SegmentOf(state_->log.begin()); }
  fabric::Grant GrantOf(const std::byte* at, uint64_t bytes) const {
    return {kGrantKey, pool_->OffsetOf(at), bytes};
  }
  template <typename Sender>
  void GrantSegments(Sender* sender) const {
    for (uint64_t i = First(); i < First() + kSegments; ++i) {
      sender->AddSegment(i, GrantOf(state_->log.SegmentBase(i), kSegmentBytes));
    }
  }
  void Execute(const fabric::WorkRequest* requests, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(memory_.get() + requests[i].remote_address, requests[i].local,
                  requests[i].length_bytes);
    }
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  pmem::ShmDomain domain_;
  std::unique_ptr<std::byte, Free> memory_;
  std::unique_ptr<logstore::Pool> pool_;
  std::unique_ptr<chain::ReplicaState> state_;
};

class Backup {
 public:
  Backup(Memory* primary, bool mirror)
      : sender_({.epoch = kEpoch,
                 .start = primary->state().log.begin(),
                 .mirror = mirror,
                 .ring = memory_.GrantOf(memory_.area().rings[0],
                                         uint64_t{kRingSlots} * 64),
                 .ring_slots = kRingSlots,
                 .delivery_cells = memory_.GrantOf(
                     memory_.area().delivery_cells,
                     logstore::kDeliveryCells * logstore::kCellBytes)}),
        announcer_({.epoch = kEpoch,
                    .start = primary->state().log.begin(),
                    .delivery_cells = memory_.area().delivery_cells,
                    .ring = memory_.area().rings[0],
                    .ring_slots = kRingSlots}),
        staging_(static_cast<std::byte*>(
            std::aligned_alloc(64, size_t{kRingSlots} * 64))) {
    memory_.GrantSegments(&sender_);
  }
  ~Backup() { std::free(staging_); }
  Backup(const Backup&) = delete;
  Backup& operator=(const Backup&) = delete;

  chain::ReplicaState& state() { return memory_.state(); }
  Memory& memory() { return memory_; }
  metadata_mcast::DeliverySender& sender() { return sender_; }

  // All of [posted, end), as often as it takes.
  void Deliver(const chain::ReplicaState& primary) {
    while (sender_.posted() < primary.log.end()) {
      const size_t count = sender_.Plan(
          primary.log, primary.log.end(), primary.committed, batch_.data(),
          batch_.size(), {.base = staging_, .slots = kRingSlots}, 0);
      WHALE_CHECK(count > 0);
      memory_.Execute(batch_.data(), count);
      sender_.OnCompletion();
    }
  }
  void Announce() {
    announcer_.Announce(state().log, state().history,
                        [this](const metadata_mcast::Announced& record) {
                          state().Learn(record.lsn, record.header, record.hash,
                                        record.by_value);
                        });
    state().backup_log.OnAnnouncedUpTo(announcer_.announced());
    state().committed =
        std::max(state().committed, announcer_.known_committed());
  }
  // All values are here: the ring is free again.
  void Release() {
    sender_.OnProgress(announcer_.ReleaseRing(state().backup_log.durable()));
  }

 private:
  Memory memory_;
  metadata_mcast::DeliverySender sender_;
  metadata_mcast::Announcer announcer_;
  std::byte* const staging_;
  std::array<fabric::WorkRequest, 256> batch_;
};

class Cluster final : private primary::OrderingEffects,
                      private primary::CommitEffects {
 public:
  explicit Cluster(uint64_t value_bytes)
      : value_(value_bytes, 'v'),
        committer_(&primary_.state(),
                   {.epoch = kEpoch,
                    .committed_start = primary_.state().log.begin(),
                    .backups = 2,
                    .mirrors = 1},
                   this),
        ordering_(&primary_.state(),
                  {.epoch = kEpoch,
                   .start = primary_.state().log.begin(),
                   .window_bytes = kSegments * kSegmentBytes},
                  this),
        mirror_(&primary_, true),
        tail_(&primary_, false),
        forwarder_({.epoch = kEpoch,
                    .start = primary_.state().log.begin(),
                    .chain_cells = tail_.memory().GrantOf(
                        tail_.memory().area().chain_cells, 128)}) {
    tail_.memory().GrantSegments(&forwarder_);
    const Lsn begin = primary_.state().log.begin();
    for (size_t b = 0; b < 2; ++b) committer_.SetStart(b, begin, begin);
    ordering_.set_writable_segment(primary_.First() + kSegments - 1);
    WHALE_CHECK(ordering_.BeginEpoch(begin));
    ordering_.OpenSession({.session = kSession});
    for (size_t i = 0; i < kKeys; ++i) {
      keys_.push_back("user" + std::to_string(1'000'000'000'000 + i));
      hashes_.push_back(HashKey(keys_.back()));
    }
  }

  bool HasRoomFor(uint64_t records) {
    const uint64_t bytes =
        records * logstore::RecordBytes(keys_[0].size(), value_.size());
    return primary_.state().log.end() + bytes + 2 * kSegmentBytes <
           primary_.state().log.begin() + kSegments * kSegmentBytes;
  }

  // Takes a batch all the way. Returns what `timed` took, in seconds.
  double Step(uint64_t records, Part timed) {
    const auto run = [&](Part part, auto work) {
      const auto begin = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> took =
          std::chrono::steady_clock::now() - begin;
      if (part == timed) seconds_ = took.count();
    };
    run(Part::kOrdering, [&] { Submit(records); });
    committer_.OnOwnDurable(primary_.state().log.end());
    primary_.state().backup_log.OnAnnouncedUpTo(primary_.state().log.end());
    run(Part::kDeliverValues, [&] { mirror_.Deliver(primary_.state()); });
    run(Part::kDeliverMetadata, [&] { tail_.Deliver(primary_.state()); });
    run(Part::kCommit, [&] {
      committer_.OnDelivered(0, mirror_.sender());
      committer_.OnDelivered(1, tail_.sender());
      committer_.Advance();
    });
    run(Part::kAnnounceValues, [&] { mirror_.Announce(); });
    run(Part::kAnnounceMetadata, [&] { tail_.Announce(); });
    run(Part::kForward, [&] { Forward(); });
    run(Part::kTakeChain, [&] { TakeChain(); });
    mirror_.state().committed = tail_.state().committed =
        primary_.state().committed;
    run(Part::kApply, [&] { tail_.state().Apply(); });
    mirror_.state().Apply();
    mirror_.Release();
    tail_.Release();
    ordering_.set_replicated(primary_.state().log.end());
    WHALE_CHECK(tail_.state().Applied() == primary_.state().log.end());
    return seconds_;
  }

 private:
  void Submit(uint64_t records) {
    for (uint64_t i = 0; i < records; ++i) {
      const size_t key = ++requests_ % kKeys;
      ordering_.Submit({.session = kSession,
                        .request = RequestNumber(requests_),
                        .hash = hashes_[key],
                        .key = keys_[key],
                        .value = value_,
                        .value_bytes = static_cast<uint32_t>(value_.size())});
    }
  }
  void Forward() {
    while (forwarder_.sent() < mirror_.state().backup_log.durable()) {
      const size_t count = forwarder_.Plan(
          mirror_.state().log, mirror_.state().backup_log.durable(),
          batch_.data(), batch_.size(), 0, false);
      if (count == 0) continue;  // passed over what needs no sending
      tail_.memory().Execute(batch_.data(), count);
      forwarder_.OnCompletion();
    }
  }
  void TakeChain() {
    const auto cell = metadata_mcast::NewestWhole<chain::ChainCell>(
        tail_.memory().area().chain_cells, kEpoch);
    WHALE_CHECK(cell.has_value());
    tail_.state().TakeChain(*cell);
  }

  void AnswerWhenCommitted(const primary::Write& write, wire::Result result,
                           uint64_t version, Lsn after,
                           primary::ReplyKind kind) override {
    committer_.Wait(write, result, version, after, kind);
  }
  void Refuse(const primary::Write&, wire::Result, wire::Reason) override {
    WHALE_CHECK(false);
  }
  bool OthersMayLack(Lsn) const override { return false; }
  void StartPull(const primary::Write&, Lsn, std::byte*) override {
    WHALE_CHECK(false);
  }
  void Answer(const primary::WaitingReply& reply) override {
    benchmark::DoNotOptimize(reply.version);
  }

  const std::string value_;
  Memory primary_;
  primary::Committer committer_;
  primary::Ordering ordering_;
  Backup mirror_, tail_;
  chain::Forwarder forwarder_;
  std::vector<std::string> keys_;
  std::vector<uint64_t> hashes_;
  uint64_t requests_ = 0;
  double seconds_ = 0;
  std::array<fabric::WorkRequest, 256> batch_;
};

void CoreStep(benchmark::State& state, Part part) {
  const uint64_t records = state.range(0);
  const uint64_t value_bytes = state.range(1);
  auto cluster = std::make_unique<Cluster>(value_bytes);
  for (auto _ : state) {
    if (!cluster->HasRoomFor(records)) {
      cluster = std::make_unique<Cluster>(value_bytes);
    }
    state.SetIterationTime(cluster->Step(records, part));
  }
  state.SetItemsProcessed(state.iterations() * records);
}

void RegisterAll() {
  for (size_t i = 0; i < kPartNames.size(); ++i) {
    benchmark::RegisterBenchmark(kPartNames[i], CoreStep, static_cast<Part>(i))
        ->ArgNames({"records", "value_bytes"})
        ->Args({1, 100})
        ->Args({32, 100})
        ->Args({32, 4096})
        ->MinTime(0.05)
        ->UseManualTime();
  }
}

}  // namespace
}  // namespace whale

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  whale::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

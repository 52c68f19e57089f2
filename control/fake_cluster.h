// For tests: a coordinator's core among servers that do what directives say,
// over a store and streams in memory.
//
// One message at a time moves, so that a test can fail anything in every step.
// What must always hold is checked at every message: see FakeCluster::Check.
#ifndef WHALE_CONTROL_FAKE_CLUSTER_H_
#define WHALE_CONTROL_FAKE_CLUSTER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "control/coordinator_core.h"

namespace whale::control {

inline constexpr uint64_t kTestSegmentBytes = 8 << 20;
inline constexpr int64_t kMs = 1'000'000;

// A server as the coordinator sees it: its pool outlives its process.
class FakeServer {
 public:
  FakeServer(uint32_t id, uint64_t incarnation);

  // The process ends and another begins on the same pool.
  void Restart(uint64_t incarnation);
  // Does what the directive says. Returns whether anything changed.
  bool Obey(const proto::Directive& directive);
  // The report of now, with the next sequence number.
  proto::ServerReport Report();
  // Appends to an active shard, as if it were delivered here.
  void Append(uint32_t shard, uint64_t bytes, uint64_t committed);
  // What a peer has delivered and this server has not looked at yet; it
  // announces it when it ends its epoch as a receiver.
  void Deliver(uint32_t shard, uint64_t bytes) { delivered_[shard] += bytes; }

  proto::ShardReport& shard(uint32_t shard) { return shards_[shard]; }
  uint32_t id() const { return base.server_id(); }
  uint64_t incarnation() const { return base.incarnation(); }

  proto::ServerReport base;  // what stays the same from report to report
  bool alive = true;
  bool deaf = false;  // takes no directive
  uint64_t lease_until_sequence = 0;
  std::string refused;
  std::vector<std::string> violations;  // of the protocol, by the coordinator

 private:
  bool ObeyShard(const proto::ShardDirective& directive);
  void Adopt(const proto::ShardDirective& directive, proto::ShardReport* own);

  std::map<uint32_t, proto::ShardReport> shards_;
  std::map<uint32_t, uint64_t> delivered_;  // bytes by shard
};

class FakeCluster {
 public:
  explicit FakeCluster(const ClusterOptions& options);

  // ---- what happens
  // All servers 1 to n come up, blank, and the cluster settles.
  void Form();
  FakeServer& AddServer(uint32_t id);
  void Kill(uint32_t id);     // its stream closes
  void Start(uint32_t id);    // after Kill: the next process, same pool
  void Restart(uint32_t id);  // both
  void RestartCoordinator();
  void Say(uint32_t id);  // the server sends its report
  void Advance(int64_t ns);

  // ---- messages
  // Moves one message; false: there is none.
  bool Step();
  void Settle();
  // Time passes, everybody alive reports, all is delivered.
  void Rounds(int count);

  // ---- what is seen
  CoordinatorCore& core() { return *core_; }
  FakeServer& server(uint32_t id) { return *servers_.at(id); }
  const proto::StoredState& stored() const { return *store_; }
  const proto::StoredShard& stored_shard(int s) const {
    return store_->shards(s);
  }
  bool formed() const { return store_.has_value(); }
  bool AllActive() const;
  const proto::ShardEntry& entry(int s) const { return core_->map().shards(s); }
  // The newest directive that was sent to the server, and about a shard.
  const proto::Directive& directive(uint32_t id) { return sent_[id]; }
  proto::ShardDirective directive(uint32_t id, uint32_t shard);
  std::vector<std::string> Violations() const;
  std::vector<uint64_t> sessions;

  int64_t now_ns = 1'000'000'000;
  // Effects; tests that stand between core and world call it themselves.
  void Execute(Effects effects);

  // Faults.
  absl::Status store_answer;        // not ok: what the store says
  std::set<uint32_t> lost_reports;  // of these servers, reports are lost
  bool duplicate_messages = false;

 private:
  void Violation(std::string what) { violations_.push_back(std::move(what)); }
  void StoreNow(const StoreState& store);
  void CheckStore(const proto::StoredState& next);
  void CheckDirective(const SendDirective& send);
  // Whether the process, as it is, serves in the directive's epoch.
  bool MayServe(const SendDirective& send,
                const proto::ShardDirective& directive);
  void Deliver(const SendDirective& send);

  CoreOptions options_;
  std::unique_ptr<CoordinatorCore> core_;
  std::optional<proto::StoredState> store_;
  std::map<uint32_t, std::unique_ptr<FakeServer>> servers_;
  std::map<uint32_t, proto::Directive> sent_;
  std::deque<absl::AnyInvocable<void()>> messages_;
  int coordinator_life_ = 0;
  uint64_t next_incarnation_ = 100;
  // (shard, epoch): the configuration, as stored first.
  std::map<std::pair<uint32_t, uint64_t>, std::string> configurations_;
  // (shard, epoch, server): adopted it at some time.
  std::set<std::tuple<uint32_t, uint64_t, uint32_t>> adopted_;
  std::vector<std::string> violations_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_FAKE_CLUSTER_H_

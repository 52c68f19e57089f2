// A whole cluster in one world: servers, coordinator, clients, and the control
// channel between them.
//
// The control channel is a stream per server process and direction: messages
// may be late or lost, never out of order; a cut link between two nodes stops
// it like the data connections.
//
// Thread-safety: none. Ownership: owns everything but the world.
#ifndef WHALE_SIM_CLUSTER_H_
#define WHALE_SIM_CLUSTER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/options.h"
#include "sim/checkers/watermarks.h"
#include "sim/client_node.h"
#include "sim/coordinator_node.h"
#include "sim/server_node.h"
#include "sim/sim_config_store.h"
#include "sim/sim_network.h"
#include "sim/world.h"

namespace whale::sim {

inline constexpr uint32_t kCoordinatorNode = 1000;
inline constexpr uint32_t kFormerCoordinatorNode = 1001;
inline constexpr uint32_t kFirstClientNode = 2000;

struct ClusterSetup {
  uint32_t servers = 3;
  uint32_t replicas = 0;  // of each shard; 0: as many as servers
  uint32_t shards = 2;
  uint64_t segment_bytes = 256 << 10;
  uint32_t segment_slots = 24;
  uint32_t ring_slots = 256;
  pmem::Survives survives = pmem::Survives::kProcess;
  NetworkOptions network;
  uint32_t mirrors = 1;
  std::optional<uint32_t> min_replicas;  // none: the default
  uint64_t by_value_max_bytes = 256;
  uint64_t window_bytes = 1 << 20;
  uint64_t lease_us = 300'000;
  uint64_t copy_bytes_per_second = 256 << 20;
  int64_t session_lease_ns = 60 * kSecond;
  int64_t max_drift_ppm = 0;
  double control_loss = 0.0;
  int64_t control_delay_ns = 500 * kMicrosecond;

  uint32_t Replicas() const { return replicas == 0 ? servers : replicas; }
};

class Cluster {
 public:
  Cluster(World* world, const ClusterSetup& setup);
  ~Cluster();

  World& world() { return *world_; }
  SimNetwork& network() { return network_; }
  const ClusterSetup& setup() const { return setup_; }
  // The one that leads, or is about to.
  CoordinatorNode& coordinator() { return *coordinators_[leader_]; }
  SimConfigStore& store() { return store_; }
  size_t server_count() const { return servers_.size(); }
  ServerNode& server(size_t index) { return *servers_[index]; }
  // All node numbers that can fail or be cut off, the coordinator's included.
  std::vector<uint32_t> Nodes() const;

  // A new client process, on a node of its own.
  std::shared_ptr<ClientNode> AddClient();

  // Starts a server that is down; its failure to recover is `*failure`.
  void StartServer(size_t index);
  void CrashServer(size_t index, bool power);
  // In mid-turn; `then` runs when it has happened.
  void CrashServerAfter(size_t index, uint64_t effects, bool power,
                        std::function<void()> then);
  // Not empty: a server could not recover, or was refused.
  std::string Failure() const;
  // Every replica of every shard serves, and has all values of the epochs
  // before: any mirrors of them may be lost.
  bool IsWhole();
  // The same, but some may lack values whose metadata they have.
  bool IsComplete();
  // What the coordinator sends this node takes so much longer.
  void DelayDirectives(uint32_t node, int64_t delay_ns) {
    directive_delay_ns_[node] = delay_ns;
  }
  // The coordinator that leads loses the store and all servers but this one,
  // which hears nothing of the next leader until EndFormer. False: there is no
  // leader, or another server is with a former one already.
  bool BeginFormer(size_t index, int64_t term_ns);
  void EndFormer();
  // No more trouble on the control channel.
  void Calm();

 private:
  // All members of all shards, and as many as there shall be.
  template <typename Predicate>
  bool AllServe(Predicate and_has);
  // To the readable trace: what replicas and the store have become.
  void PrintChanges(uint32_t node, const proto::ServerReport& report);
  void ToCoordinator(ServerNode* server, const proto::ServerReport& report);
  void ToServer(size_t coordinator, const control::SendDirective& directive);
  // The coordinator that this server is connected to: its node, and itself.
  uint32_t CoordinatorNodeOf(uint32_t node) const {
    return node == with_former_ ? kFormerCoordinatorNode : kCoordinatorNode;
  }
  CoordinatorNode& CoordinatorOf(uint32_t node) {
    return *coordinators_[node == with_former_ ? 1 - leader_ : leader_];
  }
  void StreamBreaks(ServerNode& server);
  // When the next message of a stream arrives; -1: it is lost.
  int64_t Arrival(uint32_t from, uint32_t to, int64_t* last_ns);
  SimClock MakeClock();

  World* const world_;
  ClusterSetup setup_;
  SimNetwork network_;
  SimConfigStore store_;
  std::array<SimClock, 2> coordinator_clocks_;
  // One leads; the other has done so, and may not have noticed that it is over.
  std::array<std::unique_ptr<CoordinatorNode>, 2> coordinators_;
  size_t leader_ = 0;
  uint32_t with_former_ = 0;  // the server that is still with it; 0: none
  std::vector<std::unique_ptr<ServerNode>> servers_;
  std::map<uint32_t, std::weak_ptr<ClientNode>> clients_;
  // Last arrival per stream (server, incarnation).
  std::map<std::pair<uint32_t, uint64_t>, int64_t> reports_until_;
  std::map<std::pair<uint32_t, uint64_t>, int64_t> directives_until_;
  std::map<uint32_t, int64_t> directive_delay_ns_;
  // Per node and shard: what the trace said last.
  std::map<std::pair<uint32_t, uint32_t>, std::string> printed_;
  uint32_t next_client_node_ = kFirstClientNode;
  std::string failure_;
  checkers::Watermarks watermarks_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_CLUSTER_H_

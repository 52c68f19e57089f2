// The network of a simulated world: what SimFabrics send each other, and every
// way in which that can go wrong that fabric/fabric.h permits.
//
// A request is posted, later read from local memory, later received at the
// peer, later lands there word by word, and is completed later still or, where
// the flush method does not promise otherwise, before it landed. Within one
// direction of a connection requests are received in the order posted; READs,
// CASs and FLUSHes are carried out once the WRITEs before them have landed,
// while later requests go on. Links can be cut one way, slowed and healed; a
// connection that makes no headway for the retry time dies.
//
// Thread-safety: none. Ownership: outlives its fabrics.
#ifndef WHALE_SIM_SIM_NETWORK_H_
#define WHALE_SIM_SIM_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fabric/fabric.h"
#include "sim/sim_memory.h"
#include "sim/world.h"

namespace whale::sim {

class SimFabric;

struct NetworkOptions {
  int64_t min_delay_ns = 1 * kMicrosecond;
  int64_t max_delay_ns = 10 * kMicrosecond;
  // Some requests take up to so long instead.
  double slow_chance = 0.0;
  int64_t slow_delay_ns = 2 * kMillisecond;
  // From received to landed, per piece.
  int64_t max_land_delay_ns = 2 * kMicrosecond;
  double slow_land_chance = 0.0;
  int64_t slow_land_delay_ns = 500 * kMicrosecond;
  uint32_t max_pieces = 4;
  double shuffle_chance = 0.2;  // pieces of one WRITE out of order
  size_t queue_depth = 128;
  size_t message_depth = 64;
  size_t receive_buffers = 512;
  int64_t retry_ns = 100 * kMillisecond;
  // What each fabric says that it can have; nobody counts them here.
  size_t max_connections = 1 << 20;
  fabric::FlushMethod flush_method = fabric::FlushMethod::kNone;
};

struct Region {
  uint64_t number = 0;  // in the world
  // Ranges that were granted; a grant's key is the region's number and the
  // position here.
  std::vector<std::pair<uint64_t, uint64_t>> grants;  // offset, length
  SimFabric* fabric = nullptr;
  std::byte* base = nullptr;
  size_t length_bytes = 0;
  fabric::Access access;
  SimMemory* memory = nullptr;  // null: DRAM that no crash outlives
  bool registered = true;

  uint64_t address() const { return number << 40; }
};

// One posted request or message, until it is completed.
struct Work {
  fabric::WorkRequest request;
  bool is_message = false;
  std::vector<std::byte> data;  // of WRITEs and messages; what a READ fetched
  bool captured = false;        // `data` is there
  int64_t ready_ns = 0;         // received not before
  bool done = false;
  fabric::Outcome outcome = fabric::Outcome::kOk;
};

// One side of a connection: what it sends, and what lands in its memory.
struct Half {
  enum class State : uint8_t { kConnecting, kOffered, kOpen, kDead };

  SimFabric* fabric = nullptr;  // null once that is gone
  uint32_t node = 0;
  fabric::ConnectionId id;
  State state = State::kConnecting;
  std::weak_ptr<Half> peer;

  // Sending.
  std::deque<std::shared_ptr<Work>> outstanding;  // not completed, in order
  std::deque<std::shared_ptr<Work>> wire;         // not received, in order
  bool pumping = false;
  bool wire_cut = false;  // nothing more of this side is received
  int64_t stuck_since_ns = -1;
  size_t used_slots = 0;
  size_t unfreed_slots = 0;  // completed silently, freed by the next signaled
  size_t open_messages = 0;

  // Landing of what the peer wrote.
  struct Piece {
    std::shared_ptr<Region> region;
    size_t offset;
    std::vector<std::byte> data;
    int64_t at_ns;
  };
  std::deque<Piece> landing;
  bool landing_scheduled = false;
  int64_t last_landing_ns = 0;
  bool fenced = false;  // nothing more lands

  std::vector<std::byte> hello;  // the peer's
};
using HalfPtr = std::shared_ptr<Half>;

class SimNetwork {
 public:
  SimNetwork(World* world, const NetworkOptions& options)
      : world_(world), options_(options) {}

  World& world() { return *world_; }
  const NetworkOptions& options() const { return options_; }

  // Called when a node has something to look at (a completion, a message).
  void set_waker(std::function<void(uint32_t node)> waker) {
    waker_ = std::move(waker);
  }
  void WakeNode(uint32_t node) {
    if (waker_) waker_(node);
  }

  // --- Faults ---
  // Nothing sent from one node reaches the other while the link is cut.
  void CutLink(uint32_t from, uint32_t to) { cut_[{from, to}] = true; }
  void HealLink(uint32_t from, uint32_t to) { cut_.erase({from, to}); }
  void HealAllLinks() { cut_.clear(); }
  bool LinkIsCut(uint32_t from, uint32_t to) const {
    return cut_.contains({from, to});
  }
  // Delays of what this node sends and receives are multiplied; 1 is normal.
  void SetSlowness(uint32_t node, int64_t factor) { slowness_[node] = factor; }
  // Breaks one open connection, chosen at random; false if there is none.
  bool KillRandomConnection();
  // Connections with unfinished work, for liveness failures.
  std::string Unfinished() const;
  // Something that node `from` wrote is still to land in the memory of `to`.
  bool MayLand(uint32_t from, uint32_t to) const;
  // Random trouble is over: no more slow requests.
  void Calm();

  // --- For SimFabric ---
  void Attach(SimFabric* fabric);
  // `crashed`: of what is landing in its memory an arbitrary part stays.
  void Detach(SimFabric* fabric, bool crashed);
  std::shared_ptr<Region> AddRegion(Region region);
  uint64_t NextConnection() { return ++last_connection_; }
  void Connect(const HalfPtr& half, const std::string& address,
               std::vector<std::byte> hello);
  void Accept(const HalfPtr& half, std::vector<std::byte> hello);
  void Reject(const HalfPtr& half, const std::string& reason);
  // New work at the end of `half`'s wire.
  void Send(const HalfPtr& half, std::shared_ptr<Work> work);
  // This side ends the connection (or died): local memory is not read any
  // more, the peer hears of it.
  void End(const HalfPtr& half, const std::string& reason);
  // Nothing of the peer lands any more.
  void FenceOff(const HalfPtr& half);

 private:
  int64_t Delay(uint32_t from, uint32_t to);
  void Pump(const HalfPtr& half);
  void SchedulePump(const HalfPtr& half, int64_t at_ns);
  void Stuck(const HalfPtr& half, int64_t again_ns, const char* reason);
  // False: try again later (no receive buffer).
  bool Receive(const HalfPtr& from, const std::shared_ptr<Work>& work);
  void ReceiveWrite(const HalfPtr& from, const HalfPtr& to,
                    const std::shared_ptr<Work>& work);
  void ReceiveFetch(const HalfPtr& from, const HalfPtr& to,
                    const std::shared_ptr<Work>& work);
  void Execute(const HalfPtr& from, const HalfPtr& to,
               const std::shared_ptr<Work>& work);
  void Capture(const HalfPtr& from, const std::shared_ptr<Work>& work);
  std::shared_ptr<Region> Check(const HalfPtr& to,
                                const fabric::WorkRequest& request,
                                size_t* offset) const;
  void Land(const HalfPtr& to, const std::shared_ptr<Region>& region,
            size_t offset, std::vector<std::byte> data);
  void LandNext(const HalfPtr& to);
  static void Store(const Half::Piece& piece);
  // The answer to `work` travels back; then it is done.
  void Answer(const HalfPtr& from, const HalfPtr& to,
              const std::shared_ptr<Work>& work, fabric::Outcome outcome,
              int64_t not_before_ns);
  void Finish(const HalfPtr& from, const std::shared_ptr<Work>& work,
              fabric::Outcome outcome, uint32_t answering_node,
              int64_t since_ns);
  // The peer of a side that is gone hears of it.
  void TellPeer(const HalfPtr& half, const std::string& reason);

  World* const world_;
  NetworkOptions options_;
  std::function<void(uint32_t)> waker_;
  std::map<std::string, SimFabric*> fabrics_;
  std::map<uint64_t, std::shared_ptr<Region>> regions_;
  std::map<std::pair<uint32_t, uint32_t>, bool> cut_;
  std::map<uint32_t, int64_t> slowness_;
  uint64_t last_connection_ = 0;
  uint64_t last_region_ = 0;

  friend class SimFabric;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_NETWORK_H_

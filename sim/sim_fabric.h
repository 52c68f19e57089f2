// The simulator's Fabric: the contract of fabric/fabric.h over a SimNetwork.
//
// As hostile as the contract permits; see sim_network.h. Wait() runs the world
// itself, so that tests of a single thread (the conformance suite) work; in a
// simulated cluster nodes are stepped by events and nobody waits.
//
// Thread-safety: none (Wake included: there is one thread). Ownership: the
// network, the world and the memory outlive the fabric.
#ifndef WHALE_SIM_SIM_FABRIC_H_
#define WHALE_SIM_SIM_FABRIC_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fabric/fabric.h"
#include "sim/sim_network.h"

namespace whale::sim {

class SimFabric final : public fabric::Fabric {
 public:
  // `memory`: the node's pool, if it has one; may be null. A node has one
  // fabric at a time.
  SimFabric(SimNetwork* network, uint32_t node, SimMemory* memory);
  ~SimFabric() override;

  // The process dies here and now; nothing it does afterwards reaches anybody.
  void Crash();
  // Called before work or a message is posted: where a crash makes a
  // difference.
  void set_crash_point(std::function<void()> crash_point) {
    crash_point_ = std::move(crash_point);
  }

  std::string_view name() const override { return "sim"; }
  std::string address() const override;
  size_t max_connections() const override;
  uint32_t node() const { return node_; }

  // All that was posted and sent so far.
  struct Sent {
    uint64_t bytes = 0;  // of WRITEs and messages
    uint64_t requests = 0;
    uint64_t messages = 0;
  };
  const Sent& sent() const { return sent_; }

  absl::StatusOr<fabric::RegionId> Register(
      const fabric::Memory& memory, const fabric::Access& access) override;
  void Deregister(fabric::RegionId region) override;
  fabric::Grant MakeGrant(fabric::RegionId region, uint64_t offset_bytes,
                          uint64_t length_bytes) const override;

  fabric::ConnectionId Connect(const std::string& address,
                               std::span<const std::byte> hello) override;
  void Accept(fabric::ConnectionId connection,
              std::span<const std::byte> hello) override;
  void Reject(fabric::ConnectionId connection,
              std::string_view reason) override;
  void Close(fabric::ConnectionId connection) override;
  fabric::Revocation Revoke(fabric::ConnectionId connection) override;
  fabric::FlushMethod flush_method(
      fabric::ConnectionId connection) const override;

  size_t FreeSlots(fabric::ConnectionId connection) const override;
  fabric::PostResult Post(
      fabric::ConnectionId connection,
      std::span<const fabric::WorkRequest> requests) override;
  std::byte* BeginMessage(fabric::ConnectionId connection,
                          size_t length_bytes) override;
  void EndMessage(fabric::ConnectionId connection,
                  size_t length_bytes) override;
  void FlushMessages() override {}
  size_t Poll(std::span<fabric::Event> events) override;
  void Wait(int64_t deadline_ns) override;
  void Wake() override;

  // --- For the network ---
  SimMemory* memory() const { return memory_; }
  bool HasReceiveBuffer() const;
  void OfferConnection(const HalfPtr& half);
  void PushConnected(const HalfPtr& half);
  void PushConnectFailed(const HalfPtr& half, const std::string& why);
  void PushMessage(const HalfPtr& half, std::vector<std::byte> data);
  void PushImmediate(const HalfPtr& half, uint32_t immediate,
                     uint32_t length_bytes);
  // Completes from the front whatever is done; an error kills the connection.
  void CompleteDone(const HalfPtr& half);
  // The first unfinished request fails, all behind it are canceled.
  void Kill(const HalfPtr& half, fabric::Outcome first,
            const std::string& detail);
  bool IsRegistered(const void* local, size_t length_bytes) const;
  // Connections that are not dead, and all there ever were (the dead may still
  // be landing).
  const std::map<uint64_t, HalfPtr>& connections() const {
    return connections_;
  }
  const std::map<uint64_t, HalfPtr>& all_connections() const { return all_; }

 private:
  struct Ready {
    fabric::Event event;
    HalfPtr half;
    std::vector<std::byte> data;
    std::string detail;
    size_t freed_slots = 0;
    bool takes_buffer = false;
  };

  HalfPtr Find(fabric::ConnectionId id) const;
  void Push(Ready ready);
  void PushCompletion(const HalfPtr& half, const Work& work, size_t freed);
  void Forget(const HalfPtr& half);

  SimNetwork* const network_;
  const uint32_t node_;
  SimMemory* const memory_;
  bool crashed_ = false;
  std::map<uint64_t, HalfPtr> connections_;  // by id; not the dead
  std::map<uint64_t, HalfPtr> all_;
  std::map<uint64_t, std::shared_ptr<Region>> regions_;
  std::deque<Ready> ready_;
  std::vector<Ready> taken_;  // by the last Poll
  Sent sent_;
  size_t used_buffers_ = 0;
  HalfPtr message_half_;
  std::vector<std::byte> message_;
  bool woken_ = false;
  std::function<void()> crash_point_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_FABRIC_H_

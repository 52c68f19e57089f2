// A fabric that uses all the freedom the contract gives, to find upper layers
// that lean on what one provider happens to do.
//
// It wraps any provider and, by chance and seed:
//   * carries requests and messages out later than they were posted, each
//     connection in order, but READs, CASs and FLUSHes may be overtaken by
//     what was posted behind them;
//   * holds events back, reorders those of different connections, and within
//     one a completion against a message; gives few at a time;
//   * refuses work with kQueueFull (and FreeSlots 0, BeginMessage nullptr) for
//     a while.
// Completions of a connection still come in the order posted, kConnected
// first, kDisconnected last. Requests and events move on in Poll, Wait and
// Advance only, and everything comes if these are called often enough.
//
// Thread-safety: as Fabric. Ownership: borrows the provider, which must not be
// used otherwise. Deterministic where the provider is.
#ifndef WHALE_FABRIC_HOSTILE_H_
#define WHALE_FABRIC_HOSTILE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/prng.h"
#include "fabric/fabric.h"

namespace whale::fabric {

struct HostileOptions {
  uint64_t seed = 1;
  // Chance, at each Poll and for each connection, that its oldest waiting
  // request or message is carried out, and that an event is handed out.
  double carry_out = 0.5;
  double hand_out = 0.5;
  // Chance that a later request overtakes a READ, CAS or FLUSH.
  double overtake = 0.3;
  // Chance, at each Poll, that a connection starts to refuse work; it stops at
  // a Poll with chance one half.
  double refuse = 0.02;
};

class HostileFabric final : public Fabric {
 public:
  HostileFabric(Fabric* provider, const HostileOptions& options);

  std::string_view name() const override { return provider_->name(); }
  std::string address() const override { return provider_->address(); }
  size_t max_connections() const override {
    return provider_->max_connections();
  }
  absl::StatusOr<RegionId> Register(const Memory& memory,
                                    const Access& access) override;
  void Deregister(RegionId region) override;
  Grant MakeGrant(RegionId region, uint64_t offset_bytes,
                  uint64_t length_bytes) const override {
    return provider_->MakeGrant(region, offset_bytes, length_bytes);
  }
  ConnectionId Connect(const std::string& address,
                       std::span<const std::byte> hello) override;
  void Accept(ConnectionId connection,
              std::span<const std::byte> hello) override;
  void Reject(ConnectionId connection, std::string_view reason) override;
  void Close(ConnectionId connection) override;
  Revocation Revoke(ConnectionId connection) override;
  FlushMethod flush_method(ConnectionId connection) const override {
    return provider_->flush_method(connection);
  }
  size_t FreeSlots(ConnectionId connection) const override;
  PostResult Post(ConnectionId connection,
                  std::span<const WorkRequest> requests) override;
  std::byte* BeginMessage(ConnectionId connection,
                          size_t length_bytes) override;
  void EndMessage(ConnectionId connection, size_t length_bytes) override;
  void FlushMessages() override;
  size_t Poll(std::span<Event> events) override;
  void Wait(int64_t deadline_ns) override;
  void Wake() override { provider_->Wake(); }

  // What Poll does but for handing out events.
  void Advance();

 private:
  // A request or message that was posted here.
  struct Work {
    bool is_message = false;
    bool passed_on = false;  // the provider has it
    bool done = false;       // ... and has completed it
    Outcome outcome = Outcome::kOk;
    WorkRequest request;
    std::array<std::byte, kMaxInlineBytes> inline_data;
    std::string message;
  };
  struct Held {
    Event event;
    std::string payload;  // of data or detail
    uint32_t freed_slots = 0;
  };
  struct Connection {
    bool open = false;  // kConnected was handed out
    bool dead = false;  // the provider's last event came
    bool refusing = false;
    Outcome error = Outcome::kRemoteError;  // why it died, as far as known
    size_t depth = 0;
    size_t used_slots = 0;
    uint32_t unsignaled = 0;
    uint64_t first = 1;      // number of the oldest in `works`
    std::deque<Work> works;  // whose completions are not yet made up
    std::deque<Held> completions;
    std::deque<Held> others;
  };

  const Connection* Find(ConnectionId id) const;
  Connection* Find(ConnectionId id);
  void TakeFromProvider();
  void OnEvent(const Event& event);
  void OnCompleted(Connection& c, const Event& event);
  void CarryOut(ConnectionId id, Connection& c, double chance);
  Work* NextToPassOn(Connection& c);
  // False: it breaks a rule, and fails in its turn; what it overtook would
  // fail, too, and what overtook it would not.
  bool KeepsTheRules(const Work& work) const;
  bool PassOn(ConnectionId id, Connection& c, Work& work);
  void Complete(ConnectionId id, Connection& c);
  void CancelRest(ConnectionId id, Connection& c);
  void MakeUpCompletion(ConnectionId id, Connection& c, const Work& work);
  size_t HeldEvents() const;
  bool HandOut(Connection& c, Event* event);

  Fabric* const provider_;
  const HostileOptions options_;
  Prng prng_;
  std::map<ConnectionId, Connection> connections_;
  std::map<uint64_t, Memory> registered_;  // by RegionId
  std::string open_message_;
  std::vector<std::unique_ptr<std::string>> handed_out_;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_HOSTILE_H_

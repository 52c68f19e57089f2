// The verbs provider's Fabric. Its behaviours are spread over files:
//   create.cc   opening the device, sizes, memory
//   connect.cc  Connect, Accept, Reject, Close, Revoke; how connections end
//   setup.cc    messages of the exchange
//   work.cc     one-sided work
//   messages.cc messages, credits
//   flush.cc    remote flush
//   complete.cc completions of the adapter
//   poll.cc     Poll
//   wait.cc     Wait, Wake, events of the device
#ifndef WHALE_FABRIC_VERBS_FABRIC_IMPL_H_
#define WHALE_FABRIC_VERBS_FABRIC_IMPL_H_

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/file_descriptor.h"
#include "fabric/verbs/connection.h"
#include "fabric/verbs/handles.h"
#include "fabric/verbs/queue_pair.h"
#include "fabric/verbs/receive_queue.h"
#include "fabric/verbs/regions.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric::verbs {

class VerbsFabricImpl final : public VerbsFabric {
 public:
  static absl::StatusOr<std::unique_ptr<VerbsFabric>> Create(
      const VerbsOptions& options, std::unique_ptr<Exchange> exchange);
  ~VerbsFabricImpl() override;

  std::string_view name() const override { return "verbs"; }
  std::string address() const override { return exchange_->address(); }
  size_t max_connections() const override { return connections_.size(); }
  std::string description() const override;
  Counters counters() const override { return counters_; }

  absl::StatusOr<RegionId> Register(const Memory& memory,
                                    const Access& access) override;
  void Deregister(RegionId region) override { regions_->Deregister(region); }
  Grant MakeGrant(RegionId region, uint64_t offset_bytes,
                  uint64_t length_bytes) const override {
    return regions_->MakeGrant(region, offset_bytes, length_bytes);
  }

  ConnectionId Connect(const std::string& address,
                       std::span<const std::byte> hello) override;
  void Accept(ConnectionId connection,
              std::span<const std::byte> hello) override;
  void Reject(ConnectionId connection, std::string_view reason) override;
  void Close(ConnectionId connection) override;
  Revocation Revoke(ConnectionId connection) override;
  FlushMethod flush_method(ConnectionId connection) const override;

  size_t FreeSlots(ConnectionId connection) const override;
  PostResult Post(ConnectionId connection,
                  std::span<const WorkRequest> requests) override;
  std::byte* BeginMessage(ConnectionId connection,
                          size_t length_bytes) override;
  void EndMessage(ConnectionId connection, size_t length_bytes) override;
  void FlushMessages() override;
  size_t Poll(std::span<Event> events) override;
  void Wait(int64_t deadline_ns) override;
  void Wake() override;

 private:
  // A connection's id is a sequence number and its slot; the slot of all ones
  // stands for none.
  static constexpr int kSlotBits = 15;
  static constexpr uint64_t kSlotMask = (uint64_t{1} << kSlotBits) - 1;
  static constexpr uint32_t kNoBuffer = ~uint32_t{0};
  // An event that Poll could not hand out at once.
  struct Queued {
    Event event;
    std::unique_ptr<std::string> payload;  // of data or detail
    uint32_t buffer = kNoBuffer;           // that data lies in
  };
  // Where a completion's event goes: straight to the caller of Poll as long as
  // there is room and nothing is queued before it.
  struct Output {
    std::span<Event> events;
    size_t count = 0;
  };

  VerbsFabricImpl(const VerbsOptions& options,
                  std::unique_ptr<Exchange> exchange);

  // --- create.cc ---
  absl::Status Init();
  absl::Status OpenDevice();
  absl::Status MakeQueues();
  uint32_t SendRequests() const;  // of one queue pair

  // --- connect.cc ---
  Connection* Find(ConnectionId id) const;
  Connection* FindOpen(ConnectionId id) const;
  Connection* NewConnection();  // nullptr: none is free
  // Queue pair and buffers.
  absl::Status Equip(Connection& c);
  absl::Status ConnectToPeer(Connection& c);
  void Opened(Connection& c);
  // Ends a connection with the events that are due. `first`: the outcome of
  // the oldest request that is not done.
  void Die(Connection& c, Outcome first, const std::string& detail);
  void FailRequests(Connection& c, Outcome first);
  // Nothing of the peer lands, and nothing of this end is read, any more.
  void Detach(Connection& c);
  void Remove(Connection& c);

  // --- setup.cc ---
  void TakeSetup();
  void OnCalled(const Exchange::Event& event);
  void OnSetup(Connection& c, const std::string& bytes);
  void OnHello(Connection& c, const ReceivedSetup& received);
  void OnAccept(Connection& c, const ReceivedSetup& received);
  SetupMessage MakeSetup(SetupKind kind, const Connection& c) const;
  void LimitHandshakes(int64_t now_ns);

  // --- work.cc ---
  bool HasRoom(const Connection& c,
               std::span<const WorkRequest> requests) const;
  ibv_send_wr& Append(Connection& c, SentWork::Kind kind, Opcode opcode);
  void Plan(Connection& c, const WorkRequest& request);
  void PlanRefused(Connection& c, const WorkRequest& request);
  void MarkSignaled(Connection& c, ibv_send_wr& wr);
  // Rings the doorbell for what was appended.
  void RingDoorbell(Connection& c);
  void MarkUnflushed(Connection& c);

  // --- messages.cc ---
  ibv_send_wr& AppendSend(Connection& c, SentWork::Kind kind, NoticeKind notice,
                          const void* data, size_t length_bytes);
  void SendNotices(Connection& c);
  void DueNotice(Connection& c);
  void SendDueNotices();
  // False: the peer broke the rules of credits.
  bool TakeCredits(Connection& c, uint32_t taken);
  void ReleaseBuffer(Connection* c, uint32_t buffer, bool counts);

  // --- flush.cc ---
  // How many of `requests` one flush at the start of them stands for.
  static size_t FlushRun(std::span<const WorkRequest> requests);
  void PlanFlush(Connection& c, std::span<const WorkRequest> run);
  void PlanReceiverFlush(Connection& c, std::span<const WorkRequest> run);
  bool OnFlushRequest(Connection& c, const std::byte* body, size_t length);
  bool OnFlushAnswer(Connection& c, const std::byte* body, size_t length);

  // --- complete.cc ---
  // Takes completions of the adapter into stash_; false: there are none.
  bool Refill();
  void DrainCompletions();
  void Handle(const ibv_wc& wc, Output* out);
  void OnReceive(const ibv_wc& wc, Output* out);
  bool OnNotice(Connection& c, const ibv_wc& wc, Output* out);
  void OnSendDone(const ibv_wc& wc, Output* out);
  void ReleaseDone(Connection& c, Output* out);
  Event* Push(const Event& event, Output* out, uint32_t buffer = kNoBuffer);
  Queued& PushQueued(EventKind kind, ConnectionId id);
  // Handles (or drops) what the adapter has reported of a connection.
  void TakeStashed(Connection& c, bool drop);

  // --- poll.cc ---
  void ReleaseHandedOut();
  void TakeQueued(Output* out);

  // --- wait.cc ---
  // Handshakes and events of the device, at most every millisecond.
  void Tick();
  void TakeDeviceEvents();
  bool FindWork();
  void SleepOnce(int64_t deadline_ns);

  VerbsOptions options_;
  std::unique_ptr<Exchange> exchange_;
  std::string path_;  // what was chosen
  Counters counters_;

  // In the order in which the adapter's objects depend on each other.
  ContextHandle context_;
  DomainHandle domain_;
  ChannelHandle channel_;
  CompletionQueueHandle completions_;
  std::unique_ptr<ReceiveQueue> receives_;
  std::optional<Regions> regions_;
  QueuePairConfig pair_config_;
  FlushCapabilities flush_capabilities_;

  std::vector<std::unique_ptr<Connection>> connections_;  // by slot
  std::vector<uint16_t> generations_;
  absl::flat_hash_map<uint32_t, Connection*> by_pair_;  // queue pair number
  absl::flat_hash_map<uint64_t, Connection*> by_call_;
  uint64_t next_sequence_ = 1;
  uint32_t handshakes_ = 0;

  // Completions taken from the adapter and not handled; from stash_next_ on.
  std::vector<ibv_wc> stash_;
  size_t stash_next_ = 0;
  std::deque<Queued> queue_;
  // What the last Poll handed out pointers to.
  struct HandedOut {
    ConnectionId connection;
    uint32_t buffer = 0;
  };
  std::vector<HandedOut> handed_out_;
  std::vector<std::unique_ptr<std::string>> payloads_;
  std::vector<ConnectionId> unflushed_;
  std::vector<ConnectionId> notices_due_;
  std::vector<ConnectionId> notices_now_;  // while they are sent
  uint32_t polls_ = 0;
  int64_t last_tick_ns_ = 0;

  FileDescriptor wake_;  // eventfd
  std::atomic<bool> woken_{false};
  std::atomic<bool> setup_waits_{false};
  uint32_t unacknowledged_ = 0;  // events of the channel
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_FABRIC_IMPL_H_

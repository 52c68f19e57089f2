// The inside of client::Core; its behaviours lie in one file each:
//
//   core.cc         operations: submit, step, finish
//   routing.cc      the map: shards, and which server an operation goes to
//   connections.cc  connect, hello, loss of a connection
//   requests.cc     an operation becomes a message: credits, buffer, window
//   replies.cc      a message becomes an outcome
//   sessions.cc     session, request numbers, keep-alive
//   retries.cc      back-off, deadlines, timers
//   messages.cc     the text of errors
#ifndef WHALE_CLIENT_CORE_IMPL_H_
#define WHALE_CLIENT_CORE_IMPL_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "client/buffers.h"
#include "client/core.h"
#include "client/operation.h"
#include "client/request_window.h"
#include "common/prng.h"

namespace whale::client {

// The way to one server. Never deleted while the core lives.
struct Link {
  enum class State : uint8_t { kIdle, kConnecting, kReady };

  uint32_t server = 0;
  uint64_t incarnation = 0;
  std::string address;  // empty: not in the newest map
  State state = State::kIdle;
  fabric::ConnectionId connection;
  uint32_t credits = 0;  // requests that may be unanswered
  uint32_t unanswered = 0;
  bool send_queue_full = false;
  int64_t retry_at_ns = 0;  // kIdle: not before; kConnecting: give up then
  uint32_t failures = 0;    // since the last reply
  std::string error;        // of the last loss
  OperationQueue queue;
  AttemptList attempts;
};

// One shard as the map has it, and this client's session in it.
struct Shard {
  enum class Session : uint8_t { kNone, kOpening, kOpen };

  uint16_t number = 0;
  uint64_t epoch = 0;
  bool active = false;
  std::string why_not;
  Link* primary = nullptr;
  std::vector<Link*> members;

  Session session_state = Session::kNone;
  uint64_t session = 0;
  int64_t session_used_ns = 0;
  uint32_t writes_in_flight = 0;  // with a number, of whatever session
  RequestWindow window;
  OperationQueue turn;  // writes without a number yet

  uint64_t seen_lsn = 0;        // what a session read must have seen
  uint64_t written_lsn = 0;     // least watermark that covers all acknowledged
  uint64_t replicated_lsn = 0;  // of these, known to be everywhere
};

class Core::Impl {
 public:
  Impl(const CoreOptions& options, fabric::Fabric* fabric, Clock* clock,
       MapSource* maps);
  ~Impl();

  void Submit(const Operation& operation,
              absl::AnyInvocable<void(OperationResult)> done);
  size_t Step();
  int64_t NextDeadlineNs() const;
  size_t in_flight() const { return in_flight_; }
  void OnMap(const proto::ClusterMap& map);
  void OnMapError(const absl::Status& status);
  void OnSession(uint64_t session, int64_t lease_ns);
  const proto::ClusterMap& map() const { return map_; }

 private:
  using Done = absl::AnyInvocable<void(OperationResult)>;

  // core.cc
  PendingOperation* NewOperation();
  void Recycle(PendingOperation* operation);
  void FillIn(const Operation& operation, PendingOperation* pending);
  void SubmitWaitReplicated(const Operation& operation, Done done);
  void SubmitWait(Shard* shard, int64_t timeout_ns, Done done);
  int64_t DeadlineAfter(int64_t timeout_ns) const;
  void StartDeadline(PendingOperation* operation, int64_t deadline_ns);
  // To where it can go on: its turn, a connection, or a timer.
  void Place(PendingOperation* operation);
  // Out of the queue, timer or attempt it is in.
  void Unplace(PendingOperation* operation);
  void Finish(PendingOperation* operation, absl::Status status);
  size_t RunCallbacks();

  // routing.cc
  bool IsUsable(const proto::ClusterMap& map, std::string* why_not) const;
  void UpdateLinks();
  bool UpdateShard(const proto::ShardEntry& entry, Shard* shard);
  void RerouteOperations(const std::vector<bool>& changed);
  Link* FindLink(uint32_t server) const;
  Link* ChooseLink(PendingOperation* operation);
  Link* ChooseReplica(const Shard& shard);
  void Disperse(Link* link);
  void ToLink(PendingOperation* operation);
  void WantMap() { map_wanted_ = true; }

  // connections.cc
  void Connect(Link* link);
  void OnEvent(const fabric::Event& event);
  void OnConnected(Link* link, const fabric::Event& event);
  void LoseLink(Link* link, std::string error, bool alive = true);
  void EndConnection(Link* link, bool alive);
  void CondemnGrants(Link* link);
  void ReleaseAttempts(Link* link);
  void DropSilentLink(Link* link);
  int64_t LinkDeadlineNs(const Link& link) const;

  // requests.cc
  void PumpLinks();
  void PumpLink(Link* link);
  enum class SendResult : uint8_t { kSent, kLinkBlocked, kNoBuffer, kFailed };
  SendResult Send(Link* link, PendingOperation* operation);
  SendResult PrepareBuffer(PendingOperation* operation, BufferRange** range);
  void WriteMessage(const PendingOperation& operation, uint64_t tag,
                    const BufferRange* range, bool value_inline,
                    std::byte* out);
  bool FitsInline(size_t key_bytes, size_t value_bytes) const;
  void StoreValue(PendingOperation* operation, std::string_view value);
  Attempt* NewAttempt();
  void ReleaseAttempt(Attempt* attempt);
  void DetachAttempt(PendingOperation* operation);
  void ReleaseRange(BufferRange* range);
  void PumpBufferQueue();

  // replies.cc
  void OnReply(Link* link, const fabric::Event& event);
  Attempt* FindAttempt(Link* link, uint64_t tag);
  void OnLateReply(Attempt* attempt, const wire::Reply& reply);
  void OnAnswer(PendingOperation* operation, const wire::Reply& reply,
                uint64_t asked_epoch);
  void OnSuccess(PendingOperation* operation, const wire::Reply& reply);
  void OnOutcome(PendingOperation* operation, const wire::Reply& reply);
  void OnRoomNeeded(PendingOperation* operation, const wire::Reply& reply);
  void OnWrongEpoch(PendingOperation* operation);
  void OnInvalid(PendingOperation* operation);
  void FinishInDoubt(PendingOperation* operation);

  // sessions.cc
  void PumpTurn(Shard* shard);
  void OpenSession(Shard* shard);
  void OnInternalAnswer(PendingOperation* operation, wire::Result result);
  void DropSession(Shard* shard);
  void OnUnknownSession(PendingOperation* operation);
  void ReleaseNumber(PendingOperation* operation, bool settled);
  void SendKeepAlives();
  void SendInternal(Shard* shard, wire::RequestType type, int64_t deadline_ns);
  void EndInternal(PendingOperation* operation);
  void ExpireInternal(PendingOperation* operation);

  // retries.cc
  void BackOff(PendingOperation* operation);
  int64_t Jittered(int64_t base_ns, int64_t most_ns, uint32_t failures);
  void RunTimers();
  void ResumeBackedOff();
  void ExpireOperations();
  void Expire(PendingOperation* operation);
  void CheckLinks();
  void AskCoordinator();

  // messages.cc
  absl::Status CheckLimits(const Operation& operation) const;
  absl::Status ExpiredStatus(const PendingOperation& operation) const;
  std::string Describe(const PendingOperation& operation) const;

  // Constant after construction.
  const CoreOptions options_;
  fabric::Fabric* const fabric_;
  Clock* const clock_;
  MapSource* const maps_;

  int64_t now_ns_ = 0;  // of this step
  Prng prng_;
  ClientBuffer buffer_;

  // The map, and what was made of it.
  proto::ClusterMap map_;
  bool has_map_ = false;
  bool map_wanted_ = true;
  int64_t map_ask_at_ns_ = 0;
  absl::Status coordinator_error_;
  std::vector<std::unique_ptr<Link>> links_;  // by first appearance
  absl::flat_hash_map<uint32_t, Link*> links_by_server_;
  absl::flat_hash_map<uint64_t, Link*> links_by_connection_;
  std::vector<std::unique_ptr<Shard>> shards_;  // by number
  uint64_t spread_ = 0;                         // turns over the replicas

  // The newest session of the coordinator; shards may still use older ones.
  uint64_t session_ = 0;
  int64_t session_lease_ns_ = 0;
  bool session_wanted_ = false;
  int64_t session_ask_at_ns_ = 0;
  int64_t keep_alive_at_ns_ = INT64_MAX;

  // Operations. All unfinished ones are in `deadlines_`.
  std::deque<PendingOperation> operations_;
  std::vector<PendingOperation*> free_operations_;
  DeadlineList deadlines_;  // earliest first
  OperationQueue without_map_;
  OperationQueue buffer_queue_;
  OperationQueue finished_;
  Timers timers_;
  size_t in_flight_ =
      0;  // unfinished or finished without callback; no internal

  std::deque<Attempt> attempts_;  // by index
  std::vector<Attempt*> free_attempts_;

  // Of one Poll. Few: servers work on the requests that come of one turn's
  // answers while the next one runs.
  std::array<fabric::Event, 16> events_;
  bool stepping_ = false;
  bool unflushed_ = false;
  int64_t check_at_ns_ = 0;
  uint64_t room_guess_bytes_ = 0;  // of the last large value read
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_CORE_IMPL_H_

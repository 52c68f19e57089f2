#include "node/server.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/hash.h"
#include "common/status_macros.h"
#include "node/client_port.h"
#include "node/context.h"
#include "node/lease.h"
#include "node/peers.h"
#include "node/replica.h"
#include "node/reports.h"

namespace whale::node {

class Server::Impl {
 public:
  static absl::StatusOr<std::unique_ptr<Impl>> Create(
      const ServerOptions& options, fabric::Fabric* fabric,
      logstore::Pool* pool, Clock* clock, ControlLink* control);
  ~Impl();

  bool Step();
  bool urgent() const { return context_.urgent; }
  int64_t NextDeadlineNs() const;
  void OnDirective(const proto::Directive& directive);
  void Shutdown();

  const std::string& refused() const { return refused_; }
  const Counters& counters() const { return context_.counters; }
  const proto::ServerReport& last_report() const { return reports_.last(); }

 private:
  // Few: a client works on the answers of one turn while the next one runs.
  static constexpr size_t kEventsPerPoll = 16;
  static constexpr size_t kFetchAhead = 4;

  Impl()
      : peers_(&context_), clients_(&context_), reports_(&context_, &lease_) {}

  void TakeDirective();
  bool CheckCluster(const proto::Directive& directive);
  size_t PollFabric();
  void FindSubject(size_t i);
  template <typename Prefetch>
  void PrefetchSubjects(size_t begin, size_t end, Prefetch prefetch) const;
  void Dispatch(const fabric::Event& event);
  void OnConnectRequest(const fabric::Event& event);
  void OnMessage(const fabric::Event& event);
  void OnClientMessage(const fabric::Event& event);
  void OnConnectionGone(const fabric::Event& event);
  void ServeReads();
  void CountQueued() {
    if (context_.stages.Count(Stage::kQueue)) {
      context_.stages.Add(Stage::kQueue, CycleCount() - polled_cycles_);
    }
  }
  Replica* ReplicaOf(uint16_t shard);

  Context context_;
  Peers peers_;
  ClientPort clients_;
  Lease lease_;
  Reports reports_;
  std::vector<std::unique_ptr<Replica>> replicas_;

  bool has_directive_ = false;
  proto::Directive directive_;
  std::string refused_;

  std::array<fabric::Event, kEventsPerPoll> events_;
  // What requests among them are about.
  struct Subject {
    const Replica* replica = nullptr;
    uint64_t hash = 0;
  };
  std::array<Subject, kEventsPerPoll> subjects_;
  uint64_t polled_cycles_ = 0;  // when the events at hand were polled
  // The gets of one poll: served together, after everything delivered before
  // them was announced.
  struct PendingGet {
    Replica* replica;
    Get get;
  };
  std::vector<PendingGet> gets_;
  std::array<char, kMaxKeyBytes> key_;  // of the write at hand
};

absl::StatusOr<std::unique_ptr<Server::Impl>> Server::Impl::Create(
    const ServerOptions& options, fabric::Fabric* fabric, logstore::Pool* pool,
    Clock* clock, ControlLink* control) {
  std::unique_ptr<Impl> impl(new Impl());
  Context& context = impl->context_;
  context.options = options;
  context.fabric = fabric;
  context.pool = pool;
  context.clock = clock;
  context.control = control;
  context.now_ns = clock->NowNs();
  context.stages.set_enabled(options.measure_stages);
  context.began_cycles = CycleCount();
  context.began_ns = context.now_ns;
  const logstore::Mapping& mapping = pool->mapping();
  WHALE_ASSIGN_OR_RETURN(
      context.pool_region,
      fabric->Register({.base = mapping.base,
                        .length_bytes = mapping.length_bytes,
                        .fd = mapping.fd,
                        .fd_offset = mapping.fd_offset},
                       {.remote_read = true, .remote_write = true}));
  for (uint32_t s = 0; s < pool->geometry().shard_count; ++s) {
    WHALE_ASSIGN_OR_RETURN(
        std::unique_ptr<Replica> replica,
        Replica::Recover(&context, &impl->peers_, &impl->clients_,
                         &impl->lease_, ShardId(static_cast<uint16_t>(s))));
    impl->replicas_.push_back(std::move(replica));
  }
  return impl;
}

Server::Impl::~Impl() {
  replicas_.clear();
  if (context_.pool_region.value != 0) {
    context_.fabric->Deregister(context_.pool_region);
  }
}

// --- Control ---

void Server::Impl::OnDirective(const proto::Directive& directive) {
  // Leases are counted at once; the rest waits for the turn.
  if (directive.lease_for_sequence() != 0) {
    const auto lease_ns = static_cast<int64_t>(directive.lease_us()) * 1000;
    lease_.OnGrant(directive.lease_for_sequence(), lease_ns,
                   context_.clock->NowNs());
    if (lease_ns > 0) reports_.OnLeaseLength(lease_ns);
  }
  directive_ = directive;
  has_directive_ = true;
}

bool Server::Impl::CheckCluster(const proto::Directive& directive) {
  if (directive.cluster_uuid().size() != 16) return false;
  logstore::Uuid uuid;
  std::memcpy(uuid.data(), directive.cluster_uuid().data(), uuid.size());
  const logstore::Uuid& own = context_.pool->geometry().cluster_uuid;
  if (own == logstore::Uuid{}) context_.pool->SetClusterUuid(uuid);
  return context_.pool->geometry().cluster_uuid == uuid;
}

void Server::Impl::TakeDirective() {
  if (!has_directive_) return;
  has_directive_ = false;
  if (!directive_.refused().empty()) {
    refused_ = directive_.refused();
    return;
  }
  if (!CheckCluster(directive_)) return;
  for (const fabric::ConnectionId closed : peers_.Reconcile(directive_)) {
    for (const auto& replica : replicas_) replica->OnConnectionLost(closed);
  }
  for (const proto::ShardDirective& shard : directive_.shards()) {
    if (shard.shard() < replicas_.size()) {
      replicas_[shard.shard()]->OnDirective(shard);
    }
  }
}

// --- Data ---

Replica* Server::Impl::ReplicaOf(uint16_t shard) {
  return shard < replicas_.size() ? replicas_[shard].get() : nullptr;
}

void Server::Impl::OnConnectRequest(const fabric::Event& event) {
  wire::Hello hello;
  if (event.length_bytes != sizeof(hello)) {
    context_.fabric->Reject(event.connection, "not a hello of this protocol");
    return;
  }
  std::memcpy(&hello, event.data, sizeof(hello));
  const logstore::Uuid& cluster = context_.pool->geometry().cluster_uuid;
  logstore::Uuid theirs;
  std::memcpy(theirs.data(), hello.cluster_uuid, theirs.size());
  if (hello.magic != wire::kHelloMagic) {
    context_.fabric->Reject(event.connection, "not a hello of this protocol");
  } else if (hello.protocol_version != wire::kProtocolVersion) {
    context_.fabric->Reject(
        event.connection,
        "protocol version " + std::to_string(hello.protocol_version) +
            " is not spoken here, " + std::to_string(wire::kProtocolVersion) +
            " is; use the same release on both sides");
  } else if (hello.to_server != context_.options.id.value()) {
    context_.fabric->Reject(event.connection, "meant for another server");
  } else if (theirs != cluster && !(hello.purpose == wire::Purpose::kClient &&
                                    theirs == logstore::Uuid{})) {
    context_.fabric->Reject(event.connection, "meant for another cluster");
  } else if (hello.purpose == wire::Purpose::kClient) {
    clients_.OnConnectRequest(event, peers_.reserved_connections());
  } else if (hello.purpose == wire::Purpose::kDelivery ||
             hello.purpose == wire::Purpose::kChain) {
    if (event.from_server) {
      peers_.OnConnectRequest(event, hello);
    } else {
      context_.fabric->Reject(event.connection,
                              "this needs the token of a server");
    }
  } else {
    context_.fabric->Reject(event.connection, "unknown purpose");
  }
}

void Server::Impl::OnClientMessage(const fabric::Event& event) {
  ClientRequest request;
  if (!clients_.Parse(event, &request)) return;
  Replica* replica = ReplicaOf(request.header.shard);
  const auto refuse = [&](wire::Result result) {
    wire::Reply reply{};
    reply.type = request.header.type;
    reply.result = result;
    reply.shard = request.header.shard;
    reply.tag = request.header.tag;
    clients_.Answer(event.connection, reply);
  };
  if (replica == nullptr) {
    refuse(wire::Result::kInvalid);
    return;
  }
  if (!replica->Admit(request)) return;
  std::string_view key = request.key;
  const bool is_get = request.header.type == wire::RequestType::kGet;
  if (!is_get) {
    // The client may change its memory: what is hashed must be what is stored.
    key.copy(key_.data(), key.size());
    key = {key_.data(), key.size()};
  }
  const uint64_t hash = HashKey(key);
  if (!key.empty() &&
      ShardOfHash(hash, static_cast<uint32_t>(replicas_.size())).value() !=
          request.header.shard) {
    refuse(wire::Result::kInvalid);
    return;
  }
  if (is_get) {
    gets_.push_back({replica, GetOf(request, hash)});
  } else {
    CountQueued();
    const StageTimer timer(&context_.stages, Stage::kAppend);
    replica->Write(request, key, hash);
  }
}

void Server::Impl::OnMessage(const fabric::Event& event) {
  if (const Peer* peer = peers_.SenderOf(event.connection)) {
    uint16_t shard = 0;
    if (event.length_bytes >= 4) std::memcpy(&shard, event.data + 2, 2);
    if (Replica* replica = ReplicaOf(shard)) {
      replica->OnPeerMessage(peer->id, {event.data, event.length_bytes});
    }
  } else if (clients_.IsClient(event.connection)) {
    OnClientMessage(event);
  }
}

void Server::Impl::OnConnectionGone(const fabric::Event& event) {
  for (const auto& replica : replicas_) {
    replica->OnConnectionLost(event.connection);
  }
  if (!peers_.OnConnectionEvent(event)) clients_.OnConnectionEvent(event);
}

void Server::Impl::Dispatch(const fabric::Event& event) {
  if (event.kind != fabric::EventKind::kCompleted) context_.urgent = true;
  switch (event.kind) {
    case fabric::EventKind::kCompleted: {
      const WorkCookie cookie = WorkCookie::Decode(event.cookie);
      context_.urgent |= !IsBackground(cookie.kind);
      if (Replica* replica = ReplicaOf(cookie.shard.value())) {
        replica->OnCompletion(cookie, event);
      }
      return;
    }
    case fabric::EventKind::kReceived:
      OnMessage(event);
      return;
    case fabric::EventKind::kReceivedImm:
      for (const auto& replica : replicas_) replica->OnImmediate();
      return;
    case fabric::EventKind::kConnectRequest:
      OnConnectRequest(event);
      return;
    case fabric::EventKind::kConnected:
      if (!peers_.OnConnectionEvent(event)) clients_.OnConnectionEvent(event);
      return;
    case fabric::EventKind::kConnectFailed:
    case fabric::EventKind::kDisconnected:
      OnConnectionGone(event);
      return;
  }
}

void Server::Impl::ServeReads() {
  if (gets_.empty()) return;
  Replica* announced = nullptr;
  for (const PendingGet& pending : gets_) {
    // Gets of one shard mostly come together; announcing twice does no harm.
    if (pending.replica != announced) pending.replica->AnnounceForReads();
    announced = pending.replica;
  }
  for (const PendingGet& pending : gets_) {
    CountQueued();
    const StageTimer timer(&context_.stages, Stage::kLookup);
    pending.replica->Serve(pending.get);
  }
  gets_.clear();
}

// The index and the log are larger than the caches. The requests of one poll
// wait for memory together, not one after the other: first for the index, then,
// a few requests ahead, for the records that it names. While the index is on
// its way, what completed is committed and answered.
size_t Server::Impl::PollFabric() {
  const size_t count = context_.fabric->Poll(events_);
  if (count == 0) return 0;
  polled_cycles_ = CycleCount();
  if (count == 1) {
    Dispatch(events_[0]);
    return count;
  }
  const auto is_completion = [this](size_t i) {
    return events_[i].kind == fabric::EventKind::kCompleted;
  };
  for (size_t i = 0; i < count; ++i) FindSubject(i);
  PrefetchSubjects(0, count, [](const Replica& replica, uint64_t hash) {
    replica.Prefetch(hash);
  });
  for (size_t i = 0; i < count; ++i) {
    if (is_completion(i)) Dispatch(events_[i]);
  }
  for (const auto& replica : replicas_) replica->Commit();
  size_t fetched = 0;
  for (size_t i = 0; i < count; ++i) {
    if (fetched < std::min(i + kFetchAhead, count)) {
      const size_t end = std::min(i + 2 * kFetchAhead, count);
      PrefetchSubjects(fetched, end, [](const Replica& replica, uint64_t hash) {
        replica.PrefetchRecord(hash);
      });
      fetched = end;
    }
    if (!is_completion(i)) Dispatch(events_[i]);
  }
  return count;
}

void Server::Impl::FindSubject(size_t i) {
  const ClientPort::Subject subject = ClientPort::SubjectOf(events_[i]);
  const Replica* replica = ReplicaOf(subject.shard);
  if (subject.key.empty()) replica = nullptr;
  subjects_[i].replica = replica;
  if (replica != nullptr) subjects_[i].hash = HashKey(subject.key);
}

// One right behind the other: what misses the TLB holds up what follows it, but
// not others of its kind.
template <typename Prefetch>
void Server::Impl::PrefetchSubjects(size_t begin, size_t end,
                                    Prefetch prefetch) const {
  for (size_t i = begin; i < end; ++i) {
    const Subject& subject = subjects_[i];
    if (subject.replica != nullptr) prefetch(*subject.replica, subject.hash);
  }
}

bool Server::Impl::Step() {
  context_.now_ns = context_.clock->NowNs();
  ++context_.counters.turns;
  context_.urgent = false;
  TakeDirective();
  bool busy = PollFabric() > 0;
  for (const fabric::ConnectionId closed : clients_.TakeClosed()) {
    for (const auto& replica : replicas_) replica->OnConnectionLost(closed);
  }
  peers_.Turn();
  for (const auto& replica : replicas_) busy |= replica->Turn();
  // Keys of gets lie in receive buffers, which the next Poll frees.
  ServeReads();
  clients_.Turn();
  reports_.Turn(replicas_);
  context_.fabric->FlushMessages();
  return busy || clients_.has_closed();
}

int64_t Server::Impl::NextDeadlineNs() const {
  int64_t deadline = reports_.next_ns();
  for (const auto& replica : replicas_) {
    deadline = std::min(deadline, replica->NextDeadlineNs());
  }
  deadline = std::min(deadline, peers_.NextDeadlineNs());
  if (clients_.has_backlog()) {
    deadline = std::min(deadline, context_.now_ns + 1'000'000);
  }
  return deadline;
}

void Server::Impl::Shutdown() {
  for (const auto& replica : replicas_) replica->Shutdown();
  reports_.set_leaving();
  reports_.SendNow();
}

// --- Server ---

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Create(
    const ServerOptions& options, fabric::Fabric* fabric, logstore::Pool* pool,
    Clock* clock, ControlLink* control) {
  WHALE_ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl,
                         Impl::Create(options, fabric, pool, clock, control));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

bool Server::Step() { return impl_->Step(); }
bool Server::urgent() const { return impl_->urgent(); }
int64_t Server::NextDeadlineNs() const { return impl_->NextDeadlineNs(); }
void Server::OnDirective(const proto::Directive& directive) {
  impl_->OnDirective(directive);
}
const std::string& Server::refused() const { return impl_->refused(); }
void Server::Shutdown() { impl_->Shutdown(); }
const Server::Counters& Server::counters() const { return impl_->counters(); }
const proto::ServerReport& Server::last_report() const {
  return impl_->last_report();
}

}  // namespace whale::node

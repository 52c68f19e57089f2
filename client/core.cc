#include "client/core.h"

#include <algorithm>
#include <utility>

#include "client/core_impl.h"
#include "common/check.h"
#include "common/hash.h"

namespace whale::client {
namespace {

// A recycled operation keeps the memory of its strings up to this.
constexpr size_t kKeptBytes = 16 * 1024;

// Longer timeouts mean this one: a year.
constexpr int64_t kMaxTimeoutNs = int64_t{365} * 86'400 * 1'000'000'000;

wire::RequestType RequestTypeOf(OperationType type) {
  switch (type) {
    case OperationType::kGet:
      return wire::RequestType::kGet;
    case OperationType::kPut:
      return wire::RequestType::kPut;
    case OperationType::kDelete:
      return wire::RequestType::kDelete;
    case OperationType::kCompareAndPut:
      return wire::RequestType::kCompareAndPut;
    case OperationType::kDeleteIf:
      return wire::RequestType::kDeleteIf;
    case OperationType::kWaitReplicated:
      return wire::RequestType::kWaitReplicated;
  }
  WHALE_CHECK_MSG(false, "unknown operation type");
  return wire::RequestType::kGet;
}

bool CarriesValue(OperationType type) {
  return type == OperationType::kPut || type == OperationType::kCompareAndPut;
}

void Trim(std::string* text) {
  text->clear();
  if (text->capacity() > kKeptBytes) text->shrink_to_fit();
}

}  // namespace

Core::Impl::Impl(const CoreOptions& options, fabric::Fabric* fabric,
                 Clock* clock, MapSource* maps)
    : options_(options),
      fabric_(fabric),
      clock_(clock),
      maps_(maps),
      now_ns_(clock->NowNs()),
      prng_(options.seed),
      buffer_(fabric, options.buffer_bytes),
      spread_(prng_.Next()) {}

Core::Impl::~Impl() {
  for (const auto& link : links_) {
    EndConnection(link.get(), /*alive=*/true);
  }
  // Lists must be empty before their elements go.
  for (PendingOperation& operation : operations_) {
    buffer_.Release(operation.range);
    if (operation.ListNode<InQueue>::linked()) {
      OperationQueue::Remove(&operation);
    }
    if (operation.ListNode<ByDeadline>::linked()) {
      DeadlineList::Remove(&operation);
    }
  }
}

PendingOperation* Core::Impl::NewOperation() {
  if (free_operations_.empty()) return &operations_.emplace_back();
  PendingOperation* operation = free_operations_.back();
  free_operations_.pop_back();
  return operation;
}

void Core::Impl::Recycle(PendingOperation* operation) {
  Trim(&operation->key);
  Trim(&operation->value);
  operation->done = nullptr;
  operation->stage = Stage::kFree;
  operation->flags = 0;
  operation->is_write = operation->is_internal = false;
  operation->any_replica = operation->to_primary = false;
  operation->in_doubt = operation->room_is_guess = false;
  operation->replica = operation->value_bytes = operation->failures = 0;
  operation->failure = Failure();
  operation->shard = nullptr;
  operation->link = nullptr;
  operation->room_bytes = 0;
  operation->argument = operation->session = operation->number = 0;
  operation->result.version = 0;
  operation->result.copies = 0;
  free_operations_.push_back(operation);
}

void Core::Impl::FillIn(const Operation& operation, PendingOperation* pending) {
  pending->type = RequestTypeOf(operation.type);
  pending->is_write = operation.type != OperationType::kGet;
  pending->argument = operation.expected_version;
  if (operation.full_durability && pending->is_write) {
    pending->flags |= wire::kFullDurability;
  }
  if (operation.type == OperationType::kGet) {
    if (operation.read_level == ReadLevel::kSession) {
      pending->flags |= wire::kSessionRead;
    } else if (operation.read_level == ReadLevel::kStale) {
      pending->flags |= wire::kStaleRead;
    }
    pending->any_replica = operation.any_replica;
    pending->replica = operation.replica;
    pending->room_bytes = room_guess_bytes_;
    pending->room_is_guess = true;
  }
  pending->key.assign(operation.key);
  pending->key_hash = HashKey(operation.key);
  if (CarriesValue(operation.type)) {
    StoreValue(pending, operation.value);
  }
}

void Core::Impl::Submit(const Operation& operation, Done done) {
  if (operation.type == OperationType::kWaitReplicated) {
    SubmitWaitReplicated(operation, std::move(done));
    return;
  }
  PendingOperation* pending = NewOperation();
  pending->done = std::move(done);
  pending->timeout_ns = operation.timeout_ns;
  ++in_flight_;
  StartDeadline(pending, DeadlineAfter(operation.timeout_ns));
  absl::Status limits = CheckLimits(operation);
  if (!limits.ok()) {
    Finish(pending, std::move(limits));
    return;
  }
  FillIn(operation, pending);
  if (has_map_) {
    pending->shard =
        shards_[ShardOfHash(pending->key_hash, shards_.size()).value()].get();
  }
  Place(pending);
}

// One request per shard that this client has written to since it last knew
// everything there to be replicated; done when all of them are.
void Core::Impl::SubmitWaitReplicated(const Operation& operation, Done done) {
  struct Gathering {
    size_t left = 1;
    OperationResult result;
    Done done;
    void Arrive(OperationResult part) {
      if (result.status.ok()) result.status = std::move(part.status);
      if (--left == 0) done(std::move(result));
    }
  };
  auto gathering = std::make_shared<Gathering>();
  gathering->done = std::move(done);
  for (const auto& shard : shards_) {
    if (shard->written_lsn <= shard->replicated_lsn) continue;
    ++gathering->left;
    SubmitWait(shard.get(), operation.timeout_ns,
               [gathering](OperationResult part) {
                 gathering->Arrive(std::move(part));
               });
  }
  // The part that `left` began with: callbacks run inside Step.
  PendingOperation* last = NewOperation();
  last->done = [gathering](OperationResult part) {
    gathering->Arrive(std::move(part));
  };
  ++in_flight_;
  StartDeadline(last, INT64_MAX);
  Finish(last, absl::OkStatus());
}

void Core::Impl::SubmitWait(Shard* shard, int64_t timeout_ns, Done done) {
  PendingOperation* pending = NewOperation();
  pending->type = wire::RequestType::kWaitReplicated;
  pending->shard = shard;
  pending->argument = shard->written_lsn;
  pending->timeout_ns = timeout_ns;
  pending->done = std::move(done);
  ++in_flight_;
  StartDeadline(pending, DeadlineAfter(timeout_ns));
  Place(pending);
}

int64_t Core::Impl::DeadlineAfter(int64_t timeout_ns) const {
  return clock_->NowNs() + std::clamp<int64_t>(timeout_ns, 0, kMaxTimeoutNs);
}

// Nearly always the timeouts are equal, so that the place is the end.
void Core::Impl::StartDeadline(PendingOperation* operation,
                               int64_t deadline_ns) {
  operation->deadline_ns = deadline_ns;
  PendingOperation* before = deadlines_.back();
  while (before != nullptr && before->deadline_ns > deadline_ns) {
    before = deadlines_.Previous(before);
  }
  deadlines_.InsertAfter(before, operation);
}

void Core::Impl::Place(PendingOperation* operation) {
  Shard* shard = operation->shard;
  if (shard == nullptr) {
    operation->stage = Stage::kTurn;
    operation->failure.obstacle = Obstacle::kNoMap;
    without_map_.PushBack(operation);
    WantMap();
    return;
  }
  if (operation->is_write && operation->number == 0) {
    operation->stage = Stage::kTurn;
    shard->turn.PushBack(operation);
    PumpTurn(shard);
    return;
  }
  ToLink(operation);
}

void Core::Impl::Unplace(PendingOperation* operation) {
  switch (operation->stage) {
    case Stage::kTurn:
    case Stage::kLink:
    case Stage::kBuffer:
      OperationQueue::Remove(operation);
      break;
    case Stage::kSent:
      DetachAttempt(operation);
      break;
    case Stage::kTimer:
      timers_.erase(operation->timer);
      break;
    case Stage::kFree:
    case Stage::kFinished:
      break;
  }
  operation->stage = Stage::kFree;
}

void Core::Impl::Finish(PendingOperation* operation, absl::Status status) {
  Unplace(operation);
  DeadlineList::Remove(operation);
  if (operation->number != 0) ReleaseNumber(operation, /*settled=*/true);
  if (operation->range != nullptr) {
    ReleaseRange(std::exchange(operation->range, nullptr));
  }
  operation->result.status = std::move(status);
  operation->stage = Stage::kFinished;
  finished_.PushBack(operation);
}

size_t Core::Impl::RunCallbacks() {
  OperationQueue batch;  // what callbacks submit and finish waits for its turn
  batch.TakeAll(finished_);
  size_t count = 0;
  while (PendingOperation* operation = batch.PopFront()) {
    Done done = std::move(operation->done);
    OperationResult result = std::move(operation->result);
    operation->result.value.clear();
    Recycle(operation);
    --in_flight_;
    ++count;
    done(std::move(result));
  }
  return count;
}

size_t Core::Impl::Step() {
  WHALE_CHECK_MSG(!stepping_, "Step called from a callback");
  stepping_ = true;
  now_ns_ = clock_->NowNs();
  PumpLinks();
  const size_t count = fabric_->Poll(events_);
  for (size_t i = 0; i < count; ++i) OnEvent(events_[i]);
  RunTimers();
  const size_t callbacks = RunCallbacks();
  PumpLinks();
  stepping_ = false;
  return callbacks;
}

int64_t Core::Impl::NextDeadlineNs() const {
  if (!finished_.empty()) return now_ns_;
  int64_t next = keep_alive_at_ns_;
  const auto at_latest = [&next](int64_t time) { next = std::min(next, time); };
  if (!deadlines_.empty()) {
    at_latest(deadlines_.front()->deadline_ns);
    at_latest(check_at_ns_);
  }
  if (!timers_.empty()) at_latest(timers_.begin()->first);
  if (map_wanted_) at_latest(map_ask_at_ns_);
  if (session_wanted_) at_latest(session_ask_at_ns_);
  for (const auto& link : links_) at_latest(LinkDeadlineNs(*link));
  return next;
}

// ------------------------------------------------------------------- Core

Core::Core(const CoreOptions& options, fabric::Fabric* fabric, Clock* clock,
           MapSource* maps)
    : impl_(std::make_unique<Impl>(options, fabric, clock, maps)) {}
Core::~Core() = default;

void Core::Submit(const Operation& operation,
                  absl::AnyInvocable<void(OperationResult)> done) {
  impl_->Submit(operation, std::move(done));
}
size_t Core::Step() { return impl_->Step(); }
int64_t Core::NextDeadlineNs() const { return impl_->NextDeadlineNs(); }
size_t Core::in_flight() const { return impl_->in_flight(); }
void Core::OnMap(const proto::ClusterMap& map) { impl_->OnMap(map); }
void Core::OnMapError(const absl::Status& status) { impl_->OnMapError(status); }
void Core::OnSession(uint64_t session, int64_t lease_ns) {
  impl_->OnSession(session, lease_ns);
}
const proto::ClusterMap& Core::map() const { return impl_->map(); }

}  // namespace whale::client

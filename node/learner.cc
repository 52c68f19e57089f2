#include "node/learner.h"

#include <algorithm>
#include <utility>

#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "logstore/missing.h"
#include "metadata_mcast/log_walk.h"
#include "node/grants.h"

namespace whale::node {
namespace {

constexpr uint64_t kReadBytes = 128 << 10;
// Of a policy that does not say.
constexpr uint64_t kDefaultBytesPerSecond = 256 << 20;
// While there is nothing to copy, and while no answer comes.
constexpr int64_t kAskNs = 5'000'000;
constexpr int64_t kAskAgainNs = 100'000'000;

}  // namespace

Learner::Learner(Context* context, Peers* peers, chain::ReplicaState* state,
                 ServerId source, Epoch epoch,
                 const proto::ShardDirective* directive)
    : context_(context),
      peers_(peers),
      state_(state),
      source_(source),
      epoch_(epoch),
      directive_(directive),
      read_bytes_(kReadBytes) {}

void Learner::Ask() {
  if (context_->now_ns < ask_at_ns_) return;
  ask_at_ns_ = context_->now_ns + kAskAgainNs;
  struct {
    wire::PeerHeader header;
    wire::SegmentGrantEntry entry;
  } message{};
  message.header = {.type = wire::PeerMessageType::kWantSegments,
                    .shard = state_->shard.value(),
                    .count = 1,
                    .epoch = epoch_.value()};
  message.entry.number = state_->log.SegmentOf(at());
  peers_->Send(source_, std::as_bytes(std::span(&message, 1)));
}

void Learner::OnSegmentGrants(std::span<const wire::SegmentGrantEntry> grants) {
  for (const wire::SegmentGrantEntry& entry : grants) {
    segments_.Set(entry.number, ToGrant(entry.grant));
  }
}

void Learner::OnCopyLimit(const wire::CopyLimit& message) {
  limit_ = std::max(limit_, Lsn(message.committed));
  ask_at_ns_ = context_->now_ns + kAskNs;
}

bool Learner::TakeCaughtUp() {
  return std::exchange(caught_up_is_news_, false);
}

bool Learner::Turn() {
  if (stopped_ || reading_) return false;
  const bool done =
      limit_ != Lsn() && (at() >= limit_ || Planted(PlantedBug::kLearnerEarly));
  caught_up_is_news_ |= done && !caught_up_;
  caught_up_ = done;
  // Where to read may be known before how far.
  if (done || limit_ == Lsn() || !segments_.Has(state_->log.SegmentOf(at()))) {
    Ask();
    return false;
  }
  if (context_->now_ns < NextReadNs()) return false;
  StartRead();
  return reading_;
}

int64_t Learner::NextDeadlineNs() const {
  if (stopped_ || reading_) return INT64_MAX;
  return std::max(NextReadNs(),
                  std::min(ask_at_ns_, context_->now_ns + kAskNs));
}

// All shards of this server copy by one limit.
int64_t Learner::NextReadNs() const {
  return std::max(read_at_ns_, context_->copy_at_ns);
}

void Learner::CountRead(uint64_t bytes) {
  const uint64_t limit = directive_->policy().copy_bytes_per_second();
  const auto per_second =
      static_cast<double>(limit == 0 ? kDefaultBytesPerSecond : limit);
  context_->counters.copied_bytes += bytes;
  context_->copy_at_ns =
      std::max(context_->copy_at_ns, context_->now_ns - kAskNs) +
      static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / per_second);
}

void Learner::StartRead() {
  note_.clear();
  const uint64_t number = state_->log.SegmentOf(at());
  if (!state_->log.AddSegment(number).ok()) {
    note_ = "the pool has no room for segment " + std::to_string(number);
    read_at_ns_ = context_->now_ns + kSegmentsRetryNs;
    return;
  }
  const Peer* peer = peers_->Find(source_);
  const fabric::Grant* segment = segments_.Find(number);
  const uint64_t offset = at() - state_->log.SegmentStart(number);
  read_end_ = std::min({limit_, at() + read_bytes_,
                        metadata_mcast::SegmentEnd(state_->log, at())});
  if (peer == nullptr || !peer->up() ||
      segment->length_bytes < state_->log.segment_bytes()) {
    note_ = "no data connection to the primary, server " +
            std::to_string(source_.value());
    read_at_ns_ = context_->now_ns + kAskNs;
    return;
  }
  link_ = Link(context_, peer->out_delivery);
  reading_ = link_.Post([&](fabric::WorkRequest* out, size_t room) {
    if (room == 0) return size_t{0};
    const WorkCookie cookie{.kind = WorkKind::kCopy,
                            .shard = state_->shard,
                            .epoch_low = static_cast<uint32_t>(epoch_.value())};
    *out = {.opcode = fabric::Opcode::kRead,
            .signaled = true,
            .local = state_->log.At(at()),
            .length_bytes = static_cast<uint32_t>(read_end_ - at()),
            .remote_key = segment->key,
            .remote_address = segment->address + offset,
            .cookie = cookie.Encode()};
    return size_t{1};
  });
  if (reading_) CountRead(read_end_ - at());
}

// The primary is gone, or has a new connection: where its segments lie is asked
// again.
void Learner::AskAnew() {
  RareBranch<"learn: primary is gone in the middle of a copy">();
  segments_ = {};
  ask_at_ns_ = context_->now_ns + kAskNs;
}

void Learner::OnConnectionLost(fabric::ConnectionId connection) {
  if (!reading_ || connection != link_.connection()) return;
  reading_ = false;
  AskAnew();
}

void Learner::OnCompletion(const fabric::Event& event) {
  if (!reading_ || event.connection != link_.connection()) return;
  reading_ = false;
  if (stopped_) return;
  if (event.outcome != fabric::Outcome::kOk) return AskAnew();
  if (LearnUpTo(read_end_)) {
    read_bytes_ = kReadBytes;
  } else if (read_end_ < limit_ &&
             read_end_ < metadata_mcast::SegmentEnd(state_->log, at())) {
    RareBranch<"learn: record larger than a READ">();
    read_bytes_ *= 2;
  } else {
    note_ = "the primary's record at LSN " + std::to_string(at().value()) +
            " is not whole";
    read_at_ns_ = context_->now_ns + kAskAgainNs;
  }
}

bool Learner::LearnUpTo(Lsn end) {
  const logstore::Log& log = state_->log;
  const Lsn begin = at();
  Lsn lsn = metadata_mcast::SkipImplicitPad(log, begin, end);
  while (lsn < end &&
         log.Check(lsn, state_->history) == logstore::RecordValidity::kValid) {
    const uint64_t bytes = logstore::RecordBytes(log.HeaderAt(lsn));
    if (!metadata_mcast::FitsBelow(log, lsn, bytes, end)) break;
    lsn = std::min(log.After(lsn, bytes), end);
  }
  if (lsn == begin) return false;
  log.Persist(begin, lsn);
  for (Lsn next = metadata_mcast::SkipImplicitPad(log, begin, end);
       next < lsn;) {
    const logstore::RecordHeader& header = log.HeaderAt(next);
    state_->Learn(next, header, logstore::KeyHashOf(header), true);
    next = log.After(next, logstore::RecordBytes(header));
  }
  if (state_->backup_log.announced() < lsn) {
    state_->backup_log.OnAnnouncedUpTo(lsn);
  }
  state_->committed = std::max(
      state_->committed, std::min(limit_, state_->backup_log.announced()));
  state_->Apply();
  return true;
}

}  // namespace whale::node

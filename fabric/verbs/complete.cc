// What the adapter has completed.
#include <endian.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fabric/verbs/fabric_impl.h"
#include "fabric/verbs/work_id.h"

namespace whale::fabric::verbs {
namespace {

constexpr int kCompletionsAtOnce = 32;

Outcome OutcomeOf(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return Outcome::kOk;
    case IBV_WC_WR_FLUSH_ERR:
      return Outcome::kCanceled;
    case IBV_WC_REM_ACCESS_ERR:
      return Outcome::kRemoteAccess;
    case IBV_WC_LOC_LEN_ERR:
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
    case IBV_WC_MW_BIND_ERR:
      return Outcome::kLocalError;
    default:
      return Outcome::kRemoteError;
  }
}

}  // namespace

bool VerbsFabricImpl::Refill() {
  stash_.resize(kCompletionsAtOnce);  // within what was reserved
  stash_next_ = 0;
  const int count =
      ibv_poll_cq(completions_.get(), kCompletionsAtOnce, stash_.data());
  stash_.resize(static_cast<size_t>(std::max(count, 0)));
  return count > 0;
}

void VerbsFabricImpl::DrainCompletions() {
  ibv_wc batch[kCompletionsAtOnce];
  for (;;) {
    const int count =
        ibv_poll_cq(completions_.get(), kCompletionsAtOnce, batch);
    if (count <= 0) return;
    stash_.insert(stash_.end(), batch, batch + count);
  }
}

void VerbsFabricImpl::TakeStashed(Connection& c, bool drop) {
  const auto is_of = [&](const ibv_wc& wc) {
    return IsReceive(wc.wr_id)
               ? by_pair_.contains(wc.qp_num) && by_pair_[wc.qp_num] == &c
               : SlotOf(wc.wr_id) == c.slot &&
                     GenerationOf(wc.wr_id) == c.generation;
  };
  std::vector<ibv_wc> taken;
  const auto first = stash_.begin() + static_cast<std::ptrdiff_t>(stash_next_);
  const auto rest = std::stable_partition(
      first, stash_.end(), [&](const ibv_wc& wc) { return !is_of(wc); });
  taken.assign(rest, stash_.end());
  stash_.erase(rest, stash_.end());
  for (const ibv_wc& wc : taken) {
    if (!drop) {
      Handle(wc, nullptr);
    } else if (IsReceive(wc.wr_id)) {
      receives_->Release(BufferOf(wc.wr_id));
    }
  }
}

VerbsFabricImpl::Queued& VerbsFabricImpl::PushQueued(EventKind kind,
                                                     ConnectionId id) {
  Queued& queued = queue_.emplace_back();
  queued.event.kind = kind;
  queued.event.connection = id;
  return queued;
}

Event* VerbsFabricImpl::Push(const Event& event, Output* out, uint32_t buffer) {
  if (out == nullptr || !queue_.empty() || out->count == out->events.size()) {
    queue_.push_back({.event = event, .payload = nullptr, .buffer = buffer});
    return &queue_.back().event;
  }
  Event& place = out->events[out->count++];
  place = event;
  if (buffer != kNoBuffer) handed_out_.push_back({event.connection, buffer});
  return &place;
}

void VerbsFabricImpl::Handle(const ibv_wc& wc, Output* out) {
  if (IsReceive(wc.wr_id)) {
    ++counters_.receives;
    OnReceive(wc, out);
  } else {
    OnSendDone(wc, out);
  }
}

void VerbsFabricImpl::OnReceive(const ibv_wc& wc, Output* out) {
  const uint32_t buffer = BufferOf(wc.wr_id);
  const auto found = by_pair_.find(wc.qp_num);
  Connection* const c = found == by_pair_.end() ? nullptr : found->second;
  if (c == nullptr || wc.status != IBV_WC_SUCCESS) {
    receives_->Release(buffer);  // flushed; of a connection that is dying
    return;
  }
  // The peer is ready if it sends; its word may come later.
  if (c->state == State::kAccepted) Opened(*c);
  if (!OnNotice(*c, wc, out)) {
    Die(*c, Outcome::kRemoteError,
        absl::StrCat("verbs: ", c->name,
                     " sent what breaks the rules of messages and credits"));
  }
}

bool VerbsFabricImpl::OnNotice(Connection& c, const ibv_wc& wc, Output* out) {
  const uint32_t buffer = BufferOf(wc.wr_id);
  const uint32_t immediate = be32toh(wc.imm_data);
  Event event;
  event.connection = c.id;
  const bool spends_credit = wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM ||
                             ((wc.wc_flags & IBV_WC_WITH_IMM) != 0 &&
                              NoticeKindOf(immediate) == NoticeKind::kMessage);
  if (spends_credit && c.taken + c.held - c.told >= options_.credits) {
    receives_->Release(buffer);  // the peer has not been told of so much room
    return false;
  }
  if (wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
    ++c.held;
    ReleaseBuffer(&c, buffer, /*counts=*/true);
    event.kind = EventKind::kReceivedImm;
    event.immediate = immediate;
    event.length_bytes = wc.byte_len;
    Push(event, out);
    return true;
  }
  const uint32_t credits = c.credits;
  if ((wc.wc_flags & IBV_WC_WITH_IMM) == 0 ||
      !TakeCredits(c, TakenOf(immediate))) {
    receives_->Release(buffer);
    return false;
  }
  const std::byte* const data = receives_->Buffer(buffer);
  const NoticeKind kind = NoticeKindOf(immediate);
  if (kind == NoticeKind::kMessage) {
    event.kind = EventKind::kReceived;
    event.data = data;
    event.length_bytes = wc.byte_len;
    ++c.held;
    Push(event, out, buffer);
    return true;
  }
  // What needs no credit must bring something new, so that it has a bound, too.
  bool fine = true;
  if (kind == NoticeKind::kCredits) {
    fine = c.credits != credits;
  } else if (kind == NoticeKind::kFlushRequest) {
    fine = OnFlushRequest(c, data, wc.byte_len);
  } else if (kind == NoticeKind::kFlushAnswer) {
    fine = OnFlushAnswer(c, data, wc.byte_len);
    if (fine) ReleaseDone(c, out);
  }
  receives_->Release(buffer);
  return fine;
}

void VerbsFabricImpl::OnSendDone(const ibv_wc& wc, Output* out) {
  const uint16_t slot = SlotOf(wc.wr_id);
  Connection* const c =
      slot < connections_.size() ? connections_[slot].get() : nullptr;
  if (c == nullptr || c->generation != GenerationOf(wc.wr_id)) return;
  const uint32_t number = SequenceOf(wc.wr_id);
  if (wc.status == IBV_WC_SUCCESS) {
    if (c->sent.CompleteUpTo(number)) ReleaseDone(*c, out);
    return;
  }
  if (c->failed) return;  // flushed behind the first that failed
  c->failed = true;
  // All before it have succeeded.
  if (c->sent.CompleteUpTo(number - 1)) ReleaseDone(*c, out);
  const SentWork& work = c->sent.At(number);
  const Outcome outcome =
      work.refused ? Outcome::kLocalError : OutcomeOf(wc.status);
  c->failure = outcome == Outcome::kCanceled ? Outcome::kRemoteError : outcome;
  // Does nothing if this was found on the way out.
  Die(*c, c->failure,
      absl::StrCat("verbs: ", c->name, ": ",
                   std::string(OpcodeName(work.opcode)), ": ",
                   ibv_wc_status_str(wc.status)));
}

// Reports what is done, in the order posted. A flush by the receiver is done
// when it has answered, and holds up what is behind it.
void VerbsFabricImpl::ReleaseDone(Connection& c, Output* out) {
  while (c.sent.oldest_is_completed()) {
    const SentWork work = c.sent.oldest();
    if (work.awaits_peer &&
        static_cast<int32_t>(c.flushes_done - work.mark) < 0) {
      return;
    }
    if (work.refused) {
      c.failed = true;
      c.failure = Outcome::kLocalError;
      Die(c, Outcome::kLocalError,
          absl::StrCat("verbs: a request to ", c.name,
                       " broke the rules: local memory not registered, "
                       "length, or alignment"));
      return;
    }
    c.sent.PopOldest();
    switch (work.kind) {
      case SentWork::Kind::kMessage:
        --c.messages_in_flight;
        c.ring.FreeUntil(work.mark);
        continue;
      case SentWork::Kind::kNotice:
        --c.notices_in_flight;
        continue;
      case SentWork::Kind::kRequest:
        break;
    }
    --c.used_slots;
    if (!work.signaled) continue;
    Event event;
    event.kind = EventKind::kCompleted;
    event.opcode = work.opcode;
    event.connection = c.id;
    event.cookie = work.cookie;
    Push(event, out);
  }
}

}  // namespace whale::fabric::verbs

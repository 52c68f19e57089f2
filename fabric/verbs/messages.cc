// Two-sided messages and the credits that bound them.
#include <endian.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "fabric/verbs/fabric_impl.h"

namespace whale::fabric::verbs {
namespace {

// At the latest after so many messages, or bytes of them, one is signaled, so
// that the ring and the send queue become free again.
constexpr uint32_t kMessagesPerSignal = kMessagesAtOnce / 4;
constexpr uint32_t kBytesPerSignal = MessageRing::kBytes / 4;

}  // namespace

std::byte* VerbsFabricImpl::BeginMessage(ConnectionId connection,
                                         size_t length_bytes) {
  WHALE_CHECK(length_bytes <= kMaxMessageBytes);
  Connection* c = FindOpen(connection);
  if (c == nullptr || c->credits == 0 ||
      c->messages_in_flight == kMessagesAtOnce) {
    return nullptr;
  }
  return c->ring.Reserve(length_bytes);
}

void VerbsFabricImpl::EndMessage(ConnectionId connection, size_t length_bytes) {
  Connection* c = FindOpen(connection);
  if (c == nullptr) return;
  const std::byte* const data = c->ring.reserved();
  const uint32_t end = c->ring.Commit(length_bytes);
  const uint32_t number = c->sent.next();
  ibv_send_wr& wr = AppendSend(*c, SentWork::Kind::kMessage,
                               NoticeKind::kMessage, data, length_bytes);
  c->sent.At(number).mark = end;
  --c->credits;
  ++c->messages_in_flight;
  ++c->unsignaled_messages;
  c->unsignaled_bytes += static_cast<uint32_t>(length_bytes);
  ++counters_.messages;
  if (c->unsignaled_messages >= kMessagesPerSignal ||
      c->unsignaled_bytes >= kBytesPerSignal) {
    MarkSignaled(*c, wr);
  }
  MarkUnflushed(*c);
}

// `data`: in the connection's buffers, or short enough to go inline.
ibv_send_wr& VerbsFabricImpl::AppendSend(Connection& c, SentWork::Kind kind,
                                         NoticeKind notice, const void* data,
                                         size_t length_bytes) {
  ibv_send_wr& wr = Append(c, kind, Opcode::kWrite);
  wr.opcode = IBV_WR_SEND_WITH_IMM;
  wr.imm_data = htobe32(EncodeNotice(notice, c.taken));
  c.told = c.taken;
  if (length_bytes > 0) {
    *wr.sg_list = {.addr = reinterpret_cast<uint64_t>(data),
                   .length = static_cast<uint32_t>(length_bytes),
                   .lkey = c.buffer_handle->lkey};
    wr.num_sge = 1;
    if (length_bytes <= kMaxInlineBytes) wr.send_flags |= IBV_SEND_INLINE;
  }
  return wr;
}

bool VerbsFabricImpl::TakeCredits(Connection& c, uint32_t taken) {
  const uint32_t back = (taken - c.peer_taken) & kTakenMask;
  if (back > c.peer.credits - c.credits) return false;
  c.credits += back;
  c.peer_taken = taken;
  return true;
}

// `counts`: the peer spent a credit on it.
void VerbsFabricImpl::ReleaseBuffer(Connection* c, uint32_t buffer,
                                    bool counts) {
  receives_->Release(buffer);
  if (c == nullptr || !counts) return;
  --c->held;
  ++c->taken;
  if (c->taken - c->told >= options_.credits / 2) DueNotice(*c);
}

void VerbsFabricImpl::DueNotice(Connection& c) {
  if (c.notice_due) return;
  c.notice_due = true;
  notices_due_.push_back(c.id);
}

// What the peer waits for and no message of ours has told it.
void VerbsFabricImpl::SendNotices(Connection& c) {
  if (c.flushes_told != c.flushes_served) {
    uint32_t& body = c.list.bodies[c.list.count];
    body = c.flushes_told = c.flushes_served;
    ibv_send_wr& wr = AppendSend(c, SentWork::Kind::kNotice,
                                 NoticeKind::kFlushAnswer, &body, sizeof(body));
    MarkSignaled(c, wr);
  } else if (c.taken - c.told >= options_.credits / 2) {
    ibv_send_wr& wr = AppendSend(c, SentWork::Kind::kNotice,
                                 NoticeKind::kCredits, nullptr, 0);
    MarkSignaled(c, wr);
  } else {
    return;
  }
  ++c.notices_in_flight;
  ++counters_.credit_messages;
  RingDoorbell(c);
}

void VerbsFabricImpl::SendDueNotices() {
  notices_now_.swap(notices_due_);  // both keep their room
  for (const ConnectionId id : notices_now_) {
    Connection* c = FindOpen(id);
    if (c == nullptr) continue;
    c->notice_due = false;
    if (c->notices_in_flight < kNoticesAtOnce) {
      SendNotices(*c);
    } else {
      DueNotice(*c);
    }
  }
  notices_now_.clear();
}

}  // namespace whale::fabric::verbs

// One-sided work: from requests of the caller to those of the adapter.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "fabric/verbs/fabric_impl.h"
#include "fabric/verbs/native_flush.h"
#include "fabric/verbs/work_id.h"

namespace whale::fabric::verbs {
namespace {

bool IsSwapWellFormed(const WorkRequest& request) {
  return request.length_bytes == 8 && request.remote_address % 8 == 0;
}

ibv_wr_opcode OpcodeOf(Opcode opcode) {
  switch (opcode) {
    case Opcode::kWriteWithImm:
      return IBV_WR_RDMA_WRITE_WITH_IMM;
    case Opcode::kRead:
      return IBV_WR_RDMA_READ;
    case Opcode::kCompareSwap:
      return IBV_WR_ATOMIC_CMP_AND_SWP;
    case Opcode::kWrite:
    case Opcode::kRemoteFlush:
      break;
  }
  return IBV_WR_RDMA_WRITE;
}

}  // namespace

size_t VerbsFabricImpl::FreeSlots(ConnectionId connection) const {
  const Connection* c = FindOpen(connection);
  if (c == nullptr || c->credits == 0) return 0;
  if (c->flushes_sent - c->flushes_done == kFlushesAtOnce) return 0;
  return options_.send_queue_depth - c->used_slots;
}

bool VerbsFabricImpl::HasRoom(const Connection& c,
                              std::span<const WorkRequest> requests) const {
  if (requests.size() > options_.send_queue_depth - c.used_slots) return false;
  uint32_t immediates = 0, flushes = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].opcode == Opcode::kWriteWithImm) ++immediates;
    if (requests[i].opcode == Opcode::kRemoteFlush) {
      ++flushes;
      i += FlushRun(requests.subspan(i)) - 1;
    }
  }
  return immediates <= c.credits &&
         (c.flush.method != FlushMethod::kReceiverFlush ||
          flushes <= kFlushesAtOnce - (c.flushes_sent - c.flushes_done));
}

PostResult VerbsFabricImpl::Post(ConnectionId connection,
                                 std::span<const WorkRequest> requests) {
  Connection* c = FindOpen(connection);
  if (c == nullptr) return PostResult::kClosed;
  if (!HasRoom(*c, requests)) return PostResult::kQueueFull;
  for (size_t i = 0; i < requests.size();) {
    if (requests[i].opcode == Opcode::kRemoteFlush) {
      const size_t run = FlushRun(requests.subspan(i));
      PlanFlush(*c, requests.subspan(i, run));
      i += run;
    } else {
      Plan(*c, requests[i++]);
    }
  }
  c->used_slots += static_cast<uint32_t>(requests.size());
  RingDoorbell(*c);
  return PostResult::kOk;
}

ibv_send_wr& VerbsFabricImpl::Append(Connection& c, SentWork::Kind kind,
                                     Opcode opcode) {
  const uint32_t number = c.sent.next();
  SentWork& work = c.sent.Push();
  work.kind = kind;
  work.opcode = opcode;
  ibv_send_wr& wr = c.list.requests[c.list.count];
  wr = {};
  wr.wr_id = SendWorkId(c.slot, c.generation, number);
  wr.sg_list = &c.list.pieces[c.list.count];
  ++c.list.count;
  return wr;
}

// The adapter tells when it is done with this one, and so with all before it.
void VerbsFabricImpl::MarkSignaled(Connection& c, ibv_send_wr& wr) {
  wr.send_flags |= IBV_SEND_SIGNALED;
  c.unsignaled_messages = 0;
  c.unsignaled_bytes = 0;
}

// What breaks a rule on this side must fail in its turn: all before it
// completes first, nothing behind it is carried out. An adapter that is given a
// request that it must refuse may drop what is still on its way before that
// (soft-RoCE does). So it gets a WRITE of nothing in its place, whose turn is
// the failure (ReleaseDone), and nothing that is behind it (RingDoorbell).
void VerbsFabricImpl::PlanRefused(Connection& c, const WorkRequest& request) {
  const uint32_t number = c.sent.next();
  ibv_send_wr& wr = Append(c, SentWork::Kind::kRequest, request.opcode);
  SentWork& work = c.sent.At(number);
  work.cookie = request.cookie;
  work.signaled = true;
  work.refused = true;
  wr.opcode = IBV_WR_RDMA_WRITE;
  MarkSignaled(c, wr);
  if (!c.refused) c.list.until_refused = c.list.count;
  c.refused = true;
}

void VerbsFabricImpl::Plan(Connection& c, const WorkRequest& request) {
  uint32_t key = 0;
  const bool inlined = request.inline_data && request.opcode != Opcode::kRead &&
                       request.opcode != Opcode::kCompareSwap;
  const bool local_is_fine =
      request.length_bytes == 0 ||
      (inlined
           ? request.length_bytes <= kMaxInlineBytes
           : regions_->FindLocalKey(request.local, request.length_bytes, &key));
  if (!local_is_fine || request.remote_key > UINT32_MAX ||
      (request.opcode == Opcode::kCompareSwap && !IsSwapWellFormed(request))) {
    PlanRefused(c, request);
    return;
  }
  const uint32_t number = c.sent.next();
  ibv_send_wr& wr = Append(c, SentWork::Kind::kRequest, request.opcode);
  SentWork& work = c.sent.At(number);
  work.cookie = request.cookie;
  work.signaled = request.signaled;
  wr.opcode = OpcodeOf(request.opcode);
  if (request.length_bytes > 0) {
    *wr.sg_list = {.addr = reinterpret_cast<uint64_t>(request.local),
                   .length = request.length_bytes,
                   .lkey = key};
    wr.num_sge = 1;
    if (inlined) wr.send_flags |= IBV_SEND_INLINE;
  }
  const auto remote_key = static_cast<uint32_t>(request.remote_key);
  switch (request.opcode) {
    case Opcode::kCompareSwap:
      wr.wr.atomic.remote_addr = request.remote_address;
      wr.wr.atomic.rkey = remote_key;
      wr.wr.atomic.compare_add = request.compare;
      wr.wr.atomic.swap = request.swap;
      ++counters_.compare_swaps;
      break;
    case Opcode::kWriteWithImm:
      wr.imm_data = htobe32(request.immediate);
      --c.credits;
      ++counters_.writes_with_imm;
      [[fallthrough]];
    default:
      wr.wr.rdma.remote_addr = request.remote_address;
      wr.wr.rdma.rkey = remote_key;
      if (request.opcode == Opcode::kRead) ++counters_.reads;
      if (request.opcode == Opcode::kWrite) ++counters_.writes;
      break;
  }
  if (request.signaled) MarkSignaled(c, wr);
}

void VerbsFabricImpl::RingDoorbell(Connection& c) {
  PostList& list = c.list;
  const uint32_t count = c.refused ? list.until_refused : list.count;
  list.count = list.until_refused = 0;
  if (count == 0) return;
  for (uint32_t i = 0; i + 1 < count; ++i) {
    list.requests[i].next = &list.requests[i + 1];
  }
  int error = 0;
  if (c.flush.method == FlushMethod::kNativeFlush) {
    error = PostWithFlush(
        c.pair.get(), list.requests.data(), count,
        DecodeFlushCapabilities(c.peer.flush_capabilities).needs.durable);
  } else {
    ibv_send_wr* bad = nullptr;
    error = ibv_post_send(c.pair.get(), list.requests.data(), &bad);
  }
  ++counters_.doorbells;
  if (error != 0) {
    Die(c, Outcome::kLocalError,
        absl::StrCat("verbs: post towards ", c.name, ": ",
                     std::strerror(error)));
  }
}

void VerbsFabricImpl::MarkUnflushed(Connection& c) {
  if (c.unflushed) return;
  c.unflushed = true;
  unflushed_.push_back(c.id);
}

void VerbsFabricImpl::FlushMessages() {
  for (const ConnectionId id : unflushed_) {
    Connection* c = Find(id);
    if (c == nullptr || c->state != State::kOpen) continue;
    c->unflushed = false;
    if (!c->dying) RingDoorbell(*c);
  }
  unflushed_.clear();
}

}  // namespace whale::fabric::verbs

// Remote flush, by the method of the connection.
//
// A flush makes earlier WRITEs of its connection durable, so a run of flushes
// with nothing between them is one: one READ or one message stands for all,
// and only native FLUSH, which names a range, needs each.
#include <algorithm>
#include <cstring>

#include "fabric/verbs/buffer_layout.h"
#include "fabric/verbs/fabric_impl.h"
#include "fabric/verbs/native_flush.h"
#include "fabric/verbs/work_id.h"

namespace whale::fabric::verbs {
namespace {

// Which requests a flush message takes; a signaled one ends it, because its
// completion is asked for.
bool Joins(const WorkRequest& request) {
  return request.opcode == Opcode::kRemoteFlush && !request.signaled;
}

}  // namespace

size_t VerbsFabricImpl::FlushRun(std::span<const WorkRequest> requests) {
  size_t run = 1;
  while (run < requests.size() && run < kRangesPerFlush &&
         Joins(requests[run - 1]) &&
         requests[run].opcode == Opcode::kRemoteFlush) {
    ++run;
  }
  return run;
}

void VerbsFabricImpl::PlanFlush(Connection& c,
                                std::span<const WorkRequest> run) {
  if (c.flush.method == FlushMethod::kReceiverFlush) {
    PlanReceiverFlush(c, run);
    return;
  }
  for (size_t i = 0; i < run.size(); ++i) {
    const WorkRequest& request = run[i];
    const bool last = i + 1 == run.size();
    const uint32_t number = c.sent.next();
    if (!last && c.flush.method != FlushMethod::kNativeFlush) {
      SentWork& work = c.sent.Push();  // done when the last one is
      work.opcode = Opcode::kRemoteFlush;
      work.cookie = request.cookie;
      continue;
    }
    ibv_send_wr& wr = Append(c, SentWork::Kind::kRequest, Opcode::kRemoteFlush);
    SentWork& work = c.sent.At(number);
    work.cookie = request.cookie;
    work.signaled = request.signaled;
    wr.wr.rdma.rkey = static_cast<uint32_t>(request.remote_key);
    wr.wr.rdma.remote_addr = request.remote_address;
    if (c.flush.method == FlushMethod::kNativeFlush) {
      wr.opcode = FlushOpcode();
      wr.sg_list->length = request.length_bytes;
      wr.num_sge = 1;
    } else if (c.flush.method == FlushMethod::kReadAfterWrite &&
               request.length_bytes > 0) {
      const uint32_t length =
          std::min<uint32_t>(request.length_bytes, kReadBackBytes);
      wr.opcode = IBV_WR_RDMA_READ;
      wr.wr.rdma.remote_addr += request.length_bytes - length;
      *wr.sg_list = {
          .addr = reinterpret_cast<uint64_t>(c.buffers.data() + kReadBackAt),
          .length = length,
          .lkey = c.buffer_handle->lkey};
      wr.num_sge = 1;
    } else {
      wr.opcode = IBV_WR_RDMA_WRITE;  // of nothing: completes in its turn
    }
    ++counters_.flushes;
    if (request.signaled) MarkSignaled(c, wr);
  }
}

void VerbsFabricImpl::PlanReceiverFlush(Connection& c,
                                        std::span<const WorkRequest> run) {
  const uint32_t flush = ++c.flushes_sent;
  std::byte* const room = c.buffers.data() + kFlushMessagesAt +
                          flush % kFlushesAtOnce * kFlushMessageBytes;
  for (size_t i = 0; i < run.size(); ++i) {
    const FlushRange range{.key = run[i].remote_key,
                           .address = run[i].remote_address,
                           .length_bytes = run[i].length_bytes};
    std::memcpy(room + i * sizeof(range), &range, sizeof(range));
    SentWork* work = nullptr;
    if (i + 1 < run.size()) {
      work = &c.sent.Push();
      work->opcode = Opcode::kRemoteFlush;
    } else {
      const uint32_t number = c.sent.next();
      ibv_send_wr& wr =
          AppendSend(c, SentWork::Kind::kRequest, NoticeKind::kFlushRequest,
                     room, run.size() * sizeof(FlushRange));
      work = &c.sent.At(number);
      work->opcode = Opcode::kRemoteFlush;
      if (run[i].signaled) MarkSignaled(c, wr);
    }
    work->cookie = run[i].cookie;
    work->signaled = run[i].signaled;
    work->awaits_peer = true;
    work->mark = flush;
  }
  ++counters_.flushes;
}

// The owner's side. False: the peer asks for what it may not.
bool VerbsFabricImpl::OnFlushRequest(Connection& c, const std::byte* body,
                                     size_t length) {
  if (options_.persist == nullptr || length % sizeof(FlushRange) != 0 ||
      length > kRangesPerFlush * sizeof(FlushRange) ||
      c.flushes_served - c.flushes_told >= kFlushesAtOnce) {
    return false;
  }
  for (size_t at = 0; at < length; at += sizeof(FlushRange)) {
    FlushRange range;
    std::memcpy(&range, body + at, sizeof(range));
    if (range.length_bytes == 0) continue;
    if (!regions_->IsWritable(range.key, range.address, range.length_bytes)) {
      return false;
    }
    options_.persist(reinterpret_cast<const std::byte*>(range.address),
                     range.length_bytes);
  }
  ++c.flushes_served;
  DueNotice(c);
  return true;
}

bool VerbsFabricImpl::OnFlushAnswer(Connection& c, const std::byte* body,
                                    size_t length) {
  uint32_t done = 0;
  if (length != sizeof(done)) return false;
  std::memcpy(&done, body, sizeof(done));
  const uint32_t more = done - c.flushes_done;
  if (more == 0 || more > c.flushes_sent - c.flushes_done) return false;
  c.flushes_done = done;
  return true;
}

}  // namespace whale::fabric::verbs

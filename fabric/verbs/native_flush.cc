#include "fabric/verbs/native_flush.h"

#include <cerrno>

namespace whale::fabric::verbs {

#ifdef WHALE_HAVE_IBV_WR_FLUSH

namespace {

void Begin(ibv_qp_ex* pair, const ibv_send_wr& wr) {
  switch (wr.opcode) {
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      ibv_wr_rdma_write_imm(pair, wr.wr.rdma.rkey, wr.wr.rdma.remote_addr,
                            wr.imm_data);
      return;
    case IBV_WR_RDMA_READ:
      ibv_wr_rdma_read(pair, wr.wr.rdma.rkey, wr.wr.rdma.remote_addr);
      return;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      ibv_wr_atomic_cmp_swp(pair, wr.wr.atomic.rkey, wr.wr.atomic.remote_addr,
                            wr.wr.atomic.compare_add, wr.wr.atomic.swap);
      return;
    case IBV_WR_SEND_WITH_IMM:
      ibv_wr_send_imm(pair, wr.imm_data);
      return;
    default:
      ibv_wr_rdma_write(pair, wr.wr.rdma.rkey, wr.wr.rdma.remote_addr);
      return;
  }
}

}  // namespace

bool CanFlush(ibv_context* context) {
  ibv_device_attr_ex attributes = {};
  if (ibv_query_device_ex(context, nullptr, &attributes) != 0) return false;
  // The kernel's IB_UVERBS_DEVICE_FLUSH_GLOBAL and _PERSISTENT, for which
  // libibverbs has no names.
  constexpr uint64_t kBoth = uint64_t{1} << 38 | uint64_t{1} << 39;
  return (attributes.device_cap_flags_ex & kBoth) == kBoth;
}

uint64_t FlushAccessFlags(bool persistent) {
  return IBV_ACCESS_FLUSH_GLOBAL |
         (persistent ? IBV_ACCESS_FLUSH_PERSISTENT : 0);
}

ibv_qp* CreateFlushingQueuePair(ibv_pd* domain,
                                const ibv_qp_init_attr& attributes) {
  ibv_qp_init_attr_ex extended = {};
  extended.send_cq = attributes.send_cq;
  extended.recv_cq = attributes.recv_cq;
  extended.srq = attributes.srq;
  extended.cap = attributes.cap;
  extended.qp_type = attributes.qp_type;
  extended.pd = domain;
  extended.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  extended.send_ops_flags =
      IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM |
      IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
      IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_FLUSH;
  return ibv_create_qp_ex(domain->context, &extended);
}

ibv_wr_opcode FlushOpcode() { return IBV_WR_FLUSH; }

int PostWithFlush(ibv_qp* pair, const ibv_send_wr* requests, size_t count,
                  bool persistent) {
  ibv_qp_ex* const extended = ibv_qp_to_qp_ex(pair);
  ibv_wr_start(extended);
  for (const ibv_send_wr* wr = requests; wr != requests + count; ++wr) {
    extended->wr_id = wr->wr_id;
    // The inline flag belongs to the other way of posting, but soft-RoCE's
    // library looks at it here, too; others do not.
    extended->wr_flags = wr->send_flags;
    if (wr->opcode == IBV_WR_FLUSH) {
      ibv_wr_flush(extended, wr->wr.rdma.rkey, wr->wr.rdma.remote_addr,
                   wr->sg_list->length,
                   persistent ? IBV_FLUSH_PERSISTENT : IBV_FLUSH_GLOBAL,
                   IBV_FLUSH_RANGE);
      continue;
    }
    Begin(extended, *wr);
    if (wr->num_sge == 0) {
      ibv_wr_set_sge_list(extended, 0, nullptr);
    } else if ((wr->send_flags & IBV_SEND_INLINE) != 0) {
      ibv_wr_set_inline_data(extended,
                             reinterpret_cast<void*>(wr->sg_list->addr),
                             wr->sg_list->length);
    } else {
      ibv_wr_set_sge(extended, wr->sg_list->lkey, wr->sg_list->addr,
                     wr->sg_list->length);
    }
  }
  return ibv_wr_complete(extended);
}

#else

bool CanFlush(ibv_context*) { return false; }

uint64_t FlushAccessFlags(bool) { return 0; }

ibv_qp* CreateFlushingQueuePair(ibv_pd*, const ibv_qp_init_attr&) {
  errno = EOPNOTSUPP;
  return nullptr;
}

ibv_wr_opcode FlushOpcode() { return IBV_WR_RDMA_WRITE; }

int PostWithFlush(ibv_qp*, const ibv_send_wr*, size_t, bool) {
  return EOPNOTSUPP;
}

#endif

}  // namespace whale::fabric::verbs

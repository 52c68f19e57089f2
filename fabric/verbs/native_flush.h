// RDMA FLUSH, as far as the libibverbs that this was built with has it (45 and
// later; CMake defines WHALE_HAVE_IBV_WR_FLUSH). Without, no adapter can.
#ifndef WHALE_FABRIC_VERBS_NATIVE_FLUSH_H_
#define WHALE_FABRIC_VERBS_NATIVE_FLUSH_H_

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

namespace whale::fabric::verbs {

// Whether library and adapter have it.
bool CanFlush(ibv_context* context);
// What memory must be registered with; `persistent`: memory that survives.
uint64_t FlushAccessFlags(bool persistent);
// As ibv_create_qp, able to post FLUSH; nullptr and errno.
ibv_qp* CreateFlushingQueuePair(ibv_pd* domain,
                                const ibv_qp_init_attr& attributes);
// What ibv_post_send is for other queue pairs: posts `requests` with one
// doorbell. A FLUSH among them is a request with FlushOpcode(), whose range is
// in wr.rdma and in its one piece's length. 0 or an errno.
int PostWithFlush(ibv_qp* pair, const ibv_send_wr* requests, size_t count,
                  bool persistent);
ibv_wr_opcode FlushOpcode();

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_NATIVE_FLUSH_H_

// The shared receive queue and its buffers.
//
// Every connection brings as many buffers as its peer has credits, and a few
// for what needs none (credit and flush messages), so the queue cannot run
// empty as long as peers keep to their credits. Who does not is disconnected
// when what it sent is polled; until then the others' messages and immediates
// may find no buffer and are sent again, one-sided requests need none.
// The buffers of connections that ended stay for those to come.
//
// Thread-safety: none.
#ifndef WHALE_FABRIC_VERBS_RECEIVE_QUEUE_H_
#define WHALE_FABRIC_VERBS_RECEIVE_QUEUE_H_

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "fabric/shared_memory.h"
#include "fabric/verbs/handles.h"

namespace whale::fabric::verbs {

class ReceiveQueue {
 public:
  // `most_shares`: connections that may have a share of `share` buffers each.
  static absl::StatusOr<std::unique_ptr<ReceiveQueue>> Create(
      ibv_pd* domain, uint32_t share, uint32_t most_shares);

  ibv_srq* handle() const { return queue_.get(); }

  // Posts a share for one more connection. REQUIRES: fewer than most_shares.
  absl::Status AddShare();
  // A connection has ended: the next takes its share.
  void ReturnShare() { --shares_in_use_; }

  const std::byte* Buffer(uint32_t index) const {
    return blocks_[index / share_].memory.data() +
           size_t{index % share_} * kMaxMessageBytes;
  }
  // Buffer `index` came out of the queue and is not looked at any more.
  void Release(uint32_t index) { released_.push_back(index); }
  // Posts what was released.
  absl::Status Repost();

 private:
  struct Block {
    SharedMemory memory;
    MemoryHandle handle;
  };

  ReceiveQueue(ibv_pd* domain, uint32_t share)
      : domain_(domain), share_(share) {}

  ibv_pd* const domain_;
  const uint32_t share_;
  uint32_t shares_in_use_ = 0;
  std::vector<Block> blocks_;  // one per share ever taken
  SharedReceiveHandle queue_;
  std::vector<uint32_t> released_;
  std::vector<ibv_recv_wr> requests_;  // scratch of Repost
  std::vector<ibv_sge> pieces_;
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_RECEIVE_QUEUE_H_

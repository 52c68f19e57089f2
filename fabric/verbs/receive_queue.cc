#include "fabric/verbs/receive_queue.h"

#include <cerrno>
#include <utility>

#include "common/status_macros.h"
#include "fabric/verbs/work_id.h"

namespace whale::fabric::verbs {

absl::StatusOr<std::unique_ptr<ReceiveQueue>> ReceiveQueue::Create(
    ibv_pd* domain, uint32_t share, uint32_t most_shares) {
  std::unique_ptr<ReceiveQueue> result(new ReceiveQueue(domain, share));
  ibv_srq_init_attr attributes = {};
  attributes.attr.max_wr = share * most_shares;
  attributes.attr.max_sge = 1;
  result->queue_.reset(ibv_create_srq(domain, &attributes));
  if (result->queue_ == nullptr) {
    return VerbsError(absl::StrCat("create a shared receive queue of ",
                                   attributes.attr.max_wr, " buffers"),
                      errno);
  }
  // All of them at most: nothing is allocated later.
  const size_t most = size_t{share} * most_shares;
  result->released_.reserve(most);
  result->requests_.resize(most);
  result->pieces_.resize(most);
  return result;
}

absl::Status ReceiveQueue::AddShare() {
  if (shares_in_use_ < blocks_.size()) {
    ++shares_in_use_;
    return absl::OkStatus();
  }
  Block block;
  WHALE_ASSIGN_OR_RETURN(block.memory, SharedMemory::CreatePrivate(
                                           size_t{share_} * kMaxMessageBytes));
  block.handle.reset(ibv_reg_mr(domain_, block.memory.data(),
                                block.memory.size(), IBV_ACCESS_LOCAL_WRITE));
  if (block.handle == nullptr) {
    return VerbsError("register receive buffers", errno);
  }
  const auto first = static_cast<uint32_t>(blocks_.size()) * share_;
  blocks_.push_back(std::move(block));
  ++shares_in_use_;
  for (uint32_t i = 0; i < share_; ++i) released_.push_back(first + i);
  return Repost();
}

absl::Status ReceiveQueue::Repost() {
  if (released_.empty()) return absl::OkStatus();
  for (size_t i = 0; i < released_.size(); ++i) {
    const uint32_t index = released_[i];
    pieces_[i] = {.addr = reinterpret_cast<uint64_t>(Buffer(index)),
                  .length = kMaxMessageBytes,
                  .lkey = blocks_[index / share_].handle->lkey};
    requests_[i] = {};
    requests_[i].wr_id = ReceiveWorkId(index);
    requests_[i].sg_list = &pieces_[i];
    requests_[i].num_sge = 1;
    requests_[i].next = requests_.data() + i + 1;
  }
  requests_[released_.size() - 1].next = nullptr;
  ibv_recv_wr* bad = nullptr;
  const int error = ibv_post_srq_recv(queue_.get(), requests_.data(), &bad);
  released_.clear();
  return error == 0 ? absl::OkStatus()
                    : VerbsError("post receive buffers", error);
}

}  // namespace whale::fabric::verbs

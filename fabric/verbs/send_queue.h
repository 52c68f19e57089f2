// What one connection has posted and not yet reported as done, in order.
//
// The adapter tells of signaled requests and of the first that failed; all
// before that one have succeeded. So the fabric keeps a note of every request,
// and the note's number is in its work id.
//
// Thread-safety: none.
#ifndef WHALE_FABRIC_VERBS_SEND_QUEUE_H_
#define WHALE_FABRIC_VERBS_SEND_QUEUE_H_

#include <bit>
#include <cstdint>
#include <vector>

#include "fabric/fabric.h"

namespace whale::fabric::verbs {

struct SentWork {
  enum class Kind : uint8_t {
    kRequest,  // from Post
    kMessage,  // from EndMessage
    kNotice,   // credits, flush answers: the fabric's own
  };
  uint64_t cookie = 0;
  // kMessage: what it frees in the ring. kRemoteFlush by the receiver: the
  // number of the flush message that must be answered.
  uint32_t mark = 0;
  Kind kind = Kind::kRequest;
  Opcode opcode = Opcode::kWrite;
  bool signaled = false;
  bool refused = false;      // fails in its turn: a local error
  bool awaits_peer = false;  // flush by the receiver
};

class SendQueue {
 public:
  void Reset(uint32_t capacity) {
    works_.assign(std::bit_ceil(capacity), {});
    next_ = oldest_ = completed_ = 0;
  }
  bool empty() const { return oldest_ == next_; }
  uint32_t next() const { return next_; }

  SentWork& Push() {
    SentWork& work = At(next_++);
    work = {};
    return work;
  }
  SentWork& At(uint32_t number) { return works_[number & (works_.size() - 1)]; }
  SentWork& oldest() { return At(oldest_); }
  void PopOldest() { ++oldest_; }

  // The adapter is done with all up to `number`, inclusive. False: that was
  // never posted.
  bool CompleteUpTo(uint32_t number) {
    if (number + 1 - oldest_ > next_ - oldest_) return false;
    completed_ = number + 1;
    return true;
  }
  bool oldest_is_completed() const { return oldest_ != completed_; }

 private:
  std::vector<SentWork> works_;
  uint32_t next_ = 0;
  uint32_t oldest_ = 0;
  uint32_t completed_ = 0;  // never before oldest_
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_SEND_QUEUE_H_

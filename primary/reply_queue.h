// Answers that wait for the commit watermark (protocol, section 4: no one may
// expose a record that is not below it, the client included).
//
// Thread-safety: none.
#ifndef WHALE_PRIMARY_REPLY_QUEUE_H_
#define WHALE_PRIMARY_REPLY_QUEUE_H_

#include <cstdint>

#include "common/ids.h"
#include "common/ring_queue.h"
#include "fabric/fabric.h"
#include "primary/write.h"
#include "proto/wire.h"

namespace whale::primary {

// Whom to answer, and what; `after`: once the watermark is above this LSN.
struct WaitingReply {
  fabric::ConnectionId connection;
  uint64_t tag = 0;
  wire::RequestType type = wire::RequestType::kPut;
  wire::Result result = wire::Result::kOk;
  bool full_durability = false;
  // The answer has no effect (compare failed, not found): it is a read.
  bool is_read = false;
  // A retry of a record that an earlier epoch left: acknowledged only once
  // mirrors + 1 members hold the value (section 8, step 9).
  bool needs_copies = false;
  uint64_t version = 0;
  Lsn after;
};

// What an answer is to, beyond a record that was just ordered.
enum class ReplyKind : uint8_t {
  kWrite,
  kRead,         // sets is_read
  kEarlierWrite  // sets needs_copies
};

inline WaitingReply MakeReply(const Write& write, wire::Result result,
                              uint64_t version, Lsn after, ReplyKind kind) {
  return {.connection = write.connection,
          .tag = write.tag,
          .type = write.type,
          .result = result,
          .full_durability = write.full_durability,
          .is_read = kind == ReplyKind::kRead,
          .needs_copies = kind == ReplyKind::kEarlierWrite,
          .version = version,
          .after = after};
}

// FIFO by order of arrival. A reply may wait behind one with a larger LSN; that
// one's record is ordered already and commits soon, so order is kept simple.
class ReplyQueue {
 public:
  void Push(const WaitingReply& reply) { queue_.push_back(reply); }
  // Builds it in its place: a copy, which reads 16 bytes at a time what was
  // just stored in smaller pieces, waits for all stores before it, those into
  // the log too.
  void Push(const Write& write, wire::Result result, uint64_t version,
            Lsn after, ReplyKind kind) {
    queue_.push_back() = MakeReply(write, result, version, after, kind);
  }
  bool empty() const { return queue_.empty(); }
  size_t size() const { return queue_.size(); }

  // Calls `answer(const WaitingReply&)` for all at the front whose record lies
  // below `watermark`.
  template <typename Answer>
  void Release(Lsn watermark, Answer&& answer) {
    while (!queue_.empty() && queue_.front().after < watermark) {
      const WaitingReply reply = queue_.front();
      queue_.pop_front();
      answer(reply);
    }
  }
  // The same for all, whatever they wait for.
  template <typename Answer>
  void ReleaseAll(Answer&& answer) {
    Release(kMaxLsn, answer);
  }

 private:
  RingQueue<WaitingReply> queue_{256};
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_REPLY_QUEUE_H_

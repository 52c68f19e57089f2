// Events that wait for Poll, in order.
//
// Thread-safety: none. No allocation once it has grown to what is usual.
#ifndef WHALE_FABRIC_SHM_EVENT_QUEUE_H_
#define WHALE_FABRIC_SHM_EVENT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fabric/fabric.h"

namespace whale::fabric::shm {

struct QueuedEvent {
  Event event;
  uint32_t freed_slots = 0;              // of the send queue, once handed out
  std::unique_ptr<std::string> payload;  // what `data` or `detail` points to
};

class EventQueue {
 public:
  bool empty() const { return head_ == tail_; }
  QueuedEvent& Push() {
    if (empty()) head_ = tail_ = 0;  // the same few slots stay in the cache
    if (tail_ - head_ == slots_.size()) Grow();
    QueuedEvent& slot = slots_[tail_++ & (slots_.size() - 1)];
    slot.event = Event{};
    slot.freed_slots = 0;
    return slot;
  }
  // REQUIRES: not empty. Valid until the next Push.
  QueuedEvent& Pop() { return slots_[head_++ & (slots_.size() - 1)]; }

 private:
  void Grow() {
    std::vector<QueuedEvent> larger(slots_.size() * 2);
    const size_t count = tail_ - head_;
    for (size_t i = 0; i < count; ++i) larger[i] = std::move(Pop());
    slots_ = std::move(larger);
    head_ = 0;
    tail_ = count;
  }

  std::vector<QueuedEvent> slots_ = std::vector<QueuedEvent>(1024);
  uint64_t head_ = 0, tail_ = 0;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_EVENT_QUEUE_H_

// A FIFO that grows: a power-of-two ring that doubles when it is full, so that
// the steady state allocates nothing.
//
// Thread-safety: none. Elements are copied when the ring grows.
#ifndef WHALE_COMMON_RING_QUEUE_H_
#define WHALE_COMMON_RING_QUEUE_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "common/check.h"

namespace whale {

template <typename T>
class RingQueue {
 public:
  explicit RingQueue(size_t initial_capacity = 64) {
    size_t capacity = 1;
    while (capacity < initial_capacity) capacity *= 2;
    items_.resize(capacity);
  }

  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  T& front() {
    WHALE_DCHECK(!empty());
    return items_[head_ & Mask()];
  }
  const T& front() const {
    WHALE_DCHECK(!empty());
    return items_[head_ & Mask()];
  }
  T& back() {
    WHALE_DCHECK(!empty());
    return items_[(tail_ - 1) & Mask()];
  }
  // i-th from the front.
  T& operator[](size_t i) { return items_[(head_ + i) & Mask()]; }
  const T& operator[](size_t i) const { return items_[(head_ + i) & Mask()]; }

  void push_back(T item) { push_back() = std::move(item); }
  // The new item, to be assigned: what it holds now means nothing.
  T& push_back() {
    if (size() == items_.size()) Grow();
    return items_[tail_++ & Mask()];
  }
  void pop_front() {
    WHALE_DCHECK(!empty());
    ++head_;
  }
  void pop_back() {
    WHALE_DCHECK(!empty());
    --tail_;
  }
  void clear() { head_ = tail_ = 0; }

 private:
  size_t Mask() const { return items_.size() - 1; }
  void Grow() {
    std::vector<T> bigger(items_.size() * 2);
    for (size_t i = 0; i < size(); ++i) bigger[i] = std::move((*this)[i]);
    tail_ = size();
    head_ = 0;
    items_ = std::move(bigger);
  }

  std::vector<T> items_;
  size_t head_ = 0;  // both only grow; positions are taken modulo capacity
  size_t tail_ = 0;
};

}  // namespace whale

#endif  // WHALE_COMMON_RING_QUEUE_H_

// Writes that wait: for the window, for a segment, for a free slot. Copies,
// because the receive buffer they came in is gone by then.
//
// Bounded; past the bound the client is told kResourceExhausted. Kept in order,
// and while anything waits, later writes of the shard wait behind it.
//
// Thread-safety: none.
#ifndef WHALE_PRIMARY_DEFERRED_WRITES_H_
#define WHALE_PRIMARY_DEFERRED_WRITES_H_

#include <cstddef>
#include <deque>
#include <string>

#include "primary/write.h"

namespace whale::primary {

class DeferredWrites {
 public:
  explicit DeferredWrites(size_t max_writes) : max_writes_(max_writes) {}

  bool empty() const { return queue_.empty(); }
  size_t size() const { return queue_.size(); }

  // False: full.
  bool Push(const Write& write) {
    if (queue_.size() >= max_writes_) return false;
    queue_.push_back({write, std::string(write.key), std::string(write.value)});
    Owned& owned = queue_.back();
    owned.write.key = owned.key;
    owned.write.value = owned.value;
    return true;
  }
  // Valid until Pop.
  const Write& front() const { return queue_.front().write; }
  void Pop() { queue_.pop_front(); }

 private:
  struct Owned {
    Write write;
    std::string key;
    std::string value;
  };
  const size_t max_writes_;
  std::deque<Owned> queue_;  // never moves its elements
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_DEFERRED_WRITES_H_

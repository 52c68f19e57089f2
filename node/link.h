// Posting batches on a connection: the one place where work requests of the
// cores meet the fabric.
#ifndef WHALE_NODE_LINK_H_
#define WHALE_NODE_LINK_H_

#include <algorithm>
#include <cstddef>
#include <span>

#include "node/context.h"

namespace whale::node {

// One role's connection to one peer, for the life of an epoch. Once it is
// broken it stays so: there is no repair within an epoch.
class Link {
 public:
  Link() = default;
  Link(Context* context, fabric::ConnectionId connection)
      : context_(context), connection_(connection) {}

  bool usable() const { return context_ != nullptr && !broken_; }
  bool broken() const { return broken_; }
  void Break() { broken_ = true; }
  fabric::ConnectionId connection() const { return connection_; }

  // Calls `plan(WorkRequest* out, size_t capacity)` and posts what it returns.
  // True if something was posted.
  template <typename Plan>
  bool Post(Plan&& plan) {
    if (!usable()) return false;
    auto& batch = context_->batch;
    const size_t room =
        std::min(context_->fabric->FreeSlots(connection_), batch.size());
    const size_t count = plan(batch.data(), room);
    if (count == 0) return false;
    if (context_->fabric->Post(connection_, std::span(batch.data(), count)) !=
        fabric::PostResult::kOk) {
      broken_ = true;
      return false;
    }
    return true;
  }

 private:
  Context* context_ = nullptr;
  fabric::ConnectionId connection_;
  bool broken_ = false;
};

}  // namespace whale::node

#endif  // WHALE_NODE_LINK_H_

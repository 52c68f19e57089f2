// Whether all that a role has posted on one connection has landed at the peer.
//
// Where the completion of a WRITE does not say so (protocol, section 7), the
// completion of a READ behind it does.
//
// Thread-safety: none.
#ifndef WHALE_NODE_DRAIN_H_
#define WHALE_NODE_DRAIN_H_

#include <cstddef>
#include <cstdint>

#include "fabric/fabric.h"
#include "node/context.h"
#include "node/link.h"

namespace whale::node {

class Drain {
 public:
  Drain() = default;
  // REQUIRES: the connection is up.
  Drain(Context* context, fabric::ConnectionId connection)
      : over_(context->fabric->flush_method(connection) ==
              fabric::FlushMethod::kNone) {}

  // Once nothing more will be posted on `link`; may be called again. Reads a
  // word at `readable` into `scratch`.
  void Post(Link& link, const fabric::Grant& readable, std::byte* scratch,
            const WorkCookie& cookie) {
    if (over_ || posted_) return;
    posted_ = link.Post([&](fabric::WorkRequest* out, size_t room) {
      if (room == 0) return size_t{0};
      *out = {.opcode = fabric::Opcode::kRead,
              .signaled = true,
              .local = scratch,
              .length_bytes = sizeof(uint64_t),
              .remote_key = readable.key,
              .remote_address = readable.address,
              .cookie = cookie.Encode()};
      return size_t{1};
    });
  }
  void OnCompletion() { over_ = true; }

  // What has completed has landed.
  bool over() const { return over_; }

 private:
  bool over_ = true;
  bool posted_ = false;
};

}  // namespace whale::node

#endif  // WHALE_NODE_DRAIN_H_

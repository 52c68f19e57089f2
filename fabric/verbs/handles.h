// Owners of libibverbs objects.
#ifndef WHALE_FABRIC_VERBS_HANDLES_H_
#define WHALE_FABRIC_VERBS_HANDLES_H_

#include <infiniband/verbs.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace whale::fabric::verbs {

template <auto kRelease>
struct Releaser {
  template <typename T>
  void operator()(T* object) const {
    kRelease(object);
  }
};

using ContextHandle = std::unique_ptr<ibv_context, Releaser<ibv_close_device>>;
using DomainHandle = std::unique_ptr<ibv_pd, Releaser<ibv_dealloc_pd>>;
using MemoryHandle = std::unique_ptr<ibv_mr, Releaser<ibv_dereg_mr>>;
using ChannelHandle =
    std::unique_ptr<ibv_comp_channel, Releaser<ibv_destroy_comp_channel>>;
using CompletionQueueHandle = std::unique_ptr<ibv_cq, Releaser<ibv_destroy_cq>>;
using SharedReceiveHandle = std::unique_ptr<ibv_srq, Releaser<ibv_destroy_srq>>;
using QueuePairHandle = std::unique_ptr<ibv_qp, Releaser<ibv_destroy_qp>>;

// "verbs: WHAT: strerror"; the code says what the caller can do.
inline absl::Status VerbsError(std::string_view what, int error) {
  const std::string text =
      absl::StrCat("verbs: ", std::string(what), ": ", std::strerror(error));
  switch (error) {
    case ENOMEM:
    case EAGAIN:
      return absl::ResourceExhaustedError(absl::StrCat(
          text,
          "; raise the limit of locked memory (ulimit -l, systemd: "
          "LimitMEMLOCK=infinity), see docs/rdma.md"));
    case EOPNOTSUPP:
    case ENOSYS:
      return absl::UnimplementedError(text);
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(text);
    default:
      return absl::InvalidArgumentError(text);
  }
}

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_HANDLES_H_

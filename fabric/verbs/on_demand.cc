#include "fabric/verbs/on_demand.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "fabric/shared_memory.h"
#include "fabric/verbs/handles.h"
#include "fabric/verbs/setup_message.h"

namespace whale::fabric::verbs {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr uint32_t kTriedBytes = 48;
constexpr int64_t kPatienceNs = 2'000'000'000;

bool HasOnDemandPaging(ibv_context* context) {
  ibv_device_attr_ex attributes = {};
  if (ibv_query_device_ex(context, nullptr, &attributes) != 0) return false;
  constexpr uint32_t kNeeded = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
  return (attributes.odp_caps.general_caps & IBV_ODP_SUPPORT) != 0 &&
         (attributes.odp_caps.per_transport_caps.rc_odp_caps & kNeeded) ==
             kNeeded;
}

// As its peer is told of it.
SetupMessage SetupOf(const ibv_qp& pair, const QueuePairConfig& config) {
  SetupMessage message;
  message.ethernet = config.choice.port.ethernet ? 1 : 0;
  message.queue_pair = pair.qp_num;
  std::memcpy(message.gid, config.choice.gid.raw.data(), sizeof(message.gid));
  message.lid = config.choice.port.lid;
  message.mtu_bytes = config.mtu_bytes;
  message.read_depth = config.read_depth;
  return message;
}

absl::Status WriteAndWait(ibv_qp* pair, ibv_cq* completions,
                          const std::byte* from, uint32_t key,
                          const std::byte* to, uint32_t remote_key) {
  ibv_sge piece = {.addr = reinterpret_cast<uint64_t>(from),
                   .length = kTriedBytes,
                   .lkey = key};
  ibv_send_wr write = {};
  write.sg_list = &piece;
  write.num_sge = 1;
  write.opcode = IBV_WR_RDMA_WRITE;
  write.send_flags = IBV_SEND_SIGNALED;
  write.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(to);
  write.wr.rdma.rkey = remote_key;
  ibv_send_wr* bad = nullptr;
  const int error = ibv_post_send(pair, &write, &bad);
  if (error != 0) return VerbsError("post", error);
  BootClock clock;
  const int64_t until_ns = clock.NowNs() + kPatienceNs;
  ibv_wc done = {};
  int count = 0;
  while ((count = ibv_poll_cq(completions, 1, &done)) == 0) {
    if (clock.NowNs() > until_ns) return VerbsError("write", ETIMEDOUT);
  }
  return count == 1 && done.status == IBV_WC_SUCCESS
             ? absl::OkStatus()
             : absl::InternalError(ibv_wc_status_str(done.status));
}

absl::Status Try(ibv_context* context, QueuePairConfig config,
                 const VerbsOptions& options) {
  WHALE_ASSIGN_OR_RETURN(const SharedMemory memory,
                         SharedMemory::CreatePrivate(3 * kPageBytes));
  std::byte* const from = memory.data();
  std::byte* const pages = from + kPageBytes;
  const MemoryHandle local(
      ibv_reg_mr(config.domain, from, kPageBytes, IBV_ACCESS_LOCAL_WRITE));
  const MemoryHandle remote(ibv_reg_mr(
      config.domain, pages, 2 * kPageBytes,
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_ON_DEMAND));
  if (local == nullptr || remote == nullptr) return VerbsError("memory", errno);
  const CompletionQueueHandle completions(
      ibv_create_cq(context, static_cast<int>(2 * config.send_requests),
                    nullptr, nullptr, 0));
  if (completions == nullptr) return VerbsError("completion queue", errno);
  config.completions = completions.get();
  WHALE_ASSIGN_OR_RETURN(const QueuePairHandle writer, MakeQueuePair(config));
  WHALE_ASSIGN_OR_RETURN(const QueuePairHandle owner, MakeQueuePair(config));
  WHALE_RETURN_IF_ERROR(ConnectQueuePair(owner.get(), config, options,
                                         SetupOf(*writer, config), 0));
  WHALE_RETURN_IF_ERROR(ConnectQueuePair(writer.get(), config, options,
                                         SetupOf(*owner, config), 0));
  for (uint32_t i = 0; i < kTriedBytes; ++i) from[i] = std::byte(i + 1);
  std::byte* const to = pages + kPageBytes - kTriedBytes / 3;
  WHALE_RETURN_IF_ERROR(WriteAndWait(writer.get(), completions.get(), from,
                                     local->lkey, to, remote->rkey));
  return std::memcmp(from, to, kTriedBytes) == 0
             ? absl::OkStatus()
             : absl::DataLossError("it writes to the wrong places");
}

}  // namespace

absl::Status TryOnDemandPaging(ibv_context* context,
                               const QueuePairConfig& config,
                               const VerbsOptions& options) {
  if (!HasOnDemandPaging(context)) {
    return absl::UnimplementedError("the adapter has no on-demand paging");
  }
  const absl::Status tried = Try(context, config, options);
  if (tried.ok()) return tried;
  return absl::UnimplementedError(absl::StrCat(
      "the adapter's on-demand paging is broken (", tried.message(), ")"));
}

}  // namespace whale::fabric::verbs

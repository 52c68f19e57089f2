#include "fabric/verbs/queue_pair.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "common/status_macros.h"
#include "fabric/verbs/native_flush.h"

namespace whale::fabric::verbs {
namespace {

// 0.64 ms until a sender that found no receive buffer tries again. Credits
// make sure that it finds one.
constexpr uint8_t kRnrTimer = 12;
constexpr uint8_t kHopLimit = 64;

ibv_mtu MtuCode(uint32_t bytes) {
  return static_cast<ibv_mtu>(std::countr_zero(bytes) - 7);
}

ibv_ah_attr PathTo(const SetupMessage& peer, const QueuePairConfig& config,
                   const VerbsOptions& options) {
  ibv_ah_attr path = {};
  path.port_num = static_cast<uint8_t>(config.choice.port.number);
  path.sl = static_cast<uint8_t>(options.service_level);
  path.dlid = peer.lid;
  // On InfiniBand the LID leads there within a subnet.
  const bool same_subnet =
      std::memcmp(peer.gid, config.choice.gid.raw.data(), 8) == 0;
  if (config.choice.port.ethernet || !same_subnet) {
    path.is_global = 1;
    path.grh.sgid_index = static_cast<uint8_t>(config.choice.gid.index);
    path.grh.hop_limit = kHopLimit;
    path.grh.traffic_class = static_cast<uint8_t>(options.traffic_class);
    std::memcpy(path.grh.dgid.raw, peer.gid, sizeof(peer.gid));
  }
  return path;
}

absl::Status CheckPeer(const SetupMessage& peer,
                       const QueuePairConfig& config) {
  if ((peer.ethernet != 0) != config.choice.port.ethernet) {
    return absl::FailedPreconditionError(
        "verbs: one end is on Ethernet, the other on InfiniBand; choose other "
        "devices (--verbs device=...)");
  }
  RawGid gid;
  std::memcpy(gid.data(), peer.gid, gid.size());
  if (config.choice.port.ethernet &&
      IsIpv4(gid) != IsIpv4(config.choice.gid.raw)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "verbs: the peer's address ", GidText(gid), " and ours, ",
        GidText(config.choice.gid.raw),
        ", are of different families; choose GIDs of one (--verbs gid-index)"));
  }
  return absl::OkStatus();
}

absl::Status ToReadyToReceive(ibv_qp* pair, const QueuePairConfig& config,
                              const VerbsOptions& options,
                              const SetupMessage& peer) {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.ah_attr = PathTo(peer, config, options);
  attributes.path_mtu = MtuCode(std::min(config.mtu_bytes, peer.mtu_bytes));
  attributes.dest_qp_num = peer.queue_pair;
  attributes.rq_psn = peer.packet_sequence;
  attributes.max_dest_rd_atomic = static_cast<uint8_t>(config.read_depth);
  attributes.min_rnr_timer = kRnrTimer;
  const int error = ibv_modify_qp(
      pair, &attributes,
      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
          IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  RawGid gid;
  std::memcpy(gid.data(), peer.gid, gid.size());
  return error == 0
             ? absl::OkStatus()
             : VerbsError(
                   absl::StrCat(
                       "queue pair to RTR, towards ", GidText(gid), " from ",
                       DescribeChoice(config.choice, config.mtu_bytes)),
                   error);
}

absl::Status ToReadyToSend(ibv_qp* pair, const QueuePairConfig& config,
                           const VerbsOptions& options,
                           const SetupMessage& peer, uint32_t packet_sequence) {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = static_cast<uint8_t>(options.timeout);
  attributes.retry_cnt = static_cast<uint8_t>(options.retry_count);
  attributes.rnr_retry = static_cast<uint8_t>(options.rnr_retry_count);
  attributes.sq_psn = packet_sequence;
  attributes.max_rd_atomic =
      static_cast<uint8_t>(std::min(config.read_depth, peer.read_depth));
  const int error = ibv_modify_qp(pair, &attributes,
                                  IBV_QP_STATE | IBV_QP_TIMEOUT |
                                      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  return error == 0 ? absl::OkStatus() : VerbsError("queue pair to RTS", error);
}

}  // namespace

absl::StatusOr<QueuePairHandle> MakeQueuePair(const QueuePairConfig& config) {
  ibv_qp_init_attr attributes = {};
  attributes.send_cq = config.completions;
  attributes.recv_cq = config.completions;
  attributes.srq = config.receives;
  attributes.cap.max_send_wr = config.send_requests;
  attributes.cap.max_send_sge = 1;
  attributes.cap.max_inline_data = config.inline_bytes;
  attributes.qp_type = IBV_QPT_RC;
  QueuePairHandle pair(config.native_flush
                           ? CreateFlushingQueuePair(config.domain, attributes)
                           : ibv_create_qp(config.domain, &attributes));
  if (pair == nullptr) return VerbsError("create a queue pair", errno);
  ibv_qp_attr state = {};
  state.qp_state = IBV_QPS_INIT;
  state.port_num = static_cast<uint8_t>(config.choice.port.number);
  state.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                          IBV_ACCESS_REMOTE_ATOMIC;
  if (config.native_flush) state.qp_access_flags |= FlushAccessFlags(true);
  const int error = ibv_modify_qp(
      pair.get(), &state,
      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (error != 0) return VerbsError("queue pair to INIT", error);
  return pair;
}

absl::Status ConnectQueuePair(ibv_qp* pair, const QueuePairConfig& config,
                              const VerbsOptions& options,
                              const SetupMessage& peer,
                              uint32_t packet_sequence) {
  WHALE_RETURN_IF_ERROR(CheckPeer(peer, config));
  WHALE_RETURN_IF_ERROR(ToReadyToReceive(pair, config, options, peer));
  return ToReadyToSend(pair, config, options, peer, packet_sequence);
}

void BreakQueuePair(ibv_qp* pair) {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_ERR;
  // Fails only for a device that is gone, which has done it already.
  ibv_modify_qp(pair, &attributes, IBV_QP_STATE);
}

}  // namespace whale::fabric::verbs

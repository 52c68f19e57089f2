// The `verbs` provider: libibverbs, for InfiniBand, RoCE v2 and soft-RoCE.
//
// Each connection is one RC queue pair; all of a fabric share a completion
// queue and a receive queue. Small or large, a WRITE goes from the caller's
// registered memory; messages are written in place into registered buffers and
// flow by credits, so that the receive queue cannot run empty. docs/rdma.md
// has the set-up of hosts, the numbers and their cost; docs/memory_model.md
// says what each completion proves.
//
// Thread-safety: as Fabric. Ownership: everything of the adapter belongs to
// the fabric and goes with it.
#ifndef WHALE_FABRIC_VERBS_VERBS_FABRIC_H_
#define WHALE_FABRIC_VERBS_VERBS_FABRIC_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "fabric/verbs/exchange.h"
#include "fabric/verbs/flush_choice.h"

namespace whale::fabric {

struct VerbsOptions {
  // --- Which port; see device.h. Given ones win. ---
  std::string device;  // "" any
  uint32_t port = 0;   // 0: any
  int gid_index = -1;  // -1: the best
  // --- The path, as ibv_modify_qp(3) has it ---
  uint32_t mtu_bytes = 0;        // 0: what both ports can
  uint32_t timeout = 14;         // resend after 4.096 us * 2^timeout: 67 ms
  uint32_t retry_count = 7;      // then the peer counts as gone
  uint32_t rnr_retry_count = 7;  // 7: for ever
  uint32_t traffic_class = 0;
  uint32_t service_level = 0;
  // --- Sizes ---
  uint32_t max_connections = 256;
  // Requests of one connection that may be posted and not yet completed.
  uint32_t send_queue_depth = 128;
  // Messages and immediates of one connection that its receiver has not taken.
  uint32_t credits = 32;
  // A larger region is registered in pieces of this size, in parallel.
  uint64_t registration_piece_bytes = uint64_t{16} << 30;
  // From this size on, `inform` hears of each piece.
  uint64_t registration_tell_bytes = uint64_t{1} << 30;
  // As ShmOptions::handshake_us: how long a peer may take to answer.
  int64_t handshake_us = 5'000'000;

  // --- Remote flush; not part of ParseVerbsOptions but for `method` ---
  FlushNeeds flush;
  // Persists for a peer that asks by message; REQUIRED if flush.durable.
  std::function<void(const std::byte* address, size_t length_bytes)> persist;

  // What was chosen, and what takes time; for the log.
  std::function<void(std::string_view text)> inform;
};

// "device=mlx5_0,port=1,gid-index=3,mtu=4096,timeout=14,retries=7,
// rnr-retries=7,traffic-class=106,service-level=3,connections=256,depth=128,
// credits=32,dial-ms=5000,flush=auto,ddio=off";
// each may be left out. kInvalidArgument: unknown or out of range.
absl::StatusOr<VerbsOptions> ParseVerbsOptions(std::string_view text);

// The IP address of the GID that a fabric with these options would take; empty
// on InfiniBand. Or why there can be none: what `auto` goes by.
absl::StatusOr<std::string> VerbsHostAddress(const VerbsOptions& options);

// A verbs fabric, and what it was made of, for status and metrics.
class VerbsFabric : public Fabric {
 public:
  // "mlx5_0 port 1, RoCE v2, GID 3 (10.0.0.1), MTU 4096, flush into it: read
  // after write": what was taken.
  virtual std::string description() const = 0;
  // Requests posted to the adapter since the start, by kind, and the doorbells
  // that took.
  struct Counters {
    uint64_t writes = 0;
    uint64_t writes_with_imm = 0;
    uint64_t reads = 0;
    uint64_t compare_swaps = 0;
    uint64_t flushes = 0;  // by whatever method
    uint64_t messages = 0;
    uint64_t credit_messages = 0;
    uint64_t doorbells = 0;
    uint64_t receives = 0;     // completions of the receive queue
    uint64_t connections = 0;  // open now
  };
  virtual Counters counters() const = 0;
};

// Errors: kNotFound (no such device or port, none active), kInvalidArgument,
// kResourceExhausted (memlock: names the cure), kUnimplemented (built without
// libibverbs).
absl::StatusOr<std::unique_ptr<VerbsFabric>> CreateVerbsFabric(
    const VerbsOptions& options, std::unique_ptr<Exchange> exchange);

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_VERBS_VERBS_FABRIC_H_

// One server: the shards it holds, its connections, and the turns of its
// worker.
//
// A Server composes the pure cores of primary/, metadata_mcast/ and chain/ over
// the three boundaries (fabric, memory, clock) and a link to the coordinator.
// The same class runs in the server process, in tests and in the simulator:
// it has no thread, no clock of its own and does no I/O but through them.
//
// Thread-safety: none; all calls from the worker that owns it (the process
// shell passes directives in by queue). Ownership: everything passed in
// outlives the server.
#ifndef WHALE_NODE_SERVER_H_
#define WHALE_NODE_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "fabric/fabric.h"
#include "logstore/pool.h"
#include "pmem/domain.h"
#include "proto/control.pb.h"

namespace whale::node {

// The way to the coordinator; gRPC in the process, a pipe in the simulator.
// Messages may be lost or delayed, never reordered; the newest counts.
class ControlLink {
 public:
  virtual ~ControlLink() = default;
  virtual void Send(const proto::ServerReport& report) = 0;
};

struct ServerOptions {
  ServerId id;
  Incarnation incarnation;    // differs from all earlier lives
  std::string http_address;   // for status only
  std::string fabric_detail;  // the same: device, path, flush method
  uint32_t client_credits = 256;
  uint32_t max_deferred_writes = 4096;  // per shard, waiting for the window
  // Reported instead of what the pool's memory survives, if that is more: the
  // fabric cannot make good on it.
  pmem::Survives survives_at_most = pmem::Survives::kPower;
  // Rare events that an operator should read, a line each; may be empty.
  std::function<void(std::string_view)> warn;
  // Times stages by the processor's cycle counter, which a simulation has not.
  bool measure_stages = false;
};

class Server {
 public:
  // Recovers every shard from the pool; may take seconds.
  // Errors: kDataLoss (the pool's state blocks), kResourceExhausted (memory).
  static absl::StatusOr<std::unique_ptr<Server>> Create(
      const ServerOptions& options, fabric::Fabric* fabric,
      logstore::Pool* pool, Clock* clock, ControlLink* control);
  ~Server();

  // One turn: takes what arrived, orders, delivers, commits, answers. Returns
  // whether there was anything to do; a caller that gets false may sleep until
  // NextDeadlineNs() or a wake-up of the fabric.
  bool Step();
  // Somebody waits for what the last Step did: more may come soon. False for
  // what a backup does behind the commits.
  bool urgent() const;
  int64_t NextDeadlineNs() const;

  // What the coordinator wants. The next Step works on it.
  void OnDirective(const proto::Directive& directive);
  // Not empty: the coordinator refused this server; the process should stop.
  const std::string& refused() const;

  // Stops ordering, says so to the coordinator, and persists; for a clean
  // shutdown. Step until it returns false afterwards.
  void Shutdown();

  struct Counters {
    uint64_t turns = 0;
    uint64_t puts = 0, deletes = 0, compares = 0, gets = 0;
    uint64_t bytes_written = 0, bytes_read = 0;  // values of clients
    uint64_t commits = 0, duplicates = 0;
    uint64_t refused_window = 0, refused_pool = 0, refused_epoch = 0;
    uint64_t forwarded_reads = 0, commit_cell_reads = 0, epoch_cell_reads = 0;
    uint64_t delivered_bytes = 0, delivered_metadata = 0, chain_bytes = 0;
    uint64_t copied_bytes = 0;  // of other servers' logs, by learners
    uint64_t bad_messages = 0, damaged_records = 0;
    uint64_t connections = 0;
  };
  const Counters& counters() const;
  // The newest report, for the process's metrics (same thread).
  const proto::ServerReport& last_report() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_SERVER_H_

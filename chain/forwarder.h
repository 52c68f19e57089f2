// A predecessor's side of the chain to one successor of one shard in one
// epoch: sends the values that did not go there by value.
//
// A batch is one WRITE for each contiguous run of such records, up to
// kBatchBytes together (a record larger than that goes alone), then the chain
// cell. The successor checks every value and persists it itself, so there is no
// remote flush (protocol, section 5). Values go in LSN order and may travel
// before they are committed.
//
// Thread-safety: none. Ownership: requests point into the log and (inline) the
// forwarder itself. Failure: as DeliverySender: thrown away with its epoch.
// Allocates nothing after construction but for new grants.
#ifndef WHALE_CHAIN_FORWARDER_H_
#define WHALE_CHAIN_FORWARDER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "chain/cells.h"
#include "common/ids.h"
#include "common/units.h"
#include "fabric/fabric.h"
#include "logstore/log.h"
#include "metadata_mcast/cell_writer.h"
#include "metadata_mcast/delivery_rule.h"
#include "metadata_mcast/segment_grants.h"

namespace whale::chain {

struct ForwarderConfig {
  Epoch epoch;
  Lsn start;  // the successor has all values below it
  // What the primary sends by value to this successor, and so is not sent
  // again; metadata_mcast::kAllByValue for a mirror: nothing is forwarded.
  uint64_t by_value_max_bytes = 0;
  fabric::Grant chain_cells;
  uint32_t immediate = 0;    // of the WRITE_WITH_IMM that wakes the successor
  size_t max_in_flight = 8;  // batches; at most Forwarder::kMaxInFlight
};

class Forwarder {
 public:
  static constexpr size_t kMaxInFlight = 64;
  static constexpr uint64_t kBatchBytes = 64 * kKiB;
  // Least capacity with which a plan makes progress: one record and the cell.
  static constexpr size_t kMinCapacity = 2;

  explicit Forwarder(const ForwarderConfig& config);

  void AddSegment(uint64_t number, const fabric::Grant& grant) {
    segments_.Set(number, grant);
  }
  void RemoveSegment(uint64_t number) { segments_.Erase(number); }
  bool HasSegment(uint64_t number) const { return segments_.Has(number); }

  // Plans one batch from [sent(), end). Returns the number of requests written
  // to `out`: WRITEs, and last the cell, the only signaled one, with `cookie`;
  // as kWriteWithImm if `wake`. 0: nothing to send, or no room. What needs no
  // sending is passed over (sent() moves). The batch must be posted as a whole
  // and at once.
  // REQUIRES: all values in [sent(), end) are here and valid.
  size_t Plan(const logstore::Log& log, Lsn end, fabric::WorkRequest* out,
              size_t capacity, uint64_t cookie, bool wake);
  // The oldest batch in flight has completed. REQUIRES: in_flight() > 0.
  void OnCompletion();

  // Everything below is planned, or need not be sent / was sent and completed.
  // That it is durable there, only the successor's progress says.
  Lsn sent() const { return sent_; }
  bool has_sent() const { return counters_.batches > 0; }
  const fabric::Grant& chain_cells() const { return config_.chain_cells; }
  Lsn acked() const { return acked_; }
  size_t in_flight() const { return in_flight_; }
  // The segment that the successor has not granted, if the last Plan stopped
  // for it.
  std::optional<uint64_t> blocked_on_segment() const {
    return blocked_on_segment_;
  }

  struct Counters {
    uint64_t batches = 0;
    uint64_t records = 0;
    uint64_t bytes = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Batch;

  // Whether the primary leaves this record to the chain.
  bool Wanted(const logstore::RecordHeader& header) const;
  bool PlanRecord(const logstore::Log& log, Lsn lsn,
                  const logstore::RecordHeader& header, Batch& batch);
  void PassOver(Lsn to);
  size_t Finish(Lsn upto, uint64_t cookie, bool wake, Batch& batch);

  const ForwarderConfig config_;
  metadata_mcast::SegmentGrants segments_;
  metadata_mcast::CellWriter<ChainCell> cells_;
  Lsn sent_;
  Lsn acked_;
  std::array<Lsn, kMaxInFlight> batch_ends_{};  // FIFO
  size_t oldest_batch_ = 0;
  size_t in_flight_ = 0;
  std::optional<uint64_t> blocked_on_segment_;
  Counters counters_;
};

}  // namespace whale::chain

#endif  // WHALE_CHAIN_FORWARDER_H_

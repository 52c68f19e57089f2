// The primary's side of delivery to one backup of one shard in one epoch:
// turns what is new in the log into one batch of work requests.
//
// A batch is: WRITEs of the records that go by value (a contiguous run is one
// request), WRITEs of metadata records for the others into the backup's ring,
// then the delivery cell, then remote flushes of all that was written. Its last
// request is the only signaled one: its completion says that everything up to
// and including the cell is visible and durable there (protocol, sections 4
// and 7). Batches complete in the order planned.
//
// Thread-safety: none. Ownership: requests point into the log, the staging
// memory and (inline) the sender itself. Failure: there is no repair within an
// epoch; when a request fails, or what was planned could not be posted, the
// sender is thrown away with its epoch. Allocates nothing after construction
// but for new grants.
#ifndef WHALE_METADATA_MCAST_DELIVERY_SENDER_H_
#define WHALE_METADATA_MCAST_DELIVERY_SENDER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "logstore/log.h"
#include "metadata_mcast/cell_writer.h"
#include "metadata_mcast/cells.h"
#include "metadata_mcast/delivery_rule.h"
#include "metadata_mcast/segment_grants.h"

namespace whale::metadata_mcast {

// Registered memory in which metadata records lie while they are sent. Each
// sender has its own, as many slots as the backup's ring: a slot is free again
// exactly when the ring's is.
struct MetadataStaging {
  std::byte* base = nullptr;  // 64-byte aligned
  uint32_t slots = 0;
};

struct DeliveryConfig {
  Epoch epoch;
  Lsn start;            // the first LSN to deliver
  bool mirror = false;  // gets everything by value
  uint64_t by_value_max_bytes = 0;
  fabric::FlushMethod flush = fabric::FlushMethod::kNone;
  fabric::Grant ring;
  uint32_t ring_slots = 0;  // power of two
  fabric::Grant delivery_cells;
  size_t max_in_flight = 16;  // batches; see DeliverySender::max_in_flight
};

class DeliverySender {
 public:
  static constexpr size_t kMaxInFlight = 64;
  // Least capacity with which a plan makes progress: one record, the cell, and
  // a flush of each.
  static constexpr size_t kMinCapacity = 4;

  explicit DeliverySender(const DeliveryConfig& config);

  void AddSegment(uint64_t number, const fabric::Grant& grant) {
    segments_.Set(number, grant);
  }
  void RemoveSegment(uint64_t number) { segments_.Erase(number); }
  // The primary enters a segment only when every backup has granted it.
  bool HasSegment(uint64_t number) const { return segments_.Has(number); }

  // Plans one batch with what lies in [posted(), end) and is not planned yet,
  // as much of it as there is room for. `committed` travels in the cell.
  // Returns the number of requests written to `out`; 0: nothing to send, or
  // no room (see blocked_on_*, in_flight). The batch must be posted as a whole
  // and at once, so `capacity` is at most the connection's FreeSlots.
  // `cookie` goes into the signaled request.
  // REQUIRES: records in [posted(), end) are whole, their values included;
  // staging.slots == ring_slots.
  size_t Plan(const logstore::Log& log, Lsn end, Lsn committed,
              fabric::WorkRequest* out, size_t capacity,
              const MetadataStaging& staging, uint64_t cookie);
  // A batch of the cell alone, when only the commit watermark has moved (idle:
  // soon after the last commit). 0 if sent_committed() has it already.
  size_t PlanCommit(Lsn committed, fabric::WorkRequest* out, size_t capacity,
                    uint64_t cookie);

  // The oldest batch in flight has completed. REQUIRES: in_flight() > 0.
  void OnCompletion();
  // The backup has read its ring up to this position. A value that cannot be
  // is ignored.
  void OnProgress(uint64_t ring_released);

  // Everything below is planned / visible and durable at the backup.
  Lsn posted() const { return posted_; }
  Lsn acked() const { return acked_; }
  size_t in_flight() const { return in_flight_; }
  // Batches that may be in flight. Where completion means durable (a flush
  // method other than kNone) one less than there are cell slots: a loss of
  // power may tear the cells of all of them, and one must be whole.
  size_t max_in_flight() const { return max_in_flight_; }
  // The largest commit watermark that is on its way.
  Lsn sent_committed() const { return sent_committed_; }
  // Metadata records written so far, and how many of them the backup read.
  uint64_t ring_position() const { return ring_position_; }
  uint64_t ring_released() const { return ring_released_; }
  // End of the newest record that went by metadata; config.start at first. A
  // backup that has all values below it has all values below acked().
  Lsn last_metadata_end() const { return last_metadata_end_; }

  // Why the last Plan stopped before `end`, if it did: the segment that the
  // backup has not granted; a full ring (wake the backup).
  std::optional<uint64_t> blocked_on_segment() const {
    return blocked_on_segment_;
  }
  bool blocked_on_ring() const { return blocked_on_ring_; }

  struct Counters {
    uint64_t batches = 0;
    uint64_t by_value_records = 0;
    uint64_t by_value_bytes = 0;
    uint64_t metadata_records = 0;
  };
  const Counters& counters() const { return counters_; }
  bool by_value(const logstore::RecordHeader& header) const {
    return GoesByValue(header, by_value_max_bytes_);
  }

 private:
  struct Batch;

  bool PlanRecord(const logstore::Log& log, Lsn lsn, Batch& batch);
  bool PlanValue(const logstore::Log& log, Lsn lsn,
                 const logstore::RecordHeader& header,
                 const fabric::Grant& segment, Batch& batch);
  bool PlanMetadata(const logstore::Log& log, Lsn lsn,
                    const logstore::RecordHeader& header, Batch& batch);
  size_t Finish(Lsn delivered, Lsn committed, uint64_t cookie, Batch& batch);

  // Constant after construction.
  DeliveryConfig config_;
  uint64_t by_value_max_bytes_;
  size_t max_in_flight_;

  SegmentGrants segments_;
  CellWriter<DeliveryCell> cells_;
  Lsn posted_;
  Lsn acked_;
  Lsn sent_committed_;
  Lsn last_metadata_end_;
  uint64_t ring_position_ = 0;
  uint64_t ring_released_ = 0;
  std::array<Lsn, kMaxInFlight> batch_ends_{};  // FIFO
  size_t oldest_batch_ = 0;
  size_t in_flight_ = 0;
  std::optional<uint64_t> blocked_on_segment_;
  bool blocked_on_ring_ = false;
  Counters counters_;
};

}  // namespace whale::metadata_mcast

#endif  // WHALE_METADATA_MCAST_DELIVERY_SENDER_H_

#include "metadata_mcast/delivery_sender.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "logstore/metadata_record.h"
#include "logstore/missing.h"
#include "metadata_mcast/log_walk.h"

namespace whale::metadata_mcast {
namespace {

using fabric::FlushMethod;
using fabric::Opcode;
using fabric::WorkRequest;
using logstore::MetadataRecord;
using logstore::RecordHeader;

// A run is one request; adapters take at most 2^31 bytes in one.
constexpr uint64_t kMaxRunBytes = uint64_t{1} << 30;

bool Flushes(FlushMethod method) {
  return method != FlushMethod::kNone &&
         !Planted(PlantedBug::kCommitWithoutFlush);
}

// A missing record's metadata is that of the record in whose place it stands.
MetadataRecord MetadataOf(const RecordHeader& record) {
  const uint64_t hash = logstore::KeyHashOf(record);
  RecordHeader header = record.type == logstore::RecordType::kMissing
                            ? logstore::OriginalOf(record)
                            : record;
  if (Planted(PlantedBug::kMetadataWithoutRequest)) {
    header.session = 0;
    header.request = 0;
  }
  return logstore::MakeMetadataRecord(header, hash);
}

}  // namespace

// A batch while it is planned: WRITEs of records so far, with the runs that the
// next record may make longer.
struct DeliverySender::Batch {
  Batch(WorkRequest* out, size_t capacity, const MetadataStaging& staging,
        bool flushes)
      : out(out),
        // Each WRITE may need a flush, and so does the cell.
        room(flushes ? capacity / 2 - 1 : capacity - 1),
        staging(staging) {}

  // Appends `length` bytes to the run behind `run` if they continue it, else
  // begins a run. False if there is no room.
  bool Append(WorkRequest*& run, std::byte* local, uint64_t length,
              uint64_t key, uint64_t address) {
    if (run != nullptr && run->remote_key == key &&
        run->remote_address + run->length_bytes == address &&
        static_cast<std::byte*>(run->local) + run->length_bytes == local &&
        run->length_bytes + length <= kMaxRunBytes) {
      run->length_bytes += static_cast<uint32_t>(length);
      return true;
    }
    if (count == room) return false;
    run = &out[count++];
    *run = WorkRequest{};
    run->opcode = Opcode::kWrite;
    run->local = local;
    run->length_bytes = static_cast<uint32_t>(length);
    run->remote_key = key;
    run->remote_address = address;
    return true;
  }

  WorkRequest* const out;
  const size_t room;  // for WRITEs of records
  const MetadataStaging staging;
  size_t count = 0;
  WorkRequest* value_run = nullptr;
  WorkRequest* ring_run = nullptr;
};

DeliverySender::DeliverySender(const DeliveryConfig& config)
    : config_(config),
      by_value_max_bytes_(config.mirror ? kAllByValue
                                        : config.by_value_max_bytes),
      max_in_flight_(std::min(config.max_in_flight, kMaxInFlight)),
      cells_(config.delivery_cells, config.epoch),
      posted_(config.start),
      acked_(config.start),
      last_metadata_end_(config.start) {
  WHALE_CHECK(config.ring_slots > 0 &&
              (config.ring_slots & (config.ring_slots - 1)) == 0);
  WHALE_CHECK(config.ring.length_bytes >=
              uint64_t{config.ring_slots} * sizeof(MetadataRecord));
  if (config.flush != FlushMethod::kNone) {
    max_in_flight_ = std::min(max_in_flight_, kSlots<DeliveryCell> - 1);
  }
  WHALE_CHECK(max_in_flight_ > 0);
}

size_t DeliverySender::Plan(const logstore::Log& log, Lsn end, Lsn committed,
                            WorkRequest* out, size_t capacity,
                            const MetadataStaging& staging, uint64_t cookie) {
  WHALE_DCHECK(staging.slots == config_.ring_slots);
  blocked_on_segment_.reset();
  blocked_on_ring_ = false;
  if (posted_ >= end || in_flight_ == max_in_flight_ ||
      capacity < kMinCapacity) {
    return 0;
  }
  Batch batch(out, capacity, staging, Flushes(config_.flush));
  Lsn lsn = SkipImplicitPad(log, posted_, end);
  while (lsn < end && PlanRecord(log, lsn, batch)) {
    lsn =
        std::min(log.After(lsn, logstore::RecordBytes(log.HeaderAt(lsn))), end);
  }
  if (lsn == posted_) return 0;
  return Finish(lsn, committed, cookie, batch);
}

size_t DeliverySender::PlanCommit(Lsn committed, WorkRequest* out,
                                  size_t capacity, uint64_t cookie) {
  if (committed <= sent_committed_ || in_flight_ == max_in_flight_ ||
      capacity < kMinCapacity) {
    return 0;
  }
  Batch batch(out, capacity, MetadataStaging{}, Flushes(config_.flush));
  return Finish(posted_, committed, cookie, batch);
}

// Adds the record at `lsn` to the batch; false if it must wait. A segment must
// have been granted for metadata too: what is delivered has its place.
bool DeliverySender::PlanRecord(const logstore::Log& log, Lsn lsn,
                                Batch& batch) {
  const uint64_t number = log.SegmentOf(lsn);
  const fabric::Grant* segment = segments_.Find(number);
  if (segment == nullptr || segment->length_bytes < log.segment_bytes()) {
    blocked_on_segment_ = number;
    return false;
  }
  const RecordHeader& header = log.HeaderAt(lsn);
  WHALE_DCHECK(header.lsn == lsn.value());
  return by_value(header) ? PlanValue(log, lsn, header, *segment, batch)
                          : PlanMetadata(log, lsn, header, batch);
}

bool DeliverySender::PlanValue(const logstore::Log& log, Lsn lsn,
                               const RecordHeader& header,
                               const fabric::Grant& segment, Batch& batch) {
  const uint64_t offset = lsn - log.SegmentStart(log.SegmentOf(lsn));
  const uint64_t length = logstore::TransferBytes(header);
  if (!batch.Append(batch.value_run, log.At(lsn), length, segment.key,
                    segment.address + offset)) {
    return false;
  }
  ++counters_.by_value_records;
  counters_.by_value_bytes += length;
  return true;
}

bool DeliverySender::PlanMetadata(const logstore::Log& log, Lsn lsn,
                                  const RecordHeader& header, Batch& batch) {
  if (ring_position_ - ring_released_ == config_.ring_slots) {
    RareBranch<"deliver: ring is full">();
    blocked_on_ring_ = true;
    return false;
  }
  const uint64_t offset =
      (ring_position_ & (config_.ring_slots - 1)) * sizeof(MetadataRecord);
  std::byte* const local = batch.staging.base + offset;
  if (!batch.Append(batch.ring_run, local, sizeof(MetadataRecord),
                    config_.ring.key, config_.ring.address + offset)) {
    return false;
  }
  const MetadataRecord record = MetadataOf(header);
  std::memcpy(local, &record, sizeof(record));
  ++ring_position_;
  last_metadata_end_ = lsn + logstore::RecordBytes(header);
  ++counters_.metadata_records;
  return true;
}

// Adds cell and flushes. The flushes come last: a request posted behind a flush
// may pass it, so a cell behind it could not be covered by it.
size_t DeliverySender::Finish(Lsn delivered, Lsn committed, uint64_t cookie,
                              Batch& batch) {
  sent_committed_ = std::max(sent_committed_, committed);
  batch.out[batch.count++] = cells_.Write({.delivered = delivered.value(),
                                           .committed = sent_committed_.value(),
                                           .ring_position = ring_position_});
  if (Planted(PlantedBug::kCellBeforeRecords)) {
    std::rotate(batch.out, batch.out + batch.count - 1,
                batch.out + batch.count);
  }
  size_t count = batch.count;
  if (Flushes(config_.flush)) {
    for (size_t i = 0; i < batch.count; ++i) {
      WorkRequest& flush = batch.out[count++];
      flush = WorkRequest{};
      flush.opcode = Opcode::kRemoteFlush;
      flush.length_bytes = batch.out[i].length_bytes;
      flush.remote_key = batch.out[i].remote_key;
      flush.remote_address = batch.out[i].remote_address;
    }
  }
  batch.out[count - 1].signaled = true;
  batch.out[count - 1].cookie = cookie;

  posted_ = delivered;
  batch_ends_[(oldest_batch_ + in_flight_++) % kMaxInFlight] = delivered;
  ++counters_.batches;
  return count;
}

void DeliverySender::OnCompletion() {
  WHALE_CHECK(in_flight_ > 0);
  acked_ = batch_ends_[oldest_batch_];
  oldest_batch_ = (oldest_batch_ + 1) % kMaxInFlight;
  --in_flight_;
}

void DeliverySender::OnProgress(uint64_t ring_released) {
  if (ring_released > ring_position_) return;
  ring_released_ = std::max(ring_released_, ring_released);
}

}  // namespace whale::metadata_mcast

#include "chain/forwarder.h"

#include <algorithm>

#include "common/check.h"
#include "common/planted_bug.h"
#include "metadata_mcast/log_walk.h"

namespace whale::chain {
namespace {

using fabric::Opcode;
using fabric::WorkRequest;
using logstore::RecordHeader;

}  // namespace

// A batch while it is planned.
struct Forwarder::Batch {
  WorkRequest* out;
  size_t room;  // for WRITEs of records
  size_t count = 0;
  uint64_t bytes = 0;
};

Forwarder::Forwarder(const ForwarderConfig& config)
    : config_(config),
      cells_(config.chain_cells, config.epoch),
      sent_(config.start),
      acked_(config.start) {
  WHALE_CHECK(config.max_in_flight > 0 && config.max_in_flight <= kMaxInFlight);
}

size_t Forwarder::Plan(const logstore::Log& log, Lsn end, WorkRequest* out,
                       size_t capacity, uint64_t cookie, bool wake) {
  blocked_on_segment_.reset();
  if (sent_ >= end || capacity < kMinCapacity) return 0;
  Batch batch{.out = out,
              .room = in_flight_ < config_.max_in_flight ? capacity - 1 : 0};
  Lsn lsn = metadata_mcast::SkipImplicitPad(log, sent_, end);
  while (lsn < end) {
    const RecordHeader& header = log.HeaderAt(lsn);
    if (Wanted(header) && !PlanRecord(log, lsn, header, batch)) break;
    lsn = std::min(log.After(lsn, logstore::RecordBytes(header)), end);
  }
  if (batch.count > 0) return Finish(lsn, cookie, wake, batch);
  PassOver(lsn);
  return 0;
}

bool Forwarder::Wanted(const RecordHeader& header) const {
  return !metadata_mcast::GoesByValue(header, config_.by_value_max_bytes);
}

bool Forwarder::PlanRecord(const logstore::Log& log, Lsn lsn,
                           const RecordHeader& header, Batch& batch) {
  const uint64_t number = log.SegmentOf(lsn);
  const fabric::Grant* segment = segments_.Find(number);
  if (segment == nullptr || segment->length_bytes < log.segment_bytes()) {
    blocked_on_segment_ = number;
    return false;
  }
  const uint64_t length = logstore::TransferBytes(header);
  if (batch.bytes > 0 && batch.bytes + length > kBatchBytes) return false;
  const uint64_t address = segment->address + (lsn - log.SegmentStart(number));
  WorkRequest* run = batch.count > 0 ? &batch.out[batch.count - 1] : nullptr;
  if (run == nullptr || run->remote_key != segment->key ||
      run->remote_address + run->length_bytes != address ||
      static_cast<std::byte*>(run->local) + run->length_bytes != log.At(lsn)) {
    if (batch.count == batch.room) return false;
    run = &batch.out[batch.count++];
    *run = WorkRequest{};
    run->opcode = Opcode::kWrite;
    run->local = log.At(lsn);
    run->remote_key = segment->key;
    run->remote_address = address;
  }
  run->length_bytes += static_cast<uint32_t>(length);
  batch.bytes += length;
  ++counters_.records;
  counters_.bytes += length;
  return true;
}

// Moves over records that need no sending: with the newest batch, if one is in
// flight, because only its completion says that what lies before is there.
void Forwarder::PassOver(Lsn to) {
  sent_ = to;
  if (in_flight_ == 0) {
    acked_ = to;
  } else {
    batch_ends_[(oldest_batch_ + in_flight_ - 1) % kMaxInFlight] = to;
  }
}

size_t Forwarder::Finish(Lsn upto, uint64_t cookie, bool wake, Batch& batch) {
  WorkRequest cell = cells_.Write({.sent_upto = upto.value()});
  if (wake) {
    cell.opcode = Opcode::kWriteWithImm;
    cell.immediate = config_.immediate;
  }
  batch.out[batch.count++] = cell;
  if (Planted(PlantedBug::kForwardOutOfOrder)) {
    std::reverse(batch.out, batch.out + batch.count);
  }
  batch.out[batch.count - 1].signaled = true;
  batch.out[batch.count - 1].cookie = cookie;

  sent_ = upto;
  batch_ends_[(oldest_batch_ + in_flight_++) % kMaxInFlight] = upto;
  ++counters_.batches;
  return batch.count;
}

void Forwarder::OnCompletion() {
  WHALE_CHECK(in_flight_ > 0);
  acked_ = batch_ends_[oldest_batch_];
  oldest_batch_ = (oldest_batch_ + 1) % kMaxInFlight;
  --in_flight_;
}

}  // namespace whale::chain

#include "metadata_mcast/announcer.h"

#include <algorithm>

#include "common/check.h"
#include "common/remote_memory.h"
#include "logstore/missing.h"
#include "metadata_mcast/log_walk.h"

namespace whale::metadata_mcast {

using logstore::History;
using logstore::Log;
using logstore::MetadataRecord;
using logstore::RecordHeader;

Announcer::Announcer(const AnnouncerConfig& config)
    : config_(config),
      announced_(config.start),
      delivered_(config.start),
      known_committed_(config.committed),
      ring_lsns_(config.ring_slots) {
  WHALE_CHECK(config.ring_slots > 0 &&
              (config.ring_slots & (config.ring_slots - 1)) == 0);
}

void Announcer::ReadCell() {
  // Cells land in the order of their sequence, so the first one newer than the
  // last read changes the slot after it.
  const std::byte* const next =
      config_.delivery_cells + CellOffset<DeliveryCell>(cell_sequence_ + 1);
  if (LoadRemoteWord(next + offsetof(DeliveryCell, sequence)) <=
          cell_sequence_ &&
      cell_sequence_ > 0) {
    return;
  }
  const std::optional<DeliveryCell> cell =
      NewestWhole<DeliveryCell>(config_.delivery_cells, config_.epoch);
  if (!cell || cell->sequence <= cell_sequence_) return;
  cell_sequence_ = cell->sequence;
  delivered_ = std::max(delivered_, Lsn(cell->delivered));
  ring_end_ = std::max(ring_end_, cell->ring_position);
  known_committed_ = std::max(known_committed_, Lsn(cell->committed));
}

Announcer::Found Announcer::FindNext(const Log& log, const History& history,
                                     Announced& out) {
  announced_ = SkipImplicitPad(log, announced_, delivered_);
  if (announced_ == delivered_ || !log.HasSegment(log.SegmentOf(announced_))) {
    return Found::kNotWhole;
  }
  out.lsn = announced_;
  const bool ring_has_more = ring_read_ < ring_end_;
  if (ring_has_more && !LoadRingEntry(history)) return Found::kNotWhole;
  const Found found =
      ring_has_more && ring_next_->header.lsn == announced_.value()
          ? FindInRing(log, out)
          : FindInLog(log, history, out);
  if (found == Found::kRecord) {
    const uint64_t record_bytes = logstore::RecordBytes(out.header);
    announced_ = std::min(log.After(announced_, record_bytes), delivered_);
  }
  return found;
}

Announcer::Found Announcer::FindInRing(const Log& log, Announced& out) {
  const RecordHeader& header = ring_next_->header;
  if (!FitsBelow(log, announced_, logstore::RecordBytes(header), delivered_)) {
    return Found::kNotWhole;
  }
  out.header = header;
  out.hash = ring_next_->hash;
  out.by_value = false;
  ring_next_.reset();
  ring_lsns_[ring_read_++ & (config_.ring_slots - 1)] = announced_;
  return Found::kRecord;
}

Announcer::Found Announcer::FindInLog(const Log& log, const History& history,
                                      Announced& out) {
  if (log.Check(announced_, history) != Log::Validity::kValid) {
    return Found::kNotWhole;
  }
  const RecordHeader& header = log.HeaderAt(announced_);
  if (!FitsBelow(log, announced_, logstore::RecordBytes(header), delivered_)) {
    return Found::kNotWhole;
  }
  out.header = header;
  out.hash = logstore::KeyHashOf(header);
  out.by_value = true;
  return Found::kRecord;
}

// Entries below the cell's ring position were written before the cell. One that
// is torn, of a history that was cut off, or of a position already passed is
// therefore not there yet, or damaged: nothing may be concluded from it, not
// even that the record at announced_ went by value.
bool Announcer::LoadRingEntry(const History& history) {
  if (ring_next_) return true;
  if (ring_end_ - ring_read_ > config_.ring_slots) return false;
  const MetadataRecord entry = LoadRemote<MetadataRecord>(
      config_.ring +
      (ring_read_ & (config_.ring_slots - 1)) * sizeof(MetadataRecord));
  const Lsn lsn(entry.header.lsn);
  if (!logstore::CheckMetadataRecord(entry) || lsn < announced_ ||
      !history.Accepts(lsn, entry.header.epoch_low)) {
    return false;
  }
  ring_next_ = entry;
  return true;
}

uint64_t Announcer::ReleaseRing(Lsn durable) {
  while (ring_released_ < ring_read_ &&
         ring_lsns_[ring_released_ & (config_.ring_slots - 1)] < durable) {
    ++ring_released_;
  }
  return ring_released_;
}

void Announcer::CountFailure() {
  ++failed_tries_;
  if (++failures_in_a_row_ >= config_.tries_before_damage) damage_ = announced_;
}

}  // namespace whale::metadata_mcast

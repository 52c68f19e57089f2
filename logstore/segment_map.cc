#include "logstore/segment_map.h"

#include <algorithm>

#include "common/planted_bug.h"
#include "common/remote_memory.h"

namespace whale::logstore {

namespace {

constexpr auto kBelow = [](const auto& segment, uint64_t number) {
  return segment.number < number;
};

}  // namespace

void SegmentMap::Add(uint64_t number, std::byte* base) {
  WHALE_CHECK(base != nullptr && !Has(number));
  sorted_.insert(
      std::lower_bound(sorted_.begin(), sorted_.end(), number, kBelow),
      {number, base});
  size_t slots = table_.size();
  while (slots < 2 * sorted_.size()) slots *= 2;
  Rebuild(slots);
}

void SegmentMap::Remove(uint64_t number) {
  WHALE_CHECK(Has(number));
  sorted_.erase(
      std::lower_bound(sorted_.begin(), sorted_.end(), number, kBelow));
  Rebuild(table_.size());
}

void SegmentMap::Rebuild(size_t slots) {
  table_.assign(slots, Segment());
  for (const Segment& segment : sorted_) {
    uint64_t i = segment.number;
    while (table_[i & (slots - 1)].base != nullptr) ++i;
    table_[i & (slots - 1)] = segment;
  }
}

uint64_t SegmentMap::NextPresent(uint64_t number) const {
  const auto next =
      std::lower_bound(sorted_.begin(), sorted_.end(), number, kBelow);
  return next == sorted_.end() ? 0 : next->number;
}

uint64_t SegmentMap::Last() const {
  return sorted_.empty() ? 0 : sorted_.back().number;
}

bool SegmentMap::Belongs(Lsn lsn, const RecordHeader& header,
                         const History& history) const {
  return IsWellFormed(header) && header.lsn == lsn.value() &&
         history.Accepts(lsn, header.epoch_low) &&
         RecordBytes(header) <= segment_bytes_ - OffsetIn(lsn);
}

RecordValidity SegmentMap::Check(Lsn lsn, const History& history) const {
  if (lsn.value() % kRecordAlignment != 0 || !Has(NumberOf(lsn)) ||
      segment_bytes_ - OffsetIn(lsn) < sizeof(RecordHeader)) {
    return RecordValidity::kNothing;
  }
  const std::byte* record = At(lsn);
  const auto header = LoadRemote<RecordHeader>(record);
  if (!Belongs(lsn, header, history)) return RecordValidity::kNothing;
  return ChecksumOf(header, record + sizeof(header)) == header.checksum ||
                 Planted(PlantedBug::kTornRecordTaken)
             ? RecordValidity::kValid
             : RecordValidity::kDamaged;
}

}  // namespace whale::logstore

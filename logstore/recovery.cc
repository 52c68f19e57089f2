#include "logstore/recovery.h"

#include <algorithm>
#include <cstring>

#include "common/rare_branch.h"
#include "logstore/metadata_record.h"

namespace whale::logstore {
namespace {

class Walker {
 public:
  Walker(const SegmentMap& segments, const History& history,
         std::span<const MetadataEntry> metadata, const RecoveryFloors& floors,
         RecordVisitor visit, std::vector<RecordHeader>* restorable)
      : segments_(segments),
        history_(history),
        metadata_(metadata),
        floors_(floors),
        floor_(std::max(floors.announced, floors.durable)),
        visit_(visit),
        restorable_(restorable) {}

  RecoveryResult Run(Lsn from) {
    at_ = from;
    if (from == kLogBegin) at_ = segments_.StartOf(FirstSegment());
    result_.begin = at_;
    while (Step()) {
    }
    result_.end = at_;
    return std::move(result_);
  }

 private:
  uint64_t FirstSegment() const {
    const uint64_t first = segments_.NextPresent(1);
    return first == 0 ? 1 : first;
  }

  // Takes what lies at at_; false at the end of the log.
  bool Step() {
    if (!segments_.Has(segments_.NumberOf(at_))) return SkipAbsent();
    const RecordValidity validity = segments_.Check(at_, history_);
    if (validity == RecordValidity::kValid) {
      const auto& header =
          *reinterpret_cast<const RecordHeader*>(segments_.At(at_));
      Visit(header);
      at_ = segments_.After(at_, RecordBytes(header));
      return true;
    }
    if (const MetadataEntry* entry = FindMetadata(at_)) {
      TakeMetadata(*entry);
      return true;
    }
    const bool has_header = validity == RecordValidity::kDamaged;
    if (at_ < floor_) return SkipDamage(has_header);
    if (has_header) RareBranch<"recover: torn record at the end">();
    result_.torn_tail = has_header;
    return false;
  }

  // Segments are taken in order, so one that is absent before a present one
  // was freed after it had been cleaned.
  bool SkipAbsent() {
    const uint64_t next = segments_.NextPresent(segments_.NumberOf(at_));
    if (next != 0) {
      at_ = segments_.StartOf(next);
      return true;
    }
    if (at_ < floor_) result_.damage.push_back({at_, at_, false});
    return false;
  }

  void Visit(const RecordHeader& header) {
    ++result_.records;
    result_.bytes += RecordBytes(header);
    ++result_.records_by_type[static_cast<size_t>(header.type)];
    visit_(at_, header);
  }

  void TakeMetadata(const MetadataEntry& entry) {
    const Lsn next = segments_.After(at_, RecordBytes(entry.header));
    if (IsWholeInMetadata(entry.header)) {
      ++result_.restored;
      if (restorable_ != nullptr) restorable_->push_back(entry.header);
      Visit(entry.header);
    } else {
      RareBranch<"recover: hole known from metadata">();
      result_.holes.push_back({at_, entry.header, entry.hash});
      if (at_ < floors_.durable) result_.damage.push_back({at_, next, true});
    }
    at_ = next;
  }

  // The metadata record for `lsn`. Positions only grow, so the list is passed
  // through once.
  const MetadataEntry* FindMetadata(Lsn lsn) {
    while (next_metadata_ < metadata_.size() &&
           metadata_[next_metadata_].header.lsn < lsn.value()) {
      ++next_metadata_;
    }
    for (size_t i = next_metadata_;
         i < metadata_.size() && metadata_[i].header.lsn == lsn.value(); ++i) {
      if (segments_.Belongs(lsn, metadata_[i].header, history_)) {
        return &metadata_[i];
      }
    }
    return nullptr;
  }

  // The length in a damaged header is not to be trusted: it may lead over
  // records that are whole.
  bool SkipDamage(bool has_header) {
    const Lsn begin = at_;
    at_ = FindRecord(begin);
    result_.damage.push_back({begin, at_, has_header});
    return at_ != begin;
  }

  bool GoesOnAt(Lsn lsn) const {
    if (segments_.Check(lsn, history_) == RecordValidity::kValid) return true;
    // Not FindMetadata: that never goes back.
    const auto entry = std::lower_bound(
        metadata_.begin(), metadata_.end(), lsn.value(),
        [](const MetadataEntry& a, uint64_t b) { return a.header.lsn < b; });
    return entry != metadata_.end() && entry->header.lsn == lsn.value() &&
           segments_.Belongs(lsn, entry->header, history_);
  }

  // The next position, not above the floor, at which the log goes on; `after`
  // if there is none.
  Lsn FindRecord(Lsn after) const {
    for (Lsn lsn = after + kRecordAlignment; lsn <= floor_;
         lsn += kRecordAlignment) {
      if (!segments_.Has(segments_.NumberOf(lsn))) {
        const uint64_t next = segments_.NextPresent(segments_.NumberOf(lsn));
        if (next == 0 || segments_.StartOf(next) > floor_) return after;
        lsn = segments_.StartOf(next);
      }
      if (GoesOnAt(lsn)) return lsn;
    }
    return after;
  }

  const SegmentMap& segments_;
  const History& history_;
  const std::span<const MetadataEntry> metadata_;
  const RecoveryFloors floors_;
  const Lsn floor_;
  const RecordVisitor visit_;
  std::vector<RecordHeader>* const restorable_;
  size_t next_metadata_ = 0;
  Lsn at_;
  RecoveryResult result_;
};

}  // namespace

RecoveryResult Walk(const SegmentMap& segments, const History& history,
                    std::span<const MetadataEntry> metadata, Lsn from,
                    const RecoveryFloors& floors, RecordVisitor visit,
                    std::vector<RecordHeader>* restorable) {
  return Walker(segments, history, metadata, floors, visit, restorable)
      .Run(from);
}

RecoveryResult Recover(Log& log, const History& history,
                       std::span<const MetadataEntry> metadata, Lsn from,
                       const RecoveryFloors& floors, RecordVisitor visit) {
  std::vector<RecordHeader> restorable;
  RecoveryResult result =
      Walk(log.segments(), history, metadata, from, floors, visit, &restorable);
  for (const RecordHeader& header : restorable) {
    const Lsn lsn(header.lsn);
    std::memcpy(log.At(lsn), &header, sizeof(header));
    log.Persist(lsn, lsn + sizeof(header));
  }
  log.set_end(result.end);
  return result;
}

}  // namespace whale::logstore

// Values that no member has, seen from one replica (protocol, section 8, "Holes
// that stay").

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rare_branch.h"
#include "logstore/missing.h"
#include "node/replica.h"

namespace whale::node {
namespace {

// Of more, the others come once these are settled.
constexpr int kMaxReported = 1024;
// What has changed is told so much later at most.
constexpr int64_t kReportNs = 20'000'000;

}  // namespace

bool Replica::PlaceMissing(const Configuration& configuration) {
  note_ = "this server lacks values below the cut and cannot be primary";
  if (!wanted_.lacks_values()) return false;
  std::map<Lsn, logstore::MissingRecord> records;
  for (const uint32_t ring : {0, 1}) {
    for (const logstore::MetadataEntry& entry : RingMetadata(ring)) {
      const Lsn lsn(entry.header.lsn);
      if (state_.backup_log.IsHole(lsn) &&
          state_.log.segments().Belongs(lsn, entry.header, state_.history)) {
        records[lsn] = logstore::MakeMissing(entry.header, entry.hash);
      }
    }
  }
  // What is not committed is never given up: the cut lies below it.
  const bool known =
      !records.empty() && records.size() == state_.backup_log.hole_count() &&
      std::prev(records.end())->first < configuration.committed_start;
  if (!known) {
    note_ = absl::StrCat(
        "this server lacks values below the cut, and of some the metadata too "
        "(",
        state_.backup_log.hole_count(), " values, metadata of ", records.size(),
        "); it cannot be primary");
    return false;
  }
  RareBranch<"activate: places missing records">();
  for (const auto& [lsn, record] : records) {
    std::memcpy(state_.log.At(lsn), &record, sizeof(record));
  }
  state_.log.Persist(
      records.begin()->first,
      std::prev(records.end())->first + sizeof(logstore::MissingRecord));
  for (const auto& [lsn, record] : records) {
    state_.Learn(lsn, record.header, record.body.hash, true);
  }
  note_.clear();
  return true;
}

bool Replica::MustKeepLog() const {
  const bool damaged = !damage_.empty();
  if (!damaged && state_.backup_log.hole_count() == 0) return false;
  return refill_->MayHold(wanted_,
                          damaged ? Lsn() : state_.backup_log.durable());
}

void Replica::ReportMissing(proto::ShardReport* report) const {
  report->set_missing_values(state_.missing.missing_count());
  report->set_lost_values(state_.missing.lost_count());
  state_.missing.ForEachMissing([&](const chain::MissingValue& value) {
    if (report->missing_size() == kMaxReported) return false;
    proto::MissingValue* added = report->add_missing();
    added->set_lsn(value.version);
    added->set_key_hash(value.hash);
    added->set_checksum(value.checksum);
    added->set_record_bytes(value.record_bytes);
    return true;
  });
}

void Replica::NoteMissing() {
  const size_t count = state_.missing.missing_count();
  if (count == missing_reported_ ||
      context_->now_ns - missing_reported_at_ns_ < kReportNs) {
    return;
  }
  missing_reported_ = count;
  missing_reported_at_ns_ = context_->now_ns;
  ++report_generation_;
}

}  // namespace whale::node

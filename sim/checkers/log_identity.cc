#include "sim/checkers/log_identity.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "logstore/log.h"

namespace whale::checkers {
namespace {

using logstore::Log;
using logstore::Pool;
using logstore::RecordHeader;

std::string CheckRecord(const Log& a, const Log& b, Lsn lsn,
                        const logstore::History& history) {
  for (const Log* log : {&a, &b}) {
    if (log->Check(lsn, history) == Log::Validity::kValid) continue;
    return absl::StrCat("LSN ", lsn.value(), " lies below the watermark, but ",
                        log == &a ? "the first" : "the other",
                        " replica has no valid record there");
  }
  // A value that came back too late for its own place is in only one of them.
  const bool missing_in_a =
      a.HeaderAt(lsn).type == logstore::RecordType::kMissing;
  const bool missing_in_b =
      b.HeaderAt(lsn).type == logstore::RecordType::kMissing;
  if (missing_in_a != missing_in_b &&
      logstore::RecordBytes(a.HeaderAt(lsn)) ==
          logstore::RecordBytes(b.HeaderAt(lsn))) {
    return "";
  }
  const uint64_t length = logstore::TransferBytes(a.HeaderAt(lsn));
  if (std::memcmp(a.At(lsn), b.At(lsn), length) == 0) return "";
  return absl::StrCat("the record at LSN ", lsn.value(),
                      " differs between the replicas");
}

std::string CheckSegment(const Log& a, const Log& b, uint64_t number,
                         Lsn committed, const logstore::History& history) {
  const Lsn end = std::min(a.SegmentStart(number + 1), committed);
  for (Lsn lsn = a.SegmentStart(number); lsn < end;) {
    std::string problem = CheckRecord(a, b, lsn, history);
    if (!problem.empty()) return problem;
    lsn = a.After(lsn, logstore::RecordBytes(a.HeaderAt(lsn)));
  }
  return "";
}

std::string CheckPair(Pool* first, Pool* other, ShardId shard, Lsn committed) {
  auto state = first->LoadState(shard);
  if (!state.ok()) return std::string(state.status().message());
  Log a(first, shard), b(other, shard);
  for (const logstore::SegmentInfo& segment : first->Segments(shard)) {
    if (a.SegmentStart(segment.number) >= committed) continue;
    if (!b.HasSegment(segment.number)) continue;
    std::string problem =
        CheckSegment(a, b, segment.number, committed, state->history);
    if (!problem.empty()) return problem;
  }
  return "";
}

}  // namespace

Verdict CheckLogIdentity(const std::vector<Pool*>& replicas, ShardId shard,
                         Lsn committed) {
  for (size_t i = 1; i < replicas.size(); ++i) {
    std::string problem = CheckPair(replicas[0], replicas[i], shard, committed);
    if (problem.empty()) continue;
    return {absl::StrCat("shard ", shard.value(), ", servers ",
                         replicas[0]->geometry().server.value(), " and ",
                         replicas[i]->geometry().server.value(), ": ",
                         problem)};
  }
  return {};
}

}  // namespace whale::checkers

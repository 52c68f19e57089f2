// Mistakes that can be switched on, to prove that the checkers find them.
//
// The first are those of protocol.md's section 13. In ordinary builds Planted()
// is constant false and the compiler removes what it guards; only a build with
// -DWHALE_PLANTED_BUGS=ON can switch one on, by name, before it starts.
//
// Thread-safety: set once before any thread starts.
#ifndef WHALE_COMMON_PLANTED_BUG_H_
#define WHALE_COMMON_PLANTED_BUG_H_

#include <cstdint>
#include <string_view>

namespace whale {

enum class PlantedBug : uint8_t {
  kNone,
  kDirtyBit,                // a boolean instead of versions in pending
  kClearForwarded,          // a forwarded read clears the pending mark
  kUncommittedAnswer,       // the primary answers with uncommitted values
  kEarlyChainValue,         // a backup exposes a value that came early
  kCellBeforeRecords,       // the delivery cell is posted before its records
  kCommitWithoutFlush,      // commit on a bare WRITE completion
  kCutWithoutUndo,          // index and outcomes keep what the cut discarded
  kEpochResumed,            // a restarted process goes on in its old epoch
  kLeaseFromArrival,        // a lease counted from the grant's arrival
  kLeaseCheckedBefore,      // by a clock read before the request came
  kFencedServes,            // a replica that ended its epoch goes on serving
  kReportBeforePersist,     // a survivor reports before it persists
  kRingDropped,             // rings of old epochs dropped with their holes
  kForwardOutOfOrder,       // the chain forwards out of order
  kNoEffectUncommitted,     // a no-effect reply from uncommitted state
  kMetadataWithoutRequest,  // metadata records without the request number
  kStoreAfterActivate,      // a configuration activated before it is stored
  kRevokeForgotten,         // fenced by epoch only: nobody is revoked
  kDamagedCounts,           // a damaged survivor counts for the cut
  kNoHistory,               // the cut is not read against the history
  kLearnerCounts,           // a learner counts for the cut
  kSurvivorsNotStored,      // whoever holds the shard is a survivor
  kCompleteAtT,             // completeness measured against T
  kTailCommitted,           // what lies between A and T counts as committed
  kEmptyLearnerCounts,      // an empty learner counts for min_replicas
  kTwoLeaders,              // leases are granted beyond the leadership
  kMissingAnswersOlder,     // what is older is served where a value is missing
  // Ours, one per rule.
  kCommitAnyBackup,       // committed when one backup has it
  kOwnNotDurable,         // the primary does not persist its own log
  kRetryRunsAgain,        // a retry is ordered as a new request
  kConditionFromApplied,  // conditions decided against applied records
  kPendingNotAsked,       // reads ask the index only
  kOldWatermark,          // a backup does not ask for the commit watermark
  kUncommittedExposed,    // a backup serves what it does not know committed
  kSessionsNotRecovered,  // a restart forgets who asked for what
  kTornRecordTaken,       // checksums of records are not looked at
  kHistoryIgnored,        // records of a history that was cut off count
  kDurableOverHoles,      // the durable watermark passes holes
  kLeaseIgnored,          // nobody asks whether the lease is valid
  kRingReleasedEarly,     // ring slots are free before the value is durable
  kCutTooLow,             // the cut is at the known commit watermark
  kLearnerEarly,          // a learner is taken in before it has the log
  kSegmentsHoarded,       // a backup takes more segments than it needs
  kRotIgnored,            // a restart passes over bytes that rotted
};

struct PlantedBugName {
  PlantedBug bug;
  std::string_view name;
};

inline constexpr PlantedBugName kPlantedBugNames[] = {
    {PlantedBug::kDirtyBit, "dirty-bit"},
    {PlantedBug::kClearForwarded, "clear-forwarded"},
    {PlantedBug::kUncommittedAnswer, "uncommitted-answer"},
    {PlantedBug::kEarlyChainValue, "early-chain-value"},
    {PlantedBug::kCellBeforeRecords, "cell-before-records"},
    {PlantedBug::kCommitWithoutFlush, "commit-without-flush"},
    {PlantedBug::kCutWithoutUndo, "cut-without-undo"},
    {PlantedBug::kEpochResumed, "epoch-resumed"},
    {PlantedBug::kLeaseFromArrival, "lease-from-arrival"},
    {PlantedBug::kLeaseCheckedBefore, "lease-checked-before"},
    {PlantedBug::kFencedServes, "fenced-serves"},
    {PlantedBug::kReportBeforePersist, "report-before-persist"},
    {PlantedBug::kRingDropped, "ring-dropped"},
    {PlantedBug::kForwardOutOfOrder, "forward-out-of-order"},
    {PlantedBug::kNoEffectUncommitted, "no-effect-uncommitted"},
    {PlantedBug::kMetadataWithoutRequest, "metadata-without-request"},
    {PlantedBug::kStoreAfterActivate, "store-after-activate"},
    {PlantedBug::kRevokeForgotten, "revoke-forgotten"},
    {PlantedBug::kDamagedCounts, "damaged-counts"},
    {PlantedBug::kNoHistory, "no-history"},
    {PlantedBug::kLearnerCounts, "learner-counts"},
    {PlantedBug::kSurvivorsNotStored, "survivors-not-of-the-stored"},
    {PlantedBug::kCompleteAtT, "complete-at-t"},
    {PlantedBug::kTailCommitted, "tail-counts-as-committed"},
    {PlantedBug::kEmptyLearnerCounts, "empty-learner-counts"},
    {PlantedBug::kTwoLeaders, "two-leaders"},
    {PlantedBug::kMissingAnswersOlder, "missing-answers-older"},
    {PlantedBug::kCommitAnyBackup, "commit-any-backup"},
    {PlantedBug::kOwnNotDurable, "own-not-durable"},
    {PlantedBug::kRetryRunsAgain, "retry-runs-again"},
    {PlantedBug::kConditionFromApplied, "condition-from-applied"},
    {PlantedBug::kPendingNotAsked, "pending-not-asked"},
    {PlantedBug::kOldWatermark, "old-watermark"},
    {PlantedBug::kUncommittedExposed, "uncommitted-exposed"},
    {PlantedBug::kSessionsNotRecovered, "sessions-not-recovered"},
    {PlantedBug::kTornRecordTaken, "torn-record-taken"},
    {PlantedBug::kHistoryIgnored, "history-ignored"},
    {PlantedBug::kDurableOverHoles, "durable-over-holes"},
    {PlantedBug::kLeaseIgnored, "lease-ignored"},
    {PlantedBug::kRingReleasedEarly, "ring-released-early"},
    {PlantedBug::kCutTooLow, "cut-too-low"},
    {PlantedBug::kLearnerEarly, "learner-early"},
    {PlantedBug::kSegmentsHoarded, "segments-hoarded"},
    {PlantedBug::kRotIgnored, "rot-ignored"},
};

#ifdef WHALE_PLANTED_BUGS

inline PlantedBug planted_bug = PlantedBug::kNone;

inline bool Planted(PlantedBug bug) { return planted_bug == bug; }

// Switches one on; false if there is none of that name.
inline bool PlantBug(std::string_view name) {
  for (const PlantedBugName& entry : kPlantedBugNames) {
    if (entry.name == name) {
      planted_bug = entry.bug;
      return true;
    }
  }
  return false;
}

#else

constexpr bool Planted(PlantedBug) { return false; }

#endif

}  // namespace whale

#endif  // WHALE_COMMON_PLANTED_BUG_H_

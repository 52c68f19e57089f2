// The cut of a change: what of a shard's log survives, and who leads it on
// (protocol, section 8, steps 4 to 6).
//
// Thread-safety: pure functions.
#ifndef WHALE_CONTROL_CUT_H_
#define WHALE_CONTROL_CUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace whale::control {

// What a member of the stored configuration reported once it had ended its
// epoch as a receiver too.
struct SealedMember {
  uint32_t server = 0;
  const proto::ShardReport* report = nullptr;
};

struct Cut {
  uint64_t committed = 0;         // A
  uint64_t start = 0;             // T
  std::vector<uint32_t> members;  // the primary first
  // The primary lacks values below A, as all survivors do.
  bool lacks_values = false;
};

// `announced` of a survivor read against the stored history: records above the
// end of its own epoch's range are not of this log, and nothing lies below
// the first segment.
uint64_t AnnouncedInHistory(const proto::ShardReport& report,
                            const proto::StoredShard& stored,
                            uint64_t first_lsn);

// Why a member is neither undamaged nor complete, or empty. `known_committed`:
// a commit watermark that anyone knows.
std::string WhyNotComplete(const SealedMember& member,
                           const proto::StoredShard& stored, uint64_t first_lsn,
                           uint64_t known_committed);

struct CutRules {
  uint64_t first_lsn = 0;        // where logs begin
  uint32_t least_survivors = 1;  // with fewer there is no cut
  // Leads if it has all values below A; else it is the first after the one who
  // does, where it gets them. 0: nobody in particular.
  uint32_t wanted_primary = 0;
  // Survivors that shall be no members any more. They stay if one of them alone
  // can lead, or if another member is not fit: the next change tries again.
  std::vector<uint32_t> leaving = {};
};

// The cut of those of `members`, in the order of the stored configuration, that
// are undamaged and complete; the others are left out of `Cut::members`. The
// primary is the first that has all values below A, and T the end of what it
// has: what only others have from there on is not committed. Where nobody has
// all values below A, it is the first that has all that anybody has; where each
// lacks what another has, the one that lacks least, and who has something of
// that is left out. Errors: kFailedPrecondition: too few are left; the message
// says which, why and what to do.
absl::StatusOr<Cut> ComputeCut(const proto::StoredShard& stored,
                               const std::vector<SealedMember>& members,
                               const CutRules& rules);

}  // namespace whale::control

#endif  // WHALE_CONTROL_CUT_H_

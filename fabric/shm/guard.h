// Who may write to a shared descriptor, and who is writing just now: the first
// kGuardBytes of the descriptor, used by its owner (Guard) and by each writer
// (WriterSlot).
//
// A writer copies between Enter and Leave:
//
//   Enter: busy := 1; full fence; stop if revoked, or the incarnation changed
//   copy
//   Leave: busy := 0 with a full fence; fail if revoked, or ... changed
//
// and its owner revokes by: revoked := 1; full fence; wait until not busy.
// Why this is right: of the two stores, busy and revoked, each followed by a
// fence and a load of the other, at least one is seen. Either the writer sees
// `revoked` and copies nothing, or the owner sees `busy` and waits for the
// copy to end. And a writer that reports success saw no revocation after its
// copy was visible: so an owner that revokes later finds all of it.
//
// A process that is gone cannot copy. One that is stopped in mid-copy can go
// on at any time: the owner is told so (Revocation::kMoveMemory).
//
// An owner that starts again with the same descriptor raises `incarnation`,
// which revokes every writer of its former life at once, then waits as above.
// A slot has one writer and is never given to another until that writer said
// that it left (its last store to the descriptor) or its process is gone; so
// no late writer clears the `busy` of another. That holds across lives: slots
// of the former life stay theirs.
//
// Thread-safety: each side from one thread. Failure: writers of granted memory
// are trusted with the guard as with the memory itself; nonsense in it delays
// or refuses, it never crashes.
#ifndef WHALE_FABRIC_SHM_GUARD_H_
#define WHALE_FABRIC_SHM_GUARD_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/mapping.h"
#include "fabric/shm/process.h"

namespace whale::fabric::shm {

class Guard {
 public:
  // Begins a new life of the descriptor.
  // Errors: kFailedPrecondition (not a guard; another live owner),
  // kUnavailable (a writer of the former life is stuck in mid-copy, named).
  static absl::StatusOr<std::unique_ptr<Guard>> Open(int fd, int64_t wait_us);
  ~Guard();

  uint64_t incarnation() const { return incarnation_; }

  // The slot of a connection for a region; the same one when asked again.
  // `writes`: the holder gets the memory writable.
  // Errors: kResourceExhausted (all slots have living holders).
  absl::StatusOr<uint32_t> Assign(ConnectionId connection, RegionId region,
                                  const Process& holder, bool writes);
  // Ends the rights of a connection, or of all to a region.
  Revocation Revoke(ConnectionId connection, int64_t wait_us);
  Revocation Revoke(RegionId region, int64_t wait_us);
  // The connection is dead: what its peer only read with is free again.
  void EndReaders(ConnectionId connection);

 private:
  struct Holder {
    bool held = false;
    bool writes = false;
    ConnectionId connection;
    RegionId region;
    Process process;
  };

  explicit Guard(Mapping memory) : memory_(std::move(memory)) {}
  GuardArea* area() const {
    return reinterpret_cast<GuardArea*>(memory_.base());
  }
  absl::Status BeginLife();
  absl::Status FenceFormerLife(int64_t wait_us);
  template <typename Predicate>
  Revocation RevokeIf(Predicate affected, int64_t wait_us);
  void ReclaimSlots();

  Mapping memory_;
  uint64_t incarnation_ = 0;
  std::array<Holder, kGuardSlots> holders_;
};

class WriterSlot {
 public:
  WriterSlot() = default;
  // `guard`: the mapped descriptor.
  WriterSlot(std::byte* guard, uint32_t slot, uint64_t incarnation)
      : header_(reinterpret_cast<GuardHeader*>(guard)),
        slot_(reinterpret_cast<GuardArea*>(guard)->slots + slot),
        incarnation_(incarnation) {}

  // False: revoked; nothing may be copied, Leave must not be called.
  bool Enter() {
    __atomic_exchange_n(&slot_->busy, 1, __ATOMIC_SEQ_CST);
    if (__builtin_expect(Valid(), 1)) return true;
    __atomic_store_n(&slot_->busy, 0, __ATOMIC_RELEASE);
    return false;
  }
  // False: revoked; what was copied must not be reported as done.
  bool Leave() {
    __atomic_exchange_n(&slot_->busy, 0, __ATOMIC_SEQ_CST);
    return Valid();
  }
  // For readers, before and after.
  bool Valid() const {
    return __atomic_load_n(&slot_->revoked, __ATOMIC_SEQ_CST) == 0 &&
           __atomic_load_n(&header_->incarnation, __ATOMIC_SEQ_CST) ==
               incarnation_;
  }
  // The last touch of this descriptor. REQUIRES: mapped writable.
  void Quit() { __atomic_store_n(&slot_->left, 1, __ATOMIC_RELEASE); }

 private:
  GuardHeader* header_ = nullptr;
  GuardSlot* slot_ = nullptr;
  uint64_t incarnation_ = 0;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_GUARD_H_

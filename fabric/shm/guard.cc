#include "fabric/shm/guard.h"

#include <time.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"

namespace whale::fabric::shm {
namespace {

uint64_t Load(const uint64_t& word) {
  return __atomic_load_n(&word, __ATOMIC_SEQ_CST);
}
void Store(uint64_t& word, uint64_t value) {
  __atomic_store_n(&word, value, __ATOMIC_SEQ_CST);
}

void SleepBriefly() {
  const timespec pause{.tv_sec = 0, .tv_nsec = 50'000};
  nanosleep(&pause, nullptr);
}

enum class Idle { kIdle, kStuck };

// Waits until the slot's writer is not copying, or can never again.
Idle WaitUntilIdle(const GuardSlot& slot, const Process& writer,
                   int64_t wait_us) {
  for (int spin = 0; spin < 1000; ++spin) {
    if (Load(slot.busy) == 0) return Idle::kIdle;
    __builtin_ia32_pause();
  }
  BootClock clock;
  const int64_t deadline_ns = clock.NowNs() + wait_us * 1000;
  while (Load(slot.busy) != 0) {
    const Life life = LifeOf(writer);
    if (life == Life::kGone) return Idle::kIdle;
    // It may have stopped just after its copy.
    if (life == Life::kStopped) {
      return Load(slot.busy) == 0 ? Idle::kIdle : Idle::kStuck;
    }
    if (clock.NowNs() >= deadline_ns) return Idle::kStuck;
    SleepBriefly();
  }
  return Idle::kIdle;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Guard>> Guard::Open(int fd, int64_t wait_us) {
  WHALE_ASSIGN_OR_RETURN(Mapping memory, Mapping::Map(fd, kGuardBytes, true));
  std::unique_ptr<Guard> guard(new Guard(std::move(memory)));
  WHALE_RETURN_IF_ERROR(guard->BeginLife());
  WHALE_RETURN_IF_ERROR(guard->FenceFormerLife(wait_us));
  return guard;
}

absl::Status Guard::BeginLife() {
  GuardHeader& header = area()->header;
  const uint64_t magic = Load(header.magic);
  if (magic != 0 && magic != kGuardMagic) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shm: the first ", kGuardBytes,
        " bytes of the descriptor hold something else than a guard; memory to "
        "be shared must leave them to the fabric"));
  }
  const Process owner{Load(header.owner_pid), Load(header.owner_start)};
  if (magic == kGuardMagic && owner.pid != 0 && LifeOf(owner) != Life::kGone) {
    return absl::FailedPreconditionError(
        absl::StrCat("shm: the memory belongs to process ", owner.pid,
                     ", which still runs; stop it first"));
  }
  const Process self = ThisProcess();
  incarnation_ = Load(header.incarnation) + 1;
  Store(header.owner_start, self.start);
  Store(header.owner_pid, self.pid);
  Store(header.incarnation, incarnation_);
  Store(header.magic, kGuardMagic);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return absl::OkStatus();
}

absl::Status Guard::FenceFormerLife(int64_t wait_us) {
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    GuardSlot& slot = area()->slots[i];
    const Process writer{Load(slot.pid), Load(slot.start)};
    if (writer.pid == 0) continue;
    // Held until the writer says that it left; see ReclaimSlots.
    holders_[i] = {.held = true, .writes = true, .process = writer};
    if (WaitUntilIdle(slot, writer, wait_us) == Idle::kStuck) {
      return absl::UnavailableError(absl::StrCat(
          "shm: process ", writer.pid,
          " is stopped or stuck while it writes to this memory; continue or "
          "kill it, then start again"));
    }
  }
  ReclaimSlots();
  return absl::OkStatus();
}

Guard::~Guard() {
  // Fences everybody, as a next life would, and says that nobody owns it.
  GuardHeader& header = area()->header;
  if (Load(header.incarnation) == incarnation_) {
    Store(header.incarnation, incarnation_ + 1);
    Store(header.owner_pid, 0);
  }
}

absl::StatusOr<uint32_t> Guard::Assign(ConnectionId connection, RegionId region,
                                       const Process& holder, bool writes) {
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    if (holders_[i].held && holders_[i].connection == connection &&
        holders_[i].region == region) {
      return i;
    }
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (uint32_t i = 0; i < kGuardSlots; ++i) {
      if (holders_[i].held) continue;
      holders_[i] = {.held = true,
                     .writes = writes,
                     .connection = connection,
                     .region = region,
                     .process = holder};
      GuardSlot& slot = area()->slots[i];
      Store(slot.busy, 0);
      Store(slot.left, 0);
      Store(slot.revoked, 0);
      Store(slot.start, holder.start);
      Store(slot.pid, holder.pid);
      return i;
    }
    ReclaimSlots();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "shm: all ", kGuardSlots, " places for users of this memory are taken"));
}

void Guard::ReclaimSlots() {
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    if (!holders_[i].held) continue;
    GuardSlot& slot = area()->slots[i];
    if (Load(slot.left) != 0 || LifeOf(holders_[i].process) == Life::kGone) {
      Store(slot.pid, 0);
      holders_[i] = {};
    }
  }
}

template <typename Predicate>
Revocation Guard::RevokeIf(Predicate affected, int64_t wait_us) {
  // Mark all before waiting for one: they finish side by side.
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    if (holders_[i].held && affected(holders_[i])) {
      Store(area()->slots[i].revoked, 1);
    }
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Revocation result = Revocation::kFenced;
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    if (!holders_[i].held || !holders_[i].writes || !affected(holders_[i])) {
      continue;
    }
    if (WaitUntilIdle(area()->slots[i], holders_[i].process, wait_us) ==
        Idle::kStuck) {
      result = Revocation::kMoveMemory;
    }
  }
  return result;
}

Revocation Guard::Revoke(ConnectionId connection, int64_t wait_us) {
  return RevokeIf([&](const Holder& h) { return h.connection == connection; },
                  wait_us);
}

Revocation Guard::Revoke(RegionId region, int64_t wait_us) {
  return RevokeIf([&](const Holder& h) { return h.region == region; }, wait_us);
}

void Guard::EndReaders(ConnectionId connection) {
  for (uint32_t i = 0; i < kGuardSlots; ++i) {
    if (holders_[i].held && holders_[i].connection == connection &&
        !holders_[i].writes) {
      Store(area()->slots[i].revoked, 1);
      Store(area()->slots[i].pid, 0);
      holders_[i] = {};
    }
  }
}

}  // namespace whale::fabric::shm

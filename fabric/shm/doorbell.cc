#include "fabric/shm/doorbell.h"

#include <atomic>
#include <utility>

#include "common/status_macros.h"
#include "common/units.h"

namespace whale::fabric::shm {
namespace {

constexpr uint64_t kPageBytes = 4096;

}  // namespace

absl::StatusOr<Doorbell> Doorbell::Create(uint32_t max_connections) {
  Doorbell doorbell;
  doorbell.words_ = (max_connections + 63) / 64;
  const uint64_t summary_bytes =
      RoundUp(doorbell.words_ * sizeof(uint64_t), kPageBytes);
  WHALE_ASSIGN_OR_RETURN(doorbell.summary_fd_,
                         CreateSealedMemory("whale-summary", summary_bytes));
  WHALE_ASSIGN_OR_RETURN(
      doorbell.summary_memory_,
      Mapping::Map(doorbell.summary_fd_.get(), summary_bytes, true));
  WHALE_ASSIGN_OR_RETURN(doorbell.sleep_fd_,
                         CreateSealedMemory("whale-sleep", kPageBytes));
  WHALE_ASSIGN_OR_RETURN(
      doorbell.sleep_memory_,
      Mapping::Map(doorbell.sleep_fd_.get(), kPageBytes, true));
  WHALE_RETURN_IF_ERROR(SealAgainstWriters(doorbell.sleep_fd_.get()));
  return doorbell;
}

bool Doorbell::Any() const {
  for (uint32_t i = 0; i < words_; ++i) {
    if (__atomic_load_n(summary() + i, __ATOMIC_RELAXED) != 0) return true;
  }
  return false;
}

void Doorbell::GoToSleep() {
  __atomic_fetch_add(sleeping(), 1, __ATOMIC_SEQ_CST);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Doorbell::WakeUp() { __atomic_fetch_add(sleeping(), 1, __ATOMIC_SEQ_CST); }

absl::StatusOr<PeerDoorbell> PeerDoorbell::Open(int summary_fd, int sleep_fd,
                                                uint32_t bit) {
  const uint64_t offset = bit / 64 * sizeof(uint64_t);
  const uint64_t summary_bytes = RoundUp(offset + 1, kPageBytes);
  WHALE_RETURN_IF_ERROR(CheckMappable(summary_fd, summary_bytes, false));
  WHALE_RETURN_IF_ERROR(CheckMappable(sleep_fd, kPageBytes, false));
  PeerDoorbell doorbell;
  WHALE_ASSIGN_OR_RETURN(doorbell.summary_memory_,
                         Mapping::Map(summary_fd, summary_bytes, true));
  WHALE_ASSIGN_OR_RETURN(doorbell.sleep_memory_,
                         Mapping::Map(sleep_fd, kPageBytes, false));
  doorbell.word_ =
      reinterpret_cast<uint64_t*>(doorbell.summary_memory_.base() + offset);
  doorbell.mask_ = uint64_t{1} << (bit % 64);
  return doorbell;
}

bool PeerDoorbell::Ring() {
  __atomic_fetch_or(word_, mask_, __ATOMIC_SEQ_CST);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t sleeping = __atomic_load_n(
      &reinterpret_cast<SleepPage*>(sleep_memory_.base())->sleeping,
      __ATOMIC_SEQ_CST);
  if (sleeping % 2 == 0 || sleeping == rung_) return false;
  rung_ = sleeping;
  return true;
}

}  // namespace whale::fabric::shm

#include "bench/floor/floor.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/units.h"

namespace whale::bench::floor {
namespace {

// Hands out pieces of an anonymous shared mapping.
class Arena {
 public:
  Arena() = default;
  ~Arena() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  absl::Status Map(uint64_t bytes) {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no ", bytes, " bytes of memory: ", strerror(errno),
                       "; lower --log-bytes"));
    }
    base_ = static_cast<std::byte*>(base);
    bytes_ = bytes;
    return absl::OkStatus();
  }
  std::byte* Take(uint64_t bytes) {
    std::byte* piece = base_ + used_;
    used_ += RoundUp(bytes, 4096);
    return piece;
  }
  // Page tables are a process's own: nobody shall fault while it is measured.
  void Populate() const { madvise(base_, bytes_, MADV_POPULATE_WRITE); }

 private:
  std::byte* base_ = nullptr;
  uint64_t bytes_ = 0, used_ = 0;
};

void Pin(const FloorOptions& options, uint32_t process) {
  if (options.pin_cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(options.pin_cpus[process % options.pin_cpus.size()], &set);
  sched_setaffinity(0, sizeof(set), &set);
}

absl::StatusOr<Shared*> Lay(const FloorOptions& options, Arena* arena) {
  const uint32_t slots = std::bit_ceil(options.depth);
  const uint64_t slot_bytes =
      RoundUp(sizeof(RequestSlot) + options.value_bytes, 64);
  const uint64_t pages = 16 * 4096;
  WHALE_RETURN_IF_ERROR(arena->Map(pages +
                                   slots * (slot_bytes + sizeof(ReplySlot)) +
                                   options.backups * sizeof(Cell) +
                                   (1 + options.backups) * options.log_bytes));
  auto* shared = new (arena->Take(sizeof(Shared))) Shared();
  shared->ring_slots = slots;
  shared->slot_bytes = slot_bytes;
  shared->record_bytes = RoundUp(options.value_bytes, 64);
  shared->requests = arena->Take(slots * slot_bytes);
  shared->replies =
      reinterpret_cast<ReplySlot*>(arena->Take(slots * sizeof(ReplySlot)));
  shared->cells =
      reinterpret_cast<Cell*>(arena->Take(options.backups * sizeof(Cell)));
  for (uint32_t i = 0; i <= options.backups; ++i) {
    shared->logs.push_back(arena->Take(options.log_bytes));
  }
  arena->Populate();
  return shared;
}

// The servers as child processes; ends them when it goes.
class Servers {
 public:
  explicit Servers(Shared* shared) : shared_(shared) {}
  ~Servers() {
    shared_->stop.store(true);
    shared_->primary.Ring();
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  template <typename Body>
  absl::Status Start(Body body) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no process: ", strerror(errno)));
    }
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() == parent) body();
      _exit(0);
    }
    pids_.push_back(pid);
    return absl::OkStatus();
  }

 private:
  Shared* const shared_;
  std::vector<pid_t> pids_;
};

}  // namespace

absl::StatusOr<ycsb::PhaseResult> RunFloor(const FloorOptions& options) {
  Arena arena;
  WHALE_ASSIGN_OR_RETURN(Shared* const shared, Lay(options, &arena));
  Servers servers(shared);
  WHALE_RETURN_IF_ERROR(servers.Start([&] {
    Pin(options, 1);
    arena.Populate();
    RunPrimary(options, shared);
  }));
  if (options.backup_mode != Backups::kNone) {
    for (uint32_t b = 0; b < options.backups; ++b) {
      WHALE_RETURN_IF_ERROR(servers.Start([&] {
        Pin(options, 2 + b);
        arena.Populate();
        RunBackup(options, shared, b);
      }));
    }
  }
  Pin(options, 0);
  return RunClient(options, shared);
}

}  // namespace whale::bench::floor

// Who a peer is: a process, told apart from a later one with the same number
// by its start time.
//
// Thread-safety: pure functions over /proc.
#ifndef WHALE_FABRIC_SHM_PROCESS_H_
#define WHALE_FABRIC_SHM_PROCESS_H_

#include <cstdint>

namespace whale::fabric::shm {

struct Process {
  uint64_t pid = 0;
  uint64_t start = 0;  // in clock ticks since boot
  bool operator==(const Process&) const = default;
};

enum class Life {
  kRunning,
  kStopped,  // by a signal or a debugger; may go on at any time
  kGone,     // no thread of it will ever run again
};

// The process that has number `pid` now; start 0: there is none.
Process ProcessByPid(uint64_t pid);
Process ThisProcess();
Life LifeOf(const Process& process);

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_PROCESS_H_

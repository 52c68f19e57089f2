// How the floor's processes sleep and wake: one word in shared memory, which a
// waker reads behind a full fence, and a futex. Nothing that sleeps at all
// costs less; the same protocol as fabric/shm/doorbell.h.
//
// Thread-safety: one sleeper; any number of wakers, in any process that maps
// the word.
#ifndef WHALE_BENCH_FLOOR_DOORBELL_H_
#define WHALE_BENCH_FLOOR_DOORBELL_H_

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace whale::bench::floor {

class alignas(64) Doorbell {
 public:
  // Sleeps until Ring or for `timeout_ns`, unless `has_work` says otherwise.
  template <typename HasWork>
  void Sleep(int64_t timeout_ns, HasWork has_work) {
    asleep_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!has_work()) {
      const timespec timeout{.tv_sec = timeout_ns / 1'000'000'000,
                             .tv_nsec = timeout_ns % 1'000'000'000};
      syscall(SYS_futex, &asleep_, FUTEX_WAIT, 1, &timeout, nullptr, 0);
    }
    asleep_.store(0, std::memory_order_relaxed);
  }

  // After what the sleeper waits for was published.
  void Ring() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed) == 0) return;
    if (asleep_.exchange(0, std::memory_order_relaxed) == 0) return;
    syscall(SYS_futex, &asleep_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

 private:
  std::atomic<uint32_t> asleep_{0};
};

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace whale::bench::floor

#endif  // WHALE_BENCH_FLOOR_DOORBELL_H_

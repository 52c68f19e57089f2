// How a fabric learns, cheaply and asleep, which of its connections have
// something for it.
//
// Every fabric owns a summary, one bit per connection, that its peers set
// after they published; and a sleeping word that they read after that. A
// sender does: publish, set bit (a full fence), read the word, and only if it
// says asleep send a packet over the connection's socket, which epoll sees. A
// sleeper does: set the word, full fence, look at the summary again, sleep.
// One of the two always sees the other. The packet goes through the socket
// and not an eventfd because a peer could make an eventfd block its users.
//
// Peers can write the summary (a hostile one delays others until the next
// sweep) but not the sleeping word.
//
// Thread-safety: Doorbell by its owner only; any number of PeerDoorbells.
#ifndef WHALE_FABRIC_SHM_DOORBELL_H_
#define WHALE_FABRIC_SHM_DOORBELL_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/mapping.h"

namespace whale::fabric::shm {

class Doorbell {
 public:
  // Errors: those of CreateSealedMemory.
  static absl::StatusOr<Doorbell> Create(uint32_t max_connections);

  uint32_t words() const { return words_; }
  // Bits 64 * word .. of the summary; clears them.
  uint64_t Take(uint32_t word) {
    uint64_t* bits = summary() + word;
    if (__atomic_load_n(bits, __ATOMIC_RELAXED) == 0) return 0;
    return __atomic_exchange_n(bits, 0, __ATOMIC_ACQ_REL);
  }
  bool Any() const;

  // From GoToSleep to WakeUp, senders ring. GoToSleep is a full fence.
  void GoToSleep();
  void WakeUp();

  int summary_fd() const { return summary_fd_.get(); }
  int sleep_fd() const { return sleep_fd_.get(); }

 private:
  uint64_t* summary() const {
    return reinterpret_cast<uint64_t*>(summary_memory_.base());
  }
  uint64_t* sleeping() const {
    return &reinterpret_cast<SleepPage*>(sleep_memory_.base())->sleeping;
  }

  FileDescriptor summary_fd_, sleep_fd_;
  Mapping summary_memory_, sleep_memory_;
  uint32_t words_ = 0;
};

class PeerDoorbell {
 public:
  PeerDoorbell() = default;
  // From descriptors that the peer handed over; they may be closed afterwards.
  // Errors: kInvalidArgument (not what they should be).
  static absl::StatusOr<PeerDoorbell> Open(int summary_fd, int sleep_fd,
                                           uint32_t bit);

  // Tells the peer to look. True: it sleeps, and a packet must be sent.
  bool Ring();

 private:
  Mapping summary_memory_, sleep_memory_;
  uint64_t* word_ = nullptr;
  uint64_t mask_ = 0;
  uint64_t rung_ = 0;  // the sleep for which a packet went out
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_DOORBELL_H_

// Sleeping and waking of the shm provider, and what is looked at only now and
// then: sockets, and the rings of connections whose bit may have been lost.
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "fabric/shm/epoll_tags.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

constexpr int64_t kTickNs = 1'000'000;
// A sleeper looks up this often, in case a hostile peer wiped a bit of the
// summary that an honest one had set.
constexpr int64_t kSleepSliceNs = 100'000'000;
constexpr uint32_t kSweptPerTick = 64;

int64_t NowNs() {
  BootClock clock;
  return clock.NowNs();
}

}  // namespace

void ShmFabric::Tick() {
  const int64_t now_ns = NowNs();
  if (now_ns - last_tick_ns_ < kTickNs) return;
  last_tick_ns_ = now_ns;
  LookAtSockets(0);
  Sweep(kSweptPerTick);
}

bool ShmFabric::LookAtSockets(int64_t timeout_ns) {
  epoll_event events[64];
  const timespec timeout{.tv_sec = timeout_ns / 1'000'000'000,
                         .tv_nsec = timeout_ns % 1'000'000'000};
  int count =
      epoll_pwait2(epoll_.get(), events, std::size(events), &timeout, nullptr);
  if (count < 0 && errno == ENOSYS) {
    // Before Linux 5.11, and under valgrind. A wait shorter than a millisecond
    // becomes a look.
    count = epoll_wait(epoll_.get(), events, std::size(events),
                       static_cast<int>(timeout_ns / 1'000'000));
  }
  bool woken = false;
  for (int i = 0; i < count; ++i) {
    const uint64_t tag = events[i].data.u64;
    if (tag == kWakeTag) {
      woken = true;
    } else if (tag == kListenerTag) {
      AcceptPeers();
    } else if (Connection* c = Find(ConnectionId{tag}); c != nullptr) {
      ReadSocket(*c);
    }
  }
  return woken;
}

void ShmFabric::Sweep(uint32_t count) {
  const uint32_t size = std::min<uint32_t>(
      used_words_ * 64, static_cast<uint32_t>(connections_.size()));
  for (uint32_t i = 0; i < std::min(count, size); ++i) {
    next_swept_ = next_swept_ + 1 < size ? next_swept_ + 1 : 0;
    Connection* c = connections_[next_swept_].get();
    if (c == nullptr) continue;
    if (c->state == State::kDialing) TryDial(*c);
    if (c->state != State::kOpen) {
      LimitHandshake(*c);
      continue;
    }
    if (c->receiver.Ready() || c->receiver.control() != c->packets_seen) {
      MarkReady(*c);
    }
    if (c->receiver.TakeWantsRoom()) RingDoorbell(*c);
    if (!c->outbox.empty()) SendOutbox(*c);
  }
}

void ShmFabric::LimitHandshake(Connection& c) {
  const bool waits_for_peer = c.state == State::kDialing ||
                              c.state == State::kConnecting ||
                              c.state == State::kIncoming;
  if (!waits_for_peer || NowNs() - c.begun_ns <= options_.handshake_us * 1000) {
    return;
  }
  Die(c, Outcome::kRemoteError,
      absl::StrCat("shm: ", c.name, " has not answered within ",
                   options_.handshake_us / 1000,
                   " ms; is its process stopped or busy?"));
}

bool ShmFabric::FindWork() {
  CollectSummary();
  for (uint32_t word = 0; word < used_words_; ++word) {
    for (uint64_t bits = ready_[word]; bits != 0; bits &= bits - 1) {
      Connection* c = connections_[word * 64 + std::countr_zero(bits)].get();
      const bool open = c != nullptr && c->state == State::kOpen;
      if (open && (c->receiver.Ready() || c->peer_gone)) return true;
      ready_[word] &= ~(bits & -bits);
      // There is room again for what BeginMessage had to refuse.
      if (open && c->sender.TakeBlocked()) return true;
      if (open || (c != nullptr && c->state == State::kConnecting)) {
        OnRingEmpty(*c);
        // It may have found that the peer is gone.
        if (c->peer_gone && c->state == State::kOpen) return true;
      }
    }
  }
  return !queue_.empty();
}

void ShmFabric::Wait(int64_t deadline_ns) {
  FlushMessages();
  while (!SleepOnce(deadline_ns)) {
  }
}

// True: Wait is over.
bool ShmFabric::SleepOnce(int64_t deadline_ns) {
  Sweep(static_cast<uint32_t>(connections_.size()));
  // A new sleep each time: senders ring once per sleep.
  doorbell_.GoToSleep();
  if (FindWork()) {
    doorbell_.WakeUp();
    return true;
  }
  // Sockets are looked at in any case: a caller may never wait for long.
  const int64_t slice_ns = dialing_ > 0 ? kTickNs : kSleepSliceNs;
  const int64_t left_ns = deadline_ns - NowNs();
  const bool woken = LookAtSockets(std::clamp<int64_t>(left_ns, 0, slice_ns));
  doorbell_.WakeUp();
  if (woken) {
    uint64_t wakes;
    [[maybe_unused]] const ssize_t taken =
        read(wake_.get(), &wakes, sizeof(wakes));
  }
  return woken || left_ns <= 0 || FindWork();
}

void ShmFabric::Wake() {
  const uint64_t one = 1;
  // Fails only when 2^64 - 1 wakes wait already, which wakes as well.
  [[maybe_unused]] const ssize_t written =
      write(wake_.get(), &one, sizeof(one));
}

}  // namespace whale::fabric::shm

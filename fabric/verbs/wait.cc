// Sleeping, waking, and what comes from the device itself.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "fabric/verbs/fabric_impl.h"

namespace whale::fabric::verbs {
namespace {

constexpr int64_t kTickNs = 1'000'000;
// Handshakes are looked at this often while asleep.
constexpr int64_t kHandshakeLookNs = 100'000'000;
// Acknowledging takes a lock: many at once.
constexpr uint32_t kEventsPerAcknowledgment = 64;

timespec UntilNs(int64_t ns) {
  return {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
}

}  // namespace

void VerbsFabricImpl::Wake() {
  woken_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written =
      write(wake_.get(), &one, sizeof(one));
}

void VerbsFabricImpl::Tick() {
  const int64_t now_ns = BootClock().NowNs();
  if (now_ns - last_tick_ns_ < kTickNs) return;
  last_tick_ns_ = now_ns;
  if (handshakes_ > 0) LimitHandshakes(now_ns);
  TakeDeviceEvents();
}

void VerbsFabricImpl::TakeDeviceEvents() {
  ibv_async_event event;
  while (ibv_get_async_event(context_.get(), &event) == 0) {
    const std::string text = absl::StrCat("verbs: ", path_, ": ",
                                          ibv_event_type_str(event.event_type));
    uint32_t broken_pair = 0;
    bool all = false;
    switch (event.event_type) {
      case IBV_EVENT_QP_FATAL:
      case IBV_EVENT_QP_REQ_ERR:
      case IBV_EVENT_QP_ACCESS_ERR:
        broken_pair = event.element.qp->qp_num;
        break;
      case IBV_EVENT_DEVICE_FATAL:
      case IBV_EVENT_CQ_ERR:
      case IBV_EVENT_SRQ_ERR:
        all = true;
        break;
      default:
        break;
    }
    const bool news = broken_pair == 0 &&
                      event.event_type != IBV_EVENT_QP_LAST_WQE_REACHED &&
                      event.event_type != IBV_EVENT_COMM_EST &&
                      event.event_type != IBV_EVENT_SQ_DRAINED;
    // Before anything is destroyed, which waits for it.
    ibv_ack_async_event(&event);
    if (news && options_.inform) options_.inform(text);
    for (auto& c : connections_) {
      if (c == nullptr || c->pair == nullptr) continue;
      if (all || c->pair->qp_num == broken_pair) {
        Die(*c, Outcome::kRemoteError, text);
      }
    }
  }
}

// Whether Poll would find something; does what needs no event.
bool VerbsFabricImpl::FindWork() {
  if (setup_waits_.load(std::memory_order_acquire)) TakeSetup();
  while (queue_.empty() && (stash_next_ < stash_.size() || Refill())) {
    const ibv_wc wc = stash_[stash_next_++];
    Handle(wc, nullptr);
  }
  if (!notices_due_.empty()) SendDueNotices();
  receives_->Repost().IgnoreError();
  return !queue_.empty();
}

void VerbsFabricImpl::Wait(int64_t deadline_ns) {
  FlushMessages();
  for (;;) {
    if (woken_.exchange(false, std::memory_order_acquire) || FindWork()) return;
    if (BootClock().NowNs() >= deadline_ns) return;
    // Armed before the last look, so that nothing comes in between.
    ibv_req_notify_cq(completions_.get(), 0);
    if (FindWork()) return;
    SleepOnce(deadline_ns);
    Tick();
  }
}

void VerbsFabricImpl::SleepOnce(int64_t deadline_ns) {
  const int64_t now_ns = BootClock().NowNs();
  int64_t left_ns = std::max<int64_t>(deadline_ns - now_ns, 0);
  if (handshakes_ > 0) left_ns = std::min(left_ns, kHandshakeLookNs);
  pollfd descriptors[] = {{.fd = channel_->fd, .events = POLLIN},
                          {.fd = wake_.get(), .events = POLLIN},
                          {.fd = context_->async_fd, .events = POLLIN}};
  const timespec timeout = UntilNs(left_ns);
  if (ppoll(descriptors, std::size(descriptors), &timeout, nullptr) <= 0) {
    return;
  }
  if (descriptors[0].revents != 0) {
    ibv_cq* queue = nullptr;
    void* context = nullptr;
    while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) {
      if (++unacknowledged_ == kEventsPerAcknowledgment) {
        ibv_ack_cq_events(completions_.get(), unacknowledged_);
        unacknowledged_ = 0;
      }
    }
  }
  if (descriptors[1].revents != 0) {
    eventfd_t count;
    eventfd_read(wake_.get(), &count);
  }
  if (descriptors[2].revents != 0) last_tick_ns_ = 0;
}

}  // namespace whale::fabric::verbs

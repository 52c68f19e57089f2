// Poll of the verbs provider.
#include <utility>

#include "fabric/verbs/fabric_impl.h"

namespace whale::fabric::verbs {
namespace {

// Reading the clock costs more than an idle Poll.
constexpr uint32_t kPollsPerTick = 64;

}  // namespace

size_t VerbsFabricImpl::Poll(std::span<Event> events) {
  if (!unflushed_.empty()) FlushMessages();
  ReleaseHandedOut();
  if (setup_waits_.load(std::memory_order_acquire)) TakeSetup();
  if (++polls_ % kPollsPerTick == 0) Tick();
  Output out{.events = events};
  while (out.count < events.size()) {
    if (!queue_.empty()) {
      TakeQueued(&out);
    } else if (stash_next_ < stash_.size() || Refill()) {
      const ibv_wc wc = stash_[stash_next_++];
      Handle(wc, &out);
    } else {
      break;
    }
  }
  if (!notices_due_.empty()) SendDueNotices();
  return out.count;
}

void VerbsFabricImpl::ReleaseHandedOut() {
  payloads_.clear();
  for (const HandedOut& message : handed_out_) {
    ReleaseBuffer(FindOpen(message.connection), message.buffer,
                  /*counts=*/true);
  }
  handed_out_.clear();
  // What the device refuses here it has refused for good: its connections die
  // by the events that tell so.
  receives_->Repost().IgnoreError();
}

void VerbsFabricImpl::TakeQueued(Output* out) {
  Queued queued = std::move(queue_.front());
  queue_.pop_front();
  Connection* const c = Find(queued.event.connection);
  const bool last = queued.event.kind == EventKind::kDisconnected ||
                    queued.event.kind == EventKind::kConnectFailed;
  // Closed meanwhile; but a Connect that found no place has no connection.
  const bool failed_at_once =
      (queued.event.connection.value & kSlotMask) == kSlotMask;
  if (c == nullptr && !failed_at_once) {
    if (queued.buffer != kNoBuffer) receives_->Release(queued.buffer);
    return;
  }
  Event& event = out->events[out->count++];
  event = queued.event;
  if (queued.buffer != kNoBuffer) {
    handed_out_.push_back({event.connection, queued.buffer});
  }
  if (queued.payload != nullptr) {
    payloads_.push_back(std::move(queued.payload));
    const std::string& text = *payloads_.back();
    if (last) {
      event.detail = text.c_str();
    } else {
      event.data = reinterpret_cast<const std::byte*>(text.data());
      event.length_bytes = static_cast<uint32_t>(text.size());
    }
  }
  if (last && c != nullptr) Remove(*c);
}

}  // namespace whale::fabric::verbs

// Poll of the shm provider: completions first, then messages of the
// connections whose bit is set.
#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fabric/shm/epoll_tags.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

// Reading the clock costs more than an idle Poll.
constexpr uint32_t kPollsPerTick = 32;

}  // namespace

size_t ShmFabric::Poll(std::span<Event> events) {
  if (!unflushed_.empty()) FlushMessages();
  if (outstanding_) ReleaseHandedOut();
  if (++polls_ % kPollsPerTick == 0) Tick();
  CollectSummary();
  if (queue_.empty() && !any_ready_) return 0;
  return TakeEvents(events);
}

size_t ShmFabric::TakeEvents(std::span<Event> events) {
  size_t count = TakeQueued(events);
  // A connection's messages come behind what is queued of it (kConnected).
  if (!queue_.empty()) return count;
  if (any_ready_) count += TakeMessages(events.subspan(count));
  // What the messages' connections came to, their end perhaps.
  if (!queue_.empty()) count += TakeQueued(events.subspan(count));
  return count;
}

void ShmFabric::ReleaseHandedOut() {
  outstanding_ = false;
  payloads_.clear();
  graveyard_.clear();
  for (const ConnectionId id : handed_out_) {
    Connection* c = Find(id);
    if (c == nullptr || !c->unreleased) continue;
    c->unreleased = false;
    if (c->receiver.Release() && c->state == State::kOpen) RingDoorbell(*c);
  }
  handed_out_.clear();
}

void ShmFabric::CollectSummary() {
  for (uint32_t word = 0; word < used_words_; ++word) {
    const uint64_t bits = doorbell_.Take(word);
    if (bits == 0) continue;
    ready_[word] |= bits;
    any_ready_ = true;
  }
}

size_t ShmFabric::TakeQueued(std::span<Event> events) {
  size_t count = 0;
  while (count < events.size() && !queue_.empty()) {
    QueuedEvent& queued = queue_.Pop();
    Event& event = events[count];
    event = queued.event;
    Connection* c = Find(event.connection);
    if (c == nullptr &&
        (event.connection.value & kConnectionBitMask) != kConnectionBitMask) {
      queued.payload.reset();
      continue;  // closed meanwhile
    }
    const bool last = event.kind == EventKind::kDisconnected ||
                      event.kind == EventKind::kConnectFailed;
    if (queued.payload != nullptr) {
      outstanding_ = true;
      payloads_.push_back(
          std::make_unique<std::string>(*std::move(queued.payload)));
      queued.payload.reset();
      const std::string& text = *payloads_.back();
      if (last) {
        event.detail = text.c_str();
      } else {
        event.data = reinterpret_cast<const std::byte*>(text.data());
        event.length_bytes = static_cast<uint32_t>(text.size());
      }
    }
    if (c != nullptr) {
      c->used_slots -= queued.freed_slots;
      if (last) Remove(*c);
    }
    ++count;
  }
  return count;
}

size_t ShmFabric::TakeMessages(std::span<Event> events) {
  size_t count = 0;
  const uint32_t first_word = next_ready_ / 64 % used_words_;
  any_ready_ = false;  // until one is left over
  // Once around, from where the last Poll ran out of room; the first word
  // comes twice, for the bits before that place.
  for (uint32_t step = 0; step <= used_words_; ++step) {
    const uint32_t word = (first_word + step) % used_words_;
    const uint64_t from = ~uint64_t{0} << (next_ready_ % 64);
    uint64_t bits = ready_[word];
    if (step == 0) bits &= from;
    for (; bits != 0; bits &= bits - 1) {
      const uint32_t bit = word * 64 + std::countr_zero(bits);
      if (count == events.size()) {
        next_ready_ = bit;
        any_ready_ = true;
        return count;
      }
      Connection* c = connections_[bit].get();
      if (c == nullptr) {
        ready_[word] &= ~(uint64_t{1} << (bit % 64));
      } else {
        count += TakeFrom(*c, events.subspan(count));
        // More of it waits: the others come first next time.
        if ((ready_[word] >> (bit % 64) & 1) != 0) {
          next_ready_ = (bit + 1) % (used_words_ * 64);
          any_ready_ = true;
        }
      }
    }
  }
  return count;
}

size_t ShmFabric::TakeFrom(Connection& c, std::span<Event> events) {
  const uint64_t mask = uint64_t{1} << (c.bit % 64);
  const bool last = c.peer_gone;  // nothing follows what is in the ring now
  size_t count = 0;
  RingReceiver::Record record;
  while (c.state == State::kOpen) {
    if (count == events.size()) break;
    const RingReceiver::Result result = c.receiver.Next(&record);
    if (result == RingReceiver::Result::kBroken) {
      Die(c, Outcome::kRemoteError,
          absl::StrCat("shm: ", c.name, " put garbage into its message ring"));
      break;
    }
    if (result == RingReceiver::Result::kEmpty) {
      ready_[c.bit / 64] &= ~mask;
      if (last) {
        Die(c, Outcome::kRemoteError,
            absl::StrCat("shm: ", c.name, " closed the connection or died"));
      } else {
        OnRingEmpty(c);
      }
      break;
    }
    Event& event = events[count++];
    event = Event{};
    event.kind = record.type == RecordType::kMessage ? EventKind::kReceived
                                                     : EventKind::kReceivedImm;
    event.connection = c.id;
    event.length_bytes = record.length_bytes;
    event.immediate = record.immediate;
    if (record.type == RecordType::kMessage) event.data = record.data;
  }
  if (c.state == State::kConnecting) OnRingEmpty(c);
  if (c.state != State::kOpen) ready_[c.bit / 64] &= ~mask;
  if (count > 0) {
    c.unreleased = true;
    outstanding_ = true;
    handed_out_.push_back(c.id);
  }
  return count;
}

// The bit was set for another reason than a message: a packet, perhaps.
void ShmFabric::OnRingEmpty(Connection& c) {
  const uint64_t packets = c.receiver.control();
  if (packets == c.packets_seen) return;
  c.packets_seen = packets;
  ReadSocket(c);
}

void ShmFabric::MarkReady(const Connection& c) {
  ready_[c.bit / 64] |= uint64_t{1} << (c.bit % 64);
  any_ready_ = true;
}

QueuedEvent& ShmFabric::PushEvent(EventKind kind, ConnectionId id) {
  QueuedEvent& queued = queue_.Push();
  queued.event.kind = kind;
  queued.event.connection = id;
  return queued;
}

}  // namespace whale::fabric::shm

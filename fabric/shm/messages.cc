// Sending messages over shared memory, and waking who gets them.
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

// A long batch is shown to the peer in parts: it starts while the rest is
// written.
constexpr uint32_t kMessagesPerDoorbell = 8;

}  // namespace

std::byte* ShmFabric::BeginMessage(ConnectionId connection,
                                   size_t length_bytes) {
  WHALE_CHECK(length_bytes <= kMaxMessageBytes);
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kOpen) return nullptr;
  std::byte* room = c->sender.Open(length_bytes);
  if (__builtin_expect(c->sender.broken(), 0)) {
    Die(*c, Outcome::kRemoteError,
        absl::StrCat("shm: ", c->name, " damaged its message ring"));
    return nullptr;
  }
  return room;
}

void ShmFabric::EndMessage(ConnectionId connection, size_t length_bytes) {
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kOpen) return;
  c->sender.CommitMessage(length_bytes);
  if (++c->unpublished >= kMessagesPerDoorbell && PublishReady(*c)) {
    RingDoorbell(*c);
  }
  if (c->unflushed) return;
  c->unflushed = true;
  unflushed_.push_back(connection);
}

void ShmFabric::FlushMessages() {
  for (const ConnectionId id : unflushed_) {
    Connection* c = Find(id);
    if (c == nullptr || c->state != State::kOpen || !c->unflushed) continue;
    c->unflushed = false;
    if (PublishReady(*c)) RingDoorbell(*c);
  }
  unflushed_.clear();
}

bool ShmFabric::PublishReady(Connection& c) {
  c.unpublished = 0;
  return c.sender.Publish(c.pending.empty() ? c.sender.committed()
                                            : c.pending.front().ring_limit);
}

void ShmFabric::RingDoorbell(Connection& c) {
  // A full socket is fine: what fills it wakes the peer as well.
  if (c.doorbell.Ring() && c.socket.valid()) {
    SendPacket(c.socket.get(), PacketType::kRing, {}, {}, {});
  }
}

}  // namespace whale::fabric::shm

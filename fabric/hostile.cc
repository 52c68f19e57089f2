#include "fabric/hostile.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace whale::fabric {
namespace {

// Messages that may wait in one connection.
constexpr size_t kMaxWaitingMessages = 64;
// Events that may be held back; more stay with the provider, whose queues then
// fill up as they would without this.
constexpr size_t kMaxHeldEvents = 1024;

bool MayBeOvertaken(Opcode opcode) {
  return opcode == Opcode::kRead || opcode == Opcode::kCompareSwap ||
         opcode == Opcode::kRemoteFlush;
}

bool IsLast(EventKind kind) {
  return kind == EventKind::kDisconnected || kind == EventKind::kConnectFailed;
}

}  // namespace

HostileFabric::HostileFabric(Fabric* provider, const HostileOptions& options)
    : provider_(provider), options_(options), prng_(options.seed) {}

absl::StatusOr<RegionId> HostileFabric::Register(const Memory& memory,
                                                 const Access& access) {
  absl::StatusOr<RegionId> region = provider_->Register(memory, access);
  if (region.ok()) registered_[region->value] = memory;
  return region;
}

void HostileFabric::Deregister(RegionId region) {
  registered_.erase(region.value);
  provider_->Deregister(region);
}

const HostileFabric::Connection* HostileFabric::Find(ConnectionId id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : &found->second;
}

HostileFabric::Connection* HostileFabric::Find(ConnectionId id) {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : &found->second;
}

ConnectionId HostileFabric::Connect(const std::string& address,
                                    std::span<const std::byte> hello) {
  const ConnectionId id = provider_->Connect(address, hello);
  connections_[id];
  return id;
}

void HostileFabric::Accept(ConnectionId connection,
                           std::span<const std::byte> hello) {
  if (Find(connection) != nullptr) provider_->Accept(connection, hello);
}

void HostileFabric::Reject(ConnectionId connection, std::string_view reason) {
  if (Find(connection) == nullptr) return;
  provider_->Reject(connection, reason);
  connections_.erase(connection);
}

void HostileFabric::Close(ConnectionId connection) {
  provider_->Close(connection);
  connections_.erase(connection);
}

Revocation HostileFabric::Revoke(ConnectionId connection) {
  connections_.erase(connection);
  return provider_->Revoke(connection);
}

// --- Taking work -----------------------------------------------------------

size_t HostileFabric::FreeSlots(ConnectionId connection) const {
  const Connection* c = Find(connection);
  if (c == nullptr || !c->open || c->dead || c->refusing) return 0;
  return c->depth - c->used_slots;
}

PostResult HostileFabric::Post(ConnectionId connection,
                               std::span<const WorkRequest> requests) {
  Connection* c = Find(connection);
  if (c == nullptr || !c->open || c->dead) return PostResult::kClosed;
  if (requests.size() > FreeSlots(connection)) return PostResult::kQueueFull;
  c->used_slots += requests.size();
  for (const WorkRequest& request : requests) {
    Work& work = c->works.emplace_back();
    work.request = request;
    if (request.inline_data && request.length_bytes <= kMaxInlineBytes) {
      std::memcpy(work.inline_data.data(), request.local, request.length_bytes);
      work.request.local = work.inline_data.data();
    }
  }
  return PostResult::kOk;
}

std::byte* HostileFabric::BeginMessage(ConnectionId connection,
                                       size_t length_bytes) {
  WHALE_CHECK(length_bytes <= kMaxMessageBytes);
  const Connection* c = Find(connection);
  if (c == nullptr || !c->open || c->dead || c->refusing) return nullptr;
  const auto waiting = std::count_if(
      c->works.begin(), c->works.end(),
      [](const Work& work) { return work.is_message && !work.passed_on; });
  if (static_cast<size_t>(waiting) >= kMaxWaitingMessages) return nullptr;
  // Not what an earlier message held: nobody may count on that.
  open_message_.assign(length_bytes + 1, static_cast<char>(prng_.Next()));
  return reinterpret_cast<std::byte*>(open_message_.data());
}

void HostileFabric::EndMessage(ConnectionId connection, size_t length_bytes) {
  Connection* c = Find(connection);
  if (c == nullptr || !c->open || c->dead) return;
  Work& work = c->works.emplace_back();
  work.is_message = true;
  work.message = open_message_.substr(0, length_bytes);
}

// A caller may sleep elsewhere after this, so messages cannot wait here.
void HostileFabric::FlushMessages() {
  for (auto& [id, c] : connections_) {
    if (std::any_of(c.works.begin(), c.works.end(), [](const Work& work) {
          return work.is_message && !work.passed_on;
        })) {
      CarryOut(id, c, 1);
    }
  }
  provider_->FlushMessages();
}

// --- Carrying it out -------------------------------------------------------

bool HostileFabric::KeepsTheRules(const Work& work) const {
  const WorkRequest& request = work.request;
  if (work.is_message || request.length_bytes == 0 ||
      request.opcode == Opcode::kRemoteFlush) {
    return true;
  }
  if (request.inline_data) return request.length_bytes <= kMaxInlineBytes;
  const auto* local = static_cast<const std::byte*>(request.local);
  return std::any_of(
      registered_.begin(), registered_.end(), [&](const auto& region) {
        const Memory& memory = region.second;
        return local >= memory.base && local + request.length_bytes <=
                                           memory.base + memory.length_bytes;
      });
}

HostileFabric::Work* HostileFabric::NextToPassOn(Connection& c) {
  Work* next = nullptr;
  for (Work& work : c.works) {
    if (work.passed_on) continue;
    const bool keeps_the_rules = KeepsTheRules(work);
    if (next != nullptr && !keeps_the_rules) break;
    next = &work;
    if (work.is_message || !keeps_the_rules ||
        !MayBeOvertaken(work.request.opcode) ||
        !prng_.Chance(options_.overtake)) {
      break;
    }
  }
  return next;
}

bool HostileFabric::PassOn(ConnectionId id, Connection& c, Work& work) {
  if (work.is_message) {
    std::byte* room = provider_->BeginMessage(id, work.message.size());
    if (room == nullptr) return false;
    std::memcpy(room, work.message.data(), work.message.size());
    provider_->EndMessage(id, work.message.size());
    work.done = true;
  } else {
    WorkRequest request = work.request;
    request.signaled = true;
    request.cookie =
        c.first + (std::find_if(c.works.begin(), c.works.end(),
                                [&](const Work& w) { return &w == &work; }) -
                   c.works.begin());
    if (provider_->Post(id, std::span(&request, 1)) != PostResult::kOk) {
      return false;
    }
  }
  work.passed_on = true;
  return true;
}

void HostileFabric::CarryOut(ConnectionId id, Connection& c, double chance) {
  while (!c.dead && prng_.Chance(chance)) {
    Work* work = NextToPassOn(c);
    if (work == nullptr || !PassOn(id, c, *work)) break;
  }
  if (!c.dead) Complete(id, c);
}

void HostileFabric::OnCompleted(Connection& c, const Event& event) {
  Work& work = c.works[event.cookie - c.first];
  work.done = event.outcome == Outcome::kOk;
  if (!work.done && event.outcome != Outcome::kCanceled) {
    c.error = event.outcome;
  }
}

void HostileFabric::MakeUpCompletion(ConnectionId id, Connection& c,
                                     const Work& work) {
  if (work.is_message) return;
  ++c.unsignaled;
  if (!work.request.signaled && work.outcome == Outcome::kOk) return;
  Held& held = c.completions.emplace_back();
  held.event.kind = EventKind::kCompleted;
  held.event.outcome = work.outcome;
  held.event.opcode = work.request.opcode;
  held.event.connection = id;
  held.event.cookie = work.request.cookie;
  held.freed_slots = c.unsignaled;
  c.unsignaled = 0;
}

void HostileFabric::Complete(ConnectionId id, Connection& c) {
  while (!c.works.empty() && c.works.front().done) {
    MakeUpCompletion(id, c, c.works.front());
    c.works.pop_front();
    ++c.first;
  }
}

// The connection is dead. What had overtaken the first that failed counts as
// canceled, though it took effect.
void HostileFabric::CancelRest(ConnectionId id, Connection& c) {
  Complete(id, c);
  Outcome outcome = c.error;
  for (Work& work : c.works) {
    if (work.is_message) continue;
    work.outcome = std::exchange(outcome, Outcome::kCanceled);
    MakeUpCompletion(id, c, work);
  }
  c.works.clear();
}

// --- Events ----------------------------------------------------------------

void HostileFabric::TakeFromProvider() {
  std::array<Event, 32> events;
  while (HeldEvents() < kMaxHeldEvents) {
    const size_t count = provider_->Poll(events);
    for (size_t i = 0; i < count; ++i) OnEvent(events[i]);
    if (count < events.size()) return;
  }
}

void HostileFabric::OnEvent(const Event& event) {
  if (event.kind == EventKind::kConnectRequest) {
    connections_[event.connection];
  }
  Connection* c = Find(event.connection);
  if (c == nullptr) return;
  if (event.kind == EventKind::kCompleted) {
    OnCompleted(*c, event);
    return;
  }
  if (event.kind == EventKind::kConnected) {
    c->depth = provider_->FreeSlots(event.connection);
  }
  if (IsLast(event.kind)) {
    c->dead = true;
    CancelRest(event.connection, *c);
  }
  Held& held = c->others.emplace_back();
  held.event = event;
  if (event.data != nullptr) {
    held.payload.assign(reinterpret_cast<const char*>(event.data),
                        event.length_bytes);
  } else if (event.detail != nullptr) {
    held.payload = event.detail;
  }
}

void HostileFabric::Advance() {
  TakeFromProvider();
  for (auto& [id, c] : connections_) {
    if (prng_.Chance(c.refusing ? 0.5 : options_.refuse)) {
      c.refusing = !c.refusing;
    }
    CarryOut(id, c, options_.carry_out);
  }
  provider_->FlushMessages();
}

bool HostileFabric::HandOut(Connection& c, Event* event) {
  const bool other_waits = !c.others.empty();
  const bool completion_waits = !c.completions.empty();
  if (!other_waits && !completion_waits) return false;
  bool other = other_waits && (!completion_waits || prng_.Chance(0.5));
  if (completion_waits && other_waits && IsLast(c.others.front().event.kind)) {
    other = false;
  }
  auto& queue = other ? c.others : c.completions;
  Held held = std::move(queue.front());
  queue.pop_front();
  *event = held.event;
  if (event->kind == EventKind::kConnected) c.open = true;
  c.used_slots -= std::min<size_t>(held.freed_slots, c.used_slots);
  handed_out_.push_back(std::make_unique<std::string>(std::move(held.payload)));
  const std::string& payload = *handed_out_.back();
  if (event->data != nullptr) {
    event->data = reinterpret_cast<const std::byte*>(payload.data());
  }
  if (event->detail != nullptr) event->detail = payload.c_str();
  return true;
}

size_t HostileFabric::Poll(std::span<Event> events) {
  handed_out_.clear();
  Advance();
  std::vector<ConnectionId> order;
  for (const auto& [id, c] : connections_) order.push_back(id);
  std::shuffle(order.begin(), order.end(), prng_);
  size_t count = 0;
  for (const ConnectionId id : order) {
    Connection& c = connections_[id];
    bool last = false;
    while (!last && count < events.size() && prng_.Chance(options_.hand_out) &&
           HandOut(c, &events[count])) {
      last = IsLast(events[count++].kind);
    }
    if (last) connections_.erase(id);
  }
  return count;
}

size_t HostileFabric::HeldEvents() const {
  size_t count = 0;
  for (const auto& [id, c] : connections_) {
    count += c.completions.size() + c.others.size();
  }
  return count;
}

void HostileFabric::Wait(int64_t deadline_ns) {
  // Nobody may call again for long: all must be on its way, and what is held
  // back here would not wake the provider.
  for (auto& [id, c] : connections_) CarryOut(id, c, 1);
  provider_->FlushMessages();
  TakeFromProvider();
  for (auto& [id, c] : connections_) CarryOut(id, c, 1);
  if (HeldEvents() == 0) provider_->Wait(deadline_ns);
}

}  // namespace whale::fabric

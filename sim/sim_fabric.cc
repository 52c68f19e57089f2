#include "sim/sim_fabric.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace whale::sim {

using fabric::ConnectionId;
using fabric::Event;
using fabric::EventKind;
using fabric::Grant;
using fabric::Opcode;
using fabric::Outcome;
using fabric::PostResult;
using fabric::RegionId;
using fabric::WorkRequest;

SimFabric::SimFabric(SimNetwork* network, uint32_t node, SimMemory* memory)
    : network_(network), node_(node), memory_(memory) {
  network_->Attach(this);
}

SimFabric::~SimFabric() {
  if (!crashed_) network_->Detach(this, /*crashed=*/false);
  // A process that had crashed may have registered more.
  for (auto& [number, region] : regions_) region->registered = false;
}

void SimFabric::Crash() {
  crashed_ = true;
  network_->Detach(this, /*crashed=*/true);
}

std::string SimFabric::address() const { return absl::StrCat("sim:", node_); }

// ---------------------------------------------------------------- memory

absl::StatusOr<RegionId> SimFabric::Register(const fabric::Memory& memory,
                                             const fabric::Access& access) {
  if (memory.base == nullptr || memory.length_bytes == 0) {
    return absl::InvalidArgumentError(
        "cannot register an empty range; give base and length");
  }
  Region region;
  region.fabric = this;
  region.base = memory.base;
  region.length_bytes = memory.length_bytes;
  region.access = access;
  if (memory_ != nullptr && memory_->Contains(memory.base)) {
    region.memory = memory_;
  }
  std::shared_ptr<Region> shared = network_->AddRegion(region);
  regions_[shared->number] = shared;
  return RegionId{shared->number};
}

size_t SimFabric::max_connections() const {
  return network_->options().max_connections;
}

void SimFabric::Deregister(RegionId region) {
  auto it = regions_.find(region.value);
  WHALE_CHECK_MSG(it != regions_.end(), "no such region");
  it->second->registered = false;
  network_->regions_.erase(region.value);
  regions_.erase(it);
}

Grant SimFabric::MakeGrant(RegionId region, uint64_t offset_bytes,
                           uint64_t length_bytes) const {
  auto it = regions_.find(region.value);
  WHALE_CHECK_MSG(it != regions_.end(), "no such region");
  Region& granted = *it->second;
  WHALE_CHECK(offset_bytes <= granted.length_bytes &&
              length_bytes <= granted.length_bytes - offset_bytes);
  const std::pair<uint64_t, uint64_t> range{offset_bytes, length_bytes};
  const size_t position =
      std::find(granted.grants.begin(), granted.grants.end(), range) -
      granted.grants.begin();
  if (position == granted.grants.size()) granted.grants.push_back(range);
  return {region.value << 32 | position, granted.address() + offset_bytes,
          length_bytes};
}

bool SimFabric::IsRegistered(const void* local, size_t length_bytes) const {
  const auto* begin = static_cast<const std::byte*>(local);
  for (const auto& [key, region] : regions_) {
    if (begin >= region->base &&
        begin + length_bytes <= region->base + region->length_bytes) {
      return true;
    }
  }
  return false;
}

// ----------------------------------------------------------- connections

HalfPtr SimFabric::Find(ConnectionId id) const {
  auto it = connections_.find(id.value);
  return it == connections_.end() ? nullptr : it->second;
}

ConnectionId SimFabric::Connect(const std::string& address,
                                std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= fabric::kMaxHelloBytes);
  auto half = std::make_shared<Half>();
  half->fabric = this;
  half->node = node_;
  half->id = {network_->NextConnection()};
  if (crashed_) return half->id;
  connections_[half->id.value] = all_[half->id.value] = half;
  network_->Connect(half, address, {hello.begin(), hello.end()});
  return half->id;
}

void SimFabric::OfferConnection(const HalfPtr& half) {
  connections_[half->id.value] = all_[half->id.value] = half;
  Ready ready;
  ready.event.kind = EventKind::kConnectRequest;
  ready.half = half;
  ready.data = half->hello;
  Push(std::move(ready));
}

void SimFabric::Accept(ConnectionId connection,
                       std::span<const std::byte> hello) {
  WHALE_CHECK(hello.size() <= fabric::kMaxHelloBytes);
  HalfPtr half = Find(connection);
  if (half == nullptr || half->state != Half::State::kOffered) return;
  half->state = Half::State::kOpen;
  network_->Accept(half, {hello.begin(), hello.end()});
}

void SimFabric::Reject(ConnectionId connection, std::string_view reason) {
  HalfPtr half = Find(connection);
  if (half == nullptr || half->state != Half::State::kOffered) return;
  Forget(half);
  network_->Reject(half, std::string(reason));
}

void SimFabric::PushConnected(const HalfPtr& half) {
  Ready ready;
  ready.event.kind = EventKind::kConnected;
  ready.half = half;
  ready.data = half->hello;
  Push(std::move(ready));
}

void SimFabric::PushConnectFailed(const HalfPtr& half, const std::string& why) {
  connections_.erase(half->id.value);
  Ready ready;
  ready.event.kind = EventKind::kConnectFailed;
  ready.half = half;
  ready.detail = why;
  Push(std::move(ready));
}

// Drops the connection and every event of it that was not handed out.
void SimFabric::Forget(const HalfPtr& half) {
  connections_.erase(half->id.value);
  for (auto it = ready_.begin(); it != ready_.end();) {
    if (it->half == half) {
      if (it->takes_buffer) --used_buffers_;
      it = ready_.erase(it);
    } else {
      ++it;
    }
  }
}

void SimFabric::Close(ConnectionId connection) {
  HalfPtr half = Find(connection);
  if (half == nullptr) return;
  Forget(half);
  network_->End(half, absl::StrCat(address(), " closed the connection"));
}

fabric::Revocation SimFabric::Revoke(ConnectionId connection) {
  // Also of connections that are dead already: they may still be landing.
  auto it = all_.find(connection.value);
  if (it == all_.end()) return fabric::Revocation::kFenced;
  HalfPtr half = it->second;
  network_->FenceOff(half);
  Forget(half);
  network_->End(half, absl::StrCat(address(), " revoked the connection"));
  return fabric::Revocation::kFenced;
}

fabric::FlushMethod SimFabric::flush_method(ConnectionId) const {
  return network_->options().flush_method;
}

void SimFabric::Kill(const HalfPtr& half, Outcome first,
                     const std::string& detail) {
  if (half->state == Half::State::kDead) return;
  const bool offered = half->state == Half::State::kOffered;
  std::deque<std::shared_ptr<Work>> failed = std::move(half->outstanding);
  half->outstanding.clear();
  network_->End(half, detail);
  connections_.erase(half->id.value);
  if (offered) return Forget(half);
  for (size_t i = 0; i < failed.size(); ++i) {
    failed[i]->outcome = i == 0 ? first : Outcome::kCanceled;
    PushCompletion(half, *failed[i], 0);
  }
  Ready ready;
  ready.event.kind = EventKind::kDisconnected;
  ready.half = half;
  ready.detail = detail;
  Push(std::move(ready));
}

// ------------------------------------------------------------------ work

size_t SimFabric::FreeSlots(ConnectionId connection) const {
  HalfPtr half = Find(connection);
  if (half == nullptr || half->state != Half::State::kOpen) return 0;
  return network_->options().queue_depth - half->used_slots;
}

PostResult SimFabric::Post(ConnectionId connection,
                           std::span<const WorkRequest> requests) {
  if (crash_point_) crash_point_();
  HalfPtr half = Find(connection);
  if (half == nullptr || half->state != Half::State::kOpen) {
    return PostResult::kClosed;
  }
  if (requests.size() > FreeSlots(connection)) return PostResult::kQueueFull;
  for (const WorkRequest& request : requests) {
    if (request.opcode == Opcode::kWrite ||
        request.opcode == Opcode::kWriteWithImm) {
      sent_.bytes += request.length_bytes;
    }
    ++sent_.requests;
    auto work = std::make_shared<Work>();
    work->request = request;
    const bool has_local =
        request.opcode != Opcode::kRemoteFlush && request.length_bytes > 0;
    const bool bad_inline =
        request.inline_data && request.length_bytes > fabric::kMaxInlineBytes;
    if (bad_inline || (has_local && !request.inline_data &&
                       !IsRegistered(request.local, request.length_bytes))) {
      work->outcome = Outcome::kLocalError;
      work->captured = true;
    }
    ++half->used_slots;
    half->outstanding.push_back(work);
    network_->Send(half, std::move(work));
  }
  return PostResult::kOk;
}

std::byte* SimFabric::BeginMessage(ConnectionId connection,
                                   size_t length_bytes) {
  WHALE_CHECK_MSG(message_half_ == nullptr, "one open message at a time");
  HalfPtr half = Find(connection);
  if (half == nullptr || half->state != Half::State::kOpen ||
      length_bytes > fabric::kMaxMessageBytes ||
      half->open_messages >= network_->options().message_depth) {
    return nullptr;
  }
  message_half_ = half;
  message_.assign(std::max<size_t>(length_bytes, 8), std::byte{0xa5});
  return message_.data();
}

void SimFabric::EndMessage(ConnectionId connection, size_t length_bytes) {
  if (message_half_ == nullptr || message_half_->id != connection) return;
  if (crash_point_) crash_point_();
  HalfPtr half = std::move(message_half_);
  message_half_ = nullptr;
  message_.resize(length_bytes);
  auto work = std::make_shared<Work>();
  work->is_message = true;
  work->captured = true;
  work->data = std::move(message_);
  message_ = {};
  if (half->state != Half::State::kOpen) return;
  sent_.bytes += length_bytes;
  ++sent_.messages;
  ++half->open_messages;
  network_->Send(half, std::move(work));
}

// ---------------------------------------------------------------- events

void SimFabric::Push(Ready ready) {
  if (crashed_) return;
  ready.event.connection = ready.half->id;
  if (ready.takes_buffer) ++used_buffers_;
  ready_.push_back(std::move(ready));
  network_->WakeNode(node_);
}

bool SimFabric::HasReceiveBuffer() const {
  return used_buffers_ < network_->options().receive_buffers;
}

// Seen once all WRITEs before it have landed.
void SimFabric::PushMessage(const HalfPtr& half, std::vector<std::byte> data) {
  ++used_buffers_;
  auto deliver = [this, half, data = std::move(data)]() mutable {
    if (half->fabric == nullptr) return;
    --used_buffers_;
    if (half->state == Half::State::kDead) return;
    network_->LandNext(half);  // what is due at this very moment
    Ready ready;
    ready.event.kind = EventKind::kReceived;
    ready.half = half;
    ready.data = std::move(data);
    ready.takes_buffer = true;
    Push(std::move(ready));
  };
  network_->world().At(half->last_landing_ns, std::move(deliver));
}

void SimFabric::PushImmediate(const HalfPtr& half, uint32_t immediate,
                              uint32_t length_bytes) {
  ++used_buffers_;
  auto deliver = [this, half, immediate, length_bytes] {
    if (half->fabric == nullptr) return;
    --used_buffers_;
    if (half->state == Half::State::kDead) return;
    network_->LandNext(half);  // what is due at this very moment
    Ready ready;
    ready.event.kind = EventKind::kReceivedImm;
    ready.event.immediate = immediate;
    ready.event.length_bytes = length_bytes;
    ready.half = half;
    ready.takes_buffer = true;
    Push(std::move(ready));
  };
  network_->world().At(half->last_landing_ns, std::move(deliver));
}

void SimFabric::PushCompletion(const HalfPtr& half, const Work& work,
                               size_t freed) {
  Ready ready;
  ready.event.kind = EventKind::kCompleted;
  ready.event.outcome = work.outcome;
  ready.event.opcode = work.request.opcode;
  ready.event.cookie = work.request.cookie;
  ready.half = half;
  ready.freed_slots = freed;
  Push(std::move(ready));
}

void SimFabric::CompleteDone(const HalfPtr& half) {
  while (!half->outstanding.empty() && half->outstanding.front()->done) {
    std::shared_ptr<Work> work = half->outstanding.front();
    if (work->outcome != Outcome::kOk) {
      Kill(half, work->outcome, "the peer refused a request");
      return;
    }
    half->outstanding.pop_front();
    ++half->unfreed_slots;
    if (!work->request.signaled) continue;
    PushCompletion(half, *work, std::exchange(half->unfreed_slots, 0));
  }
}

size_t SimFabric::Poll(std::span<Event> events) {
  for (const Ready& ready : taken_) {
    if (ready.takes_buffer) --used_buffers_;
  }
  taken_.clear();
  size_t count = 0;
  for (; count < events.size() && !ready_.empty(); ++count) {
    taken_.push_back(std::move(ready_.front()));
    ready_.pop_front();
    Ready& ready = taken_.back();
    ready.half->used_slots -= ready.freed_slots;
    events[count] = ready.event;
  }
  for (size_t i = 0; i < count; ++i) {
    Ready& ready = taken_[i];
    const EventKind kind = ready.event.kind;
    if (kind == EventKind::kReceived || kind == EventKind::kConnectRequest ||
        kind == EventKind::kConnected) {
      events[i].data = ready.data.data();
      events[i].length_bytes = ready.data.size();
    }
    events[i].detail = ready.detail.c_str();
  }
  return count;
}

void SimFabric::Wait(int64_t deadline_ns) {
  while (ready_.empty() && !woken_) {
    if (!network_->world().RunOne(deadline_ns)) break;
  }
  woken_ = false;
}

void SimFabric::Wake() {
  woken_ = true;
  network_->WakeNode(node_);
}

}  // namespace whale::sim

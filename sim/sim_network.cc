#include "sim/sim_network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "sim/sim_fabric.h"

namespace whale::sim {

using fabric::Opcode;
using fabric::Outcome;

inline constexpr int64_t kReceiverNotReadyNs = 20 * kMicrosecond;
inline constexpr int64_t kLinkRetryNs = 1 * kMillisecond;

int64_t SimNetwork::Delay(uint32_t from, uint32_t to) {
  int64_t delay =
      world_->random().Chance(options_.slow_chance)
          ? world_->Between(0, options_.slow_delay_ns)
          : world_->Between(options_.min_delay_ns, options_.max_delay_ns);
  int64_t factor = 1;
  for (uint32_t node : {from, to}) {
    auto it = slowness_.find(node);
    if (it != slowness_.end()) factor = std::max(factor, it->second);
  }
  return delay * factor;
}

void SimNetwork::Calm() {
  options_.slow_chance = 0;
  options_.slow_land_chance = 0;
  slowness_.clear();
  HealAllLinks();
}

std::string SimNetwork::Unfinished() const {
  std::string text;
  for (const auto& [address, fabric] : fabrics_) {
    for (const auto& [id, half] : fabric->connections()) {
      const HalfPtr peer = half->peer.lock();
      if (half->outstanding.empty() && half->wire.empty()) continue;
      absl::StrAppend(&text, "\n  connection ", id, " of ", address, " to ",
                      peer == nullptr ? 0 : peer->node, ": ",
                      half->outstanding.size(), " unfinished, ",
                      half->wire.size(), " on the wire, ", half->used_slots,
                      " slots used");
    }
  }
  return text;
}

bool SimNetwork::MayLand(uint32_t from, uint32_t to) const {
  for (const auto& [address, fabric] : fabrics_) {
    for (const auto& [id, half] : fabric->all_connections()) {
      const HalfPtr peer = half->peer.lock();
      if (half->node == to && peer != nullptr && peer->node == from &&
          !half->landing.empty()) {
        return true;
      }
    }
  }
  return false;
}

bool SimNetwork::KillRandomConnection() {
  std::vector<HalfPtr> open;
  for (auto& [address, fabric] : fabrics_) {
    for (auto& [id, half] : fabric->connections()) {
      if (half->state == Half::State::kOpen) open.push_back(half);
    }
  }
  if (open.empty()) return false;
  HalfPtr half = open[world_->random().Below(open.size())];
  half->fabric->Kill(half, Outcome::kRemoteError, "connection broke");
  return true;
}

void SimNetwork::Attach(SimFabric* fabric) {
  WHALE_CHECK_MSG(fabrics_.emplace(fabric->address(), fabric).second,
                  "a node has one fabric at a time");
}

void SimNetwork::Detach(SimFabric* fabric, bool crashed) {
  fabrics_.erase(fabric->address());
  for (const auto& [id, half] : fabric->all_connections()) {
    if (crashed) {
      const size_t kept = world_->random().Below(half->landing.size() + 1);
      for (size_t i = 0; i < kept; ++i) Store(half->landing[i]);
    }
    FenceOff(half);
    End(half, "the process is gone");
    half->fabric = nullptr;
  }
  for (auto it = regions_.begin(); it != regions_.end();) {
    if (it->second->fabric == fabric) {
      it->second->registered = false;
      it = regions_.erase(it);
    } else {
      ++it;
    }
  }
}

std::shared_ptr<Region> SimNetwork::AddRegion(Region region) {
  region.number = ++last_region_;
  auto shared = std::make_shared<Region>(region);
  regions_[region.number] = shared;
  return shared;
}

// ------------------------------------------------------------ connecting

void SimNetwork::Connect(const HalfPtr& half, const std::string& address,
                         std::vector<std::byte> hello) {
  const int64_t give_up = world_->now_ns() + options_.retry_ns;
  // A request that meets a cut link is repeated until it is given up.
  auto attempt = [this, half, address, hello = std::move(hello),
                  give_up](auto& self) -> void {
    if (half->state != Half::State::kConnecting || half->fabric == nullptr) {
      return;
    }
    auto it = fabrics_.find(address);
    const bool cut =
        it != fabrics_.end() && LinkIsCut(half->node, it->second->node());
    if (it == fabrics_.end() || (cut && world_->now_ns() >= give_up)) {
      half->state = Half::State::kDead;
      half->fabric->PushConnectFailed(
          half, address + (cut ? " does not answer" : " is not there"));
      return;
    }
    if (cut) {
      world_->After(kLinkRetryNs, [self]() mutable { self(self); });
      return;
    }
    auto other = std::make_shared<Half>();
    other->fabric = it->second;
    other->node = it->second->node();
    other->id = {NextConnection()};
    other->state = Half::State::kOffered;
    other->hello = hello;
    other->peer = half;
    half->peer = other;
    it->second->OfferConnection(other);
  };
  world_->After(Delay(half->node, half->node),
                [attempt]() mutable { attempt(attempt); });
}

void SimNetwork::Accept(const HalfPtr& half, std::vector<std::byte> hello) {
  HalfPtr peer = half->peer.lock();
  if (peer == nullptr || peer->state != Half::State::kConnecting) {
    half->fabric->Kill(half, Outcome::kRemoteError, "the caller gave up");
    return;
  }
  half->fabric->PushConnected(half);
  // The caller learns it with the first thing that comes back to it.
  auto arrive = [this, peer, half,
                 hello = std::move(hello)](auto& self) mutable -> void {
    if (peer->state != Half::State::kConnecting || peer->fabric == nullptr) {
      return;
    }
    if (half->state != Half::State::kOpen) {
      peer->state = Half::State::kDead;
      peer->fabric->PushConnectFailed(peer, "the peer is gone");
      return;
    }
    if (LinkIsCut(half->node, peer->node)) {
      world_->After(kLinkRetryNs, [self]() mutable { self(self); });
      return;
    }
    peer->state = Half::State::kOpen;
    peer->hello = hello;
    peer->fabric->PushConnected(peer);
    SchedulePump(half, world_->now_ns());
  };
  world_->After(Delay(half->node, peer->node),
                [arrive]() mutable { arrive(arrive); });
}

void SimNetwork::Reject(const HalfPtr& half, const std::string& reason) {
  half->state = Half::State::kDead;
  HalfPtr peer = half->peer.lock();
  if (peer == nullptr) return;
  world_->After(Delay(half->node, peer->node), [peer, reason] {
    if (peer->state != Half::State::kConnecting || peer->fabric == nullptr) {
      return;
    }
    peer->state = Half::State::kDead;
    peer->fabric->PushConnectFailed(peer, reason);
  });
}

void SimNetwork::End(const HalfPtr& half, const std::string& reason) {
  if (half->state == Half::State::kDead) return;
  half->state = Half::State::kDead;
  half->outstanding.clear();
  // What the adapter has not read from memory is gone; of the rest an
  // arbitrary part, from the front, is still on its way.
  size_t kept = 0;
  while (kept < half->wire.size() && half->wire[kept]->captured) ++kept;
  half->wire.resize(kept == 0 ? 0 : world_->random().Below(kept + 1));
  TellPeer(half, reason);
}

void SimNetwork::TellPeer(const HalfPtr& half, const std::string& reason) {
  HalfPtr peer = half->peer.lock();
  if (peer == nullptr) return;
  int64_t delay = Delay(half->node, peer->node);
  if (LinkIsCut(half->node, peer->node)) delay += options_.retry_ns;
  if (world_->random().Chance(0.3)) {
    delay += world_->Between(0, options_.retry_ns);
  }
  world_->After(delay, [half, peer, reason] {
    half->wire_cut = true;
    half->wire.clear();
    if (peer->fabric == nullptr || peer->state == Half::State::kDead) return;
    if (peer->state == Half::State::kConnecting) {
      peer->state = Half::State::kDead;
      peer->fabric->PushConnectFailed(peer, reason);
      return;
    }
    peer->fabric->Kill(peer, Outcome::kRemoteError, reason);
  });
}

void SimNetwork::FenceOff(const HalfPtr& half) {
  half->fenced = true;
  half->landing.clear();
}

// --------------------------------------------------------------- sending

void SimNetwork::Send(const HalfPtr& half, std::shared_ptr<Work> work) {
  HalfPtr peer = half->peer.lock();
  const uint32_t to = peer == nullptr ? half->node : peer->node;
  work->ready_ns = world_->now_ns() + Delay(half->node, to);
  if (!half->wire.empty()) {
    work->ready_ns = std::max(work->ready_ns, half->wire.back()->ready_ns);
  }
  // The adapter reads local memory at once, or only when it must.
  const bool now = work->is_message || work->request.inline_data ||
                   world_->random().Chance(0.5);
  if (now) Capture(half, work);
  half->wire.push_back(std::move(work));
  SchedulePump(half, half->wire.front()->ready_ns);
}

void SimNetwork::Capture(const HalfPtr& from,
                         const std::shared_ptr<Work>& work) {
  if (work->captured) return;
  work->captured = true;
  const fabric::WorkRequest& request = work->request;
  if (request.opcode != Opcode::kWrite &&
      request.opcode != Opcode::kWriteWithImm) {
    return;
  }
  const auto* local = static_cast<const std::byte*>(request.local);
  work->data.assign(local, local + request.length_bytes);
}

void SimNetwork::SchedulePump(const HalfPtr& half, int64_t at_ns) {
  if (half->pumping || half->wire.empty()) return;
  half->pumping = true;
  world_->At(at_ns, [this, half] {
    half->pumping = false;
    Pump(half);
  });
}

void SimNetwork::Stuck(const HalfPtr& half, int64_t again_ns,
                       const char* reason) {
  if (half->stuck_since_ns < 0) half->stuck_since_ns = world_->now_ns();
  const int64_t since = half->stuck_since_ns;
  if (world_->now_ns() - since >= options_.retry_ns) {
    half->wire_cut = true;
    half->wire.clear();
    if (half->fabric != nullptr && half->state == Half::State::kOpen) {
      half->fabric->Kill(half, Outcome::kRemoteError, reason);
    }
    return;
  }
  SchedulePump(half, world_->now_ns() + again_ns);
}

void SimNetwork::Pump(const HalfPtr& half) {
  HalfPtr peer = half->peer.lock();
  while (!half->wire.empty() && !half->wire_cut) {
    std::shared_ptr<Work> work = half->wire.front();
    if (work->ready_ns > world_->now_ns()) {
      SchedulePump(half, work->ready_ns);
      return;
    }
    if (peer == nullptr || LinkIsCut(half->node, peer->node)) {
      return Stuck(half, kLinkRetryNs, "the peer does not answer");
    }
    // The accepting side may send before the caller knows.
    if (peer->state == Half::State::kConnecting) {
      return Stuck(half, kReceiverNotReadyNs, "the peer does not answer");
    }
    if (!Receive(half, work)) {
      return Stuck(half, kReceiverNotReadyNs, "the peer has no receive buffer");
    }
    half->stuck_since_ns = -1;
    half->wire.pop_front();
  }
}

// ------------------------------------------------------------- receiving

bool SimNetwork::Receive(const HalfPtr& from,
                         const std::shared_ptr<Work>& work) {
  HalfPtr to = from->peer.lock();
  const bool gone = to == nullptr || to->fabric == nullptr ||
                    to->state == Half::State::kDead || to->fenced;
  if (gone) {
    from->wire_cut = true;
    if (!work->is_message && to != nullptr) {
      Answer(from, to, work, Outcome::kRemoteError, 0);
    }
    return true;
  }
  const bool needs_buffer =
      work->is_message || work->request.opcode == Opcode::kWriteWithImm;
  if (needs_buffer && !to->fabric->HasReceiveBuffer()) return false;
  if (work->is_message) {
    --from->open_messages;
    // Taken now, seen once the WRITEs before it have landed.
    to->fabric->PushMessage(to, std::move(work->data));
    return true;
  }
  if (work->outcome != Outcome::kOk) {  // refused by the own adapter
    from->wire_cut = true;
    Answer(from, to, work, work->outcome, 0);
    return true;
  }
  Capture(from, work);
  switch (work->request.opcode) {
    case Opcode::kWrite:
    case Opcode::kWriteWithImm:
      ReceiveWrite(from, to, work);
      break;
    case Opcode::kRead:
    case Opcode::kCompareSwap:
    case Opcode::kRemoteFlush:
      ReceiveFetch(from, to, work);
      break;
  }
  return true;
}

std::shared_ptr<Region> SimNetwork::Check(const HalfPtr& to,
                                          const fabric::WorkRequest& request,
                                          size_t* offset) const {
  auto it = regions_.find(request.remote_key >> 32);
  if (it == regions_.end()) return nullptr;
  const std::shared_ptr<Region>& region = it->second;
  if (region->fabric != to->fabric || !region->registered) return nullptr;
  const uint32_t grant = request.remote_key & 0xffffffff;
  if (grant >= region->grants.size()) return nullptr;
  const auto [granted_offset, granted_length] = region->grants[grant];
  const uint64_t begin = region->address() + granted_offset;
  const uint64_t into = request.remote_address - begin;
  if (request.remote_address < begin || into > granted_length ||
      request.length_bytes > granted_length - into) {
    return nullptr;
  }
  *offset = granted_offset + into;
  switch (request.opcode) {
    case Opcode::kRead:
      return region->access.remote_read ? region : nullptr;
    case Opcode::kCompareSwap:
      return region->access.remote_atomic && *offset % 8 == 0 &&
                     request.length_bytes == 8
                 ? region
                 : nullptr;
    default:
      return region->access.remote_write ? region : nullptr;
  }
}

void SimNetwork::ReceiveWrite(const HalfPtr& from, const HalfPtr& to,
                              const std::shared_ptr<Work>& work) {
  size_t offset = 0;
  std::shared_ptr<Region> region = Check(to, work->request, &offset);
  if (region == nullptr && work->request.length_bytes > 0) {
    from->wire_cut = true;
    Answer(from, to, work, Outcome::kRemoteAccess, 0);
    return;
  }
  const uint32_t length = work->request.length_bytes;
  if (length > 0) Land(to, region, offset, std::move(work->data));
  if (work->request.opcode == Opcode::kWriteWithImm) {
    to->fabric->PushImmediate(to, work->request.immediate, length);
  }
  // Only method `none` promises that completion means visible: then it is
  // answered when all has landed, and not if the target dies before.
  if (options_.flush_method != fabric::FlushMethod::kNone) {
    Answer(from, to, work, Outcome::kOk, 0);
    return;
  }
  const int64_t landed_ns = std::max(to->last_landing_ns, world_->now_ns());
  world_->At(landed_ns, [this, from, to, work] {
    const bool alive =
        to->fabric != nullptr && !to->fenced && to->state != Half::State::kDead;
    if (alive) LandNext(to);
    Answer(from, to, work, alive ? Outcome::kOk : Outcome::kRemoteError, 0);
  });
}

void SimNetwork::Land(const HalfPtr& to, const std::shared_ptr<Region>& region,
                      size_t offset, std::vector<std::byte> data) {
  Prng& random = world_->random();
  // Cut at aligned words of the target.
  const size_t first = (8 - offset % 8) % 8;
  const size_t words = data.size() > first ? (data.size() - first) / 8 : 0;
  std::vector<size_t> cuts = {0, data.size()};
  if (words > 0) {
    const size_t pieces = 1 + random.Below(options_.max_pieces);
    for (size_t i = 1; i < pieces; ++i) {
      cuts.push_back(first + 8 * random.Below(words + 1));
    }
  }
  std::sort(cuts.begin(), cuts.end());
  std::vector<Half::Piece> pieces;
  for (size_t i = 1; i < cuts.size(); ++i) {
    if (cuts[i - 1] == cuts[i]) continue;
    pieces.push_back({region,
                      offset + cuts[i - 1],
                      {data.begin() + cuts[i - 1], data.begin() + cuts[i]},
                      0});
  }
  if (random.Chance(options_.shuffle_chance)) {
    for (size_t i = pieces.size(); i > 1; --i) {
      std::swap(pieces[i - 1], pieces[random.Below(i)]);
    }
  }
  int64_t at = std::max(to->last_landing_ns, world_->now_ns());
  for (Half::Piece& piece : pieces) {
    at += random.Chance(options_.slow_land_chance)
              ? world_->Between(0, options_.slow_land_delay_ns)
              : world_->Between(0, options_.max_land_delay_ns);
    piece.at_ns = at;
    to->landing.push_back(std::move(piece));
  }
  to->last_landing_ns = at;
  LandNext(to);
}

void SimNetwork::Store(const Half::Piece& piece) {
  if (!piece.region->registered) return;
  std::memcpy(piece.region->base + piece.offset, piece.data.data(),
              piece.data.size());
}

// Lands what is due, and comes back for the rest.
void SimNetwork::LandNext(const HalfPtr& to) {
  while (!to->landing.empty() &&
         to->landing.front().at_ns <= world_->now_ns()) {
    Store(to->landing.front());
    to->landing.pop_front();
  }
  if (to->landing.empty() || to->landing_scheduled) return;
  to->landing_scheduled = true;
  world_->At(to->landing.front().at_ns, [this, to] {
    to->landing_scheduled = false;
    LandNext(to);
  });
}

void SimNetwork::ReceiveFetch(const HalfPtr& from, const HalfPtr& to,
                              const std::shared_ptr<Work>& work) {
  // Behind every WRITE before it, but later requests do not wait.
  const int64_t at = std::max(to->last_landing_ns, world_->now_ns()) +
                     Delay(to->node, to->node);
  world_->At(at, [this, from, to, work] { Execute(from, to, work); });
}

void SimNetwork::Execute(const HalfPtr& from, const HalfPtr& to,
                         const std::shared_ptr<Work>& work) {
  if (to->fabric == nullptr || to->fenced || to->state == Half::State::kDead) {
    Answer(from, to, work, Outcome::kRemoteError, 0);
    return;
  }
  LandNext(to);
  const fabric::WorkRequest& request = work->request;
  size_t offset = 0;
  std::shared_ptr<Region> region = Check(to, request, &offset);
  if (region == nullptr) {
    from->wire_cut = true;
    Answer(from, to, work, Outcome::kRemoteAccess, 0);
    return;
  }
  std::byte* remote = region->base + offset;
  if (request.opcode == Opcode::kRemoteFlush) {
    if (region->memory != nullptr) {
      region->memory->MakeDurable(remote, request.length_bytes);
    }
  } else if (request.opcode == Opcode::kCompareSwap) {
    work->data.assign(remote, remote + 8);
    uint64_t value;
    std::memcpy(&value, remote, 8);
    if (value == request.compare) std::memcpy(remote, &request.swap, 8);
  } else {
    // The second half of what is read may be newer than the first.
    const size_t half =
        world_->random().Below(request.length_bytes / 8 + 1) * 8;
    work->data.assign(remote, remote + half);
    world_->After(world_->Between(0, options_.max_land_delay_ns),
                  [this, from, to, work, region, remote, half] {
                    if (to->fabric == nullptr || !region->registered) {
                      Answer(from, to, work, Outcome::kRemoteError, 0);
                      return;
                    }
                    work->data.insert(work->data.end(), remote + half,
                                      remote + work->request.length_bytes);
                    Answer(from, to, work, Outcome::kOk, 0);
                  });
    return;
  }
  Answer(from, to, work, Outcome::kOk, 0);
}

// ------------------------------------------------------------- answering

void SimNetwork::Answer(const HalfPtr& from, const HalfPtr& to,
                        const std::shared_ptr<Work>& work, Outcome outcome,
                        int64_t not_before_ns) {
  const int64_t at =
      std::max(world_->now_ns(), not_before_ns) + Delay(to->node, from->node);
  const uint32_t node = to->node;
  world_->At(at, [this, from, work, outcome, node] {
    Finish(from, work, outcome, node, world_->now_ns());
  });
}

void SimNetwork::Finish(const HalfPtr& from, const std::shared_ptr<Work>& work,
                        Outcome outcome, uint32_t answering_node,
                        int64_t since_ns) {
  if (from->fabric == nullptr || from->state != Half::State::kOpen) return;
  if (LinkIsCut(answering_node, from->node)) {
    if (world_->now_ns() - since_ns >= options_.retry_ns) {
      from->fabric->Kill(from, Outcome::kRemoteError,
                         "the peer does not answer");
      return;
    }
    world_->After(kLinkRetryNs, [=, this] {
      Finish(from, work, outcome, answering_node, since_ns);
    });
    return;
  }
  const bool fetches = work->request.opcode == Opcode::kRead ||
                       work->request.opcode == Opcode::kCompareSwap;
  if (outcome == Outcome::kOk && fetches && !work->data.empty()) {
    std::memcpy(work->request.local, work->data.data(), work->data.size());
  }
  work->outcome = outcome;
  work->done = true;
  from->fabric->CompleteDone(from);
}

}  // namespace whale::sim

// One-sided work over shared memory: carried out while it is posted, unless
// the peer's memory is yet to be mapped; then it waits, and all of its
// connection behind it.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/prefetch.h"
#include "fabric/shm/copy.h"
#include "fabric/shm/fabric_impl.h"

namespace whale::fabric::shm {
namespace {

bool IsEmptyWrite(const WorkRequest& request) {
  return request.length_bytes == 0 && (request.opcode == Opcode::kWrite ||
                                       request.opcode == Opcode::kWriteWithImm);
}

}  // namespace

size_t ShmFabric::FreeSlots(ConnectionId connection) const {
  const Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kOpen) return 0;
  // Any of them may carry an immediate, which needs room in the ring.
  return std::min<size_t>(options_.send_queue_depth - c->used_slots,
                          c->sender.FreeImmediates());
}

PostResult ShmFabric::Post(ConnectionId connection,
                           std::span<const WorkRequest> requests) {
  Connection* c = Find(connection);
  if (c == nullptr || c->state != State::kOpen) return PostResult::kClosed;
  if (requests.size() > options_.send_queue_depth - c->used_slots) {
    return PostResult::kQueueFull;
  }
  size_t immediates = 0;
  for (const WorkRequest& request : requests) {
    immediates += request.opcode == Opcode::kWriteWithImm;
  }
  if (immediates > 0 && !c->sender.HasRoomForImmediates(immediates)) {
    return PostResult::kQueueFull;
  }
  c->used_slots += static_cast<uint32_t>(requests.size());
  PublishReady(*c);  // messages that ended before
  const size_t done = c->pending.empty()
                          ? Execute(*c, requests, /*commit_immediates=*/true)
                          : 0;
  if (c->state != State::kOpen) return PostResult::kOk;  // failed, with events
  if (done < requests.size()) Defer(*c, requests.subspan(done));
  if (PublishReady(*c) || c->unflushed) {
    c->unflushed = false;
    RingDoorbell(*c);
  }
  return PostResult::kOk;
}

size_t ShmFabric::Execute(Connection& c, std::span<const WorkRequest> requests,
                          bool commit_immediates) {
  size_t begin = 0;
  while (begin < requests.size()) {
    RemoteRegion* region = nullptr;
    Check check = CheckRequest(c, requests[begin], &region);
    if (check == Check::kWait) return begin;
    if (check == Check::kReady && region != nullptr && !region->Enter()) {
      check = Check::kRefused;
    }
    if (check != Check::kReady) {
      FailRequests(c, requests.subspan(begin),
                   check == Check::kWrong ? Outcome::kLocalError
                                          : Outcome::kRemoteAccess);
      return requests.size();
    }
    // All that follows to the same memory, under one entry of its guard.
    size_t end = begin;
    RemoteRegion* next = region;
    do {
      if (region != nullptr) Carry(requests[end], *region);
      ++end;
    } while (end < requests.size() &&
             CheckRequest(c, requests[end], &next) == Check::kReady &&
             next == region);
    if (region != nullptr && !region->Leave()) {
      FailRequests(c, requests.subspan(begin), Outcome::kRemoteAccess);
      return requests.size();
    }
    for (; begin < end; ++begin) {
      const WorkRequest& request = requests[begin];
      if (commit_immediates && request.opcode == Opcode::kWriteWithImm) {
        c.sender.CommitImmediate(request.immediate, request.length_bytes);
      }
      Complete(c, request);
    }
  }
  return begin;
}

ShmFabric::Check ShmFabric::CheckRequest(Connection& c,
                                         const WorkRequest& request,
                                         RemoteRegion** region) {
  *region = nullptr;
  if (!LocalMemoryIsFine(request)) return Check::kWrong;
  if (IsEmptyWrite(request)) return Check::kReady;
  if (request.remote_key == 0) return Check::kRefused;
  *region = FindRegion(c, request.remote_key);
  if (*region == nullptr) return Check::kWait;
  if (!(*region)->Allows(request)) return Check::kRefused;
  if (request.opcode == Opcode::kCompareSwap &&
      reinterpret_cast<uintptr_t>((*region)->At(request.remote_address)) % 8 !=
          0) {
    return Check::kWrong;
  }
  return Check::kReady;
}

bool ShmFabric::LocalMemoryIsFine(const WorkRequest& request) const {
  switch (request.opcode) {
    case Opcode::kWrite:
    case Opcode::kWriteWithImm:
      if (request.inline_data) return request.length_bytes <= kMaxInlineBytes;
      return request.length_bytes == 0 ||
             regions_.Covers(request.local, request.length_bytes);
    case Opcode::kRead:
      return !request.inline_data &&
             (request.length_bytes == 0 ||
              regions_.Covers(request.local, request.length_bytes));
    case Opcode::kCompareSwap:
      return !request.inline_data && request.length_bytes == 8 &&
             regions_.Covers(request.local, 8);
    case Opcode::kRemoteFlush:
      return true;
  }
  return false;
}

RemoteRegion* ShmFabric::FindRegion(Connection& c, uint64_t key) {
  if (c.last_region != nullptr && c.last_region->key() == key) {
    return c.last_region;
  }
  for (const auto& region : c.regions) {
    if (region->key() == key) {
      c.last_region = region.get();
      return c.last_region;
    }
  }
  if (c.requested_key == 0) {
    c.requested_key = key;
    const RegionRequestBody body{.key = key};
    SendControl(c, PacketType::kRegionRequest,
                std::as_bytes(std::span(&body, 1)));
  }
  return nullptr;
}

void ShmFabric::Carry(const WorkRequest& request, RemoteRegion& region) {
  std::byte* remote = region.At(request.remote_address);
  switch (request.opcode) {
    case Opcode::kWrite:
    case Opcode::kWriteWithImm:
      CopyIn(remote, request.local, request.length_bytes);
      // Large ones tend to go on where they ended: into logs.
      if (request.length_bytes > kWordCopyMaxBytes) {
        PrefetchForWrite(remote + request.length_bytes, request.length_bytes);
      }
      return;
    case Opcode::kRead:
      CopyOut(request.local, remote, request.length_bytes);
      return;
    case Opcode::kCompareSwap: {
      uint64_t old = request.compare;
      __atomic_compare_exchange_n(reinterpret_cast<uint64_t*>(remote), &old,
                                  request.swap, false, __ATOMIC_SEQ_CST,
                                  __ATOMIC_SEQ_CST);
      std::memcpy(request.local, &old, sizeof(old));
      return;
    }
    case Opcode::kRemoteFlush:
      return;  // stores are visible, and as durable as the domain, at once
  }
}

void ShmFabric::Complete(Connection& c, const WorkRequest& request) {
  ++c.unsignaled;
  if (!request.signaled) return;
  QueuedEvent& queued = queue_.Push();
  queued.event.kind = EventKind::kCompleted;
  queued.event.opcode = request.opcode;
  queued.event.connection = c.id;
  queued.event.cookie = request.cookie;
  queued.freed_slots = c.unsignaled;
  c.unsignaled = 0;
}

void ShmFabric::PushFailure(Connection& c, const WorkRequest& request,
                            Outcome outcome) {
  QueuedEvent& queued = queue_.Push();
  queued.event.kind = EventKind::kCompleted;
  queued.event.outcome = outcome;
  queued.event.opcode = request.opcode;
  queued.event.connection = c.id;
  queued.event.cookie = request.cookie;
}

void ShmFabric::FailRequests(Connection& c,
                             std::span<const WorkRequest> requests,
                             Outcome first) {
  for (const WorkRequest& request : requests) {
    PushFailure(c, request,
                &request == requests.data() ? first : Outcome::kCanceled);
  }
  Die(c, Outcome::kCanceled,
      first == Outcome::kLocalError
          ? absl::StrCat("shm: a request to ", c.name,
                         " broke the rules: local memory not registered, "
                         "length, or alignment")
          : absl::StrCat("shm: ", c.name,
                         ": the grant does not cover a request, or was "
                         "revoked"));
}

void ShmFabric::Defer(Connection& c, std::span<const WorkRequest> requests) {
  for (const WorkRequest& request : requests) {
    PendingWork& work = c.pending.emplace_back();
    work.request = request;
    work.ring_limit = c.sender.committed();
    if (request.opcode == Opcode::kWriteWithImm) {
      c.sender.CommitImmediate(request.immediate, request.length_bytes);
    }
    if (request.inline_data && request.length_bytes <= kMaxInlineBytes) {
      std::memcpy(work.inline_data.data(), request.local, request.length_bytes);
      work.request.local = work.inline_data.data();
    }
  }
}

void ShmFabric::ResumePending(Connection& c) {
  while (!c.pending.empty()) {
    RemoteRegion* region = nullptr;
    if (CheckRequest(c, c.pending.front().request, &region) == Check::kWait) {
      break;
    }
    PendingWork work = std::move(c.pending.front());
    if (work.request.inline_data) work.request.local = work.inline_data.data();
    c.pending.pop_front();
    Execute(c, std::span(&work.request, 1), /*commit_immediates=*/false);
    if (c.state != State::kOpen) return;
  }
  if (PublishReady(c)) RingDoorbell(c);
}

}  // namespace whale::fabric::shm

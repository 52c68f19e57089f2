#include "logstore/session_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/check.h"

namespace whale::logstore {
namespace {

constexpr uint64_t kFirstSize = 4;

}  // namespace

SessionTable::SessionTable(uint64_t window) : window_(window) {
  WHALE_CHECK(std::has_single_bit(window));
}

const SessionTable::Session* SessionTable::Find(SessionId session) const {
  const auto it = sessions_.find(session.value());
  return it == sessions_.end() ? nullptr : &it->second;
}

void SessionTable::Open(SessionId session, Lsn lsn, int64_t now_ns) {
  const auto [it, is_new] = sessions_.try_emplace(session.value());
  if (is_new) it->second.opened = lsn;
  it->second.active_ns = std::max(it->second.active_ns, now_ns);
}

void SessionTable::End(SessionId session, Lsn lsn) {
  Session* found = Find(session);
  if (found == nullptr || found->ended()) return;
  found->ended_at = lsn;
  oldest_end_ = ended_ == 0 ? lsn : std::min(oldest_end_, lsn);
  ++ended_;
}

bool SessionTable::IsOpen(SessionId session) const {
  const Session* found = Find(session);
  return found != nullptr && !found->ended();
}

Lsn SessionTable::OpenedAt(SessionId session) const {
  WHALE_CHECK(IsOpen(session));
  return Find(session)->opened;
}

SessionTable::Found SessionTable::Lookup(SessionId session,
                                         RequestNumber request) const {
  const Session* found = Find(session);
  if (found == nullptr || found->ended()) return {};
  const uint64_t r = request.value();
  if (r > found->newest) return {.answer = Answer::kNew};
  if (r == 0 || found->newest - r >= window_) {
    return {.answer = Answer::kTooOld};
  }
  const uint64_t lsn = found->outcomes[r & (found->outcomes.size() - 1)];
  if (lsn == 0) return {.answer = Answer::kNew};
  return {.answer = Answer::kDuplicate, .lsn = Lsn(lsn)};
}

// Makes `request` the newest: room for it, and what falls out of the window
// forgotten.
void SessionTable::Advance(Session& session, uint64_t request) const {
  const uint64_t size = session.outcomes.size();
  uint64_t wanted = std::max(size, kFirstSize);
  while (wanted < window_ && wanted <= request) wanted *= 2;
  wanted = std::min(wanted, window_);
  if (wanted != size) {
    // Below the window nothing has been forgotten yet: all requests so far
    // are smaller than `size`.
    session.outcomes.resize(wanted, 0);
  }
  const uint64_t skipped = std::min(request - session.newest, wanted);
  for (uint64_t i = 0; i < skipped; ++i) {
    session.outcomes[(request - i) & (wanted - 1)] = 0;
  }
  session.newest = request;
}

void SessionTable::Record(SessionId session, RequestNumber request, Lsn lsn) {
  Session* found = Find(session);
  const uint64_t r = request.value();
  if (found == nullptr || found->ended() || r == 0) return;
  if (r > found->newest) {
    Advance(*found, r);
  } else if (found->newest - r >= window_) {
    return;
  }
  found->outcomes[r & (found->outcomes.size() - 1)] = lsn.value();
}

void SessionTable::Forget(SessionId session, RequestNumber request) {
  if (Lookup(session, request).answer != Answer::kDuplicate) return;
  Session* found = Find(session);
  found->outcomes[request.value() & (found->outcomes.size() - 1)] = 0;
}

void SessionTable::Undo(Lsn from) {
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    Session& session = it->second;
    if (session.ended_at >= from && session.ended()) {
      session.ended_at = Lsn();
      --ended_;
    }
    if (session.opened >= from) {
      it = sessions_.erase(it);
      continue;
    }
    for (uint64_t& lsn : session.outcomes) {
      if (lsn >= from.value()) lsn = 0;
    }
    ++it;
  }
}

void SessionTable::Release(Lsn committed) {
  if (ended_ == 0 || oldest_end_ >= committed) return;
  oldest_end_ = kMaxLsn;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (it->second.ended() && it->second.ended_at < committed) {
      it = sessions_.erase(it);
      --ended_;
    } else {
      if (it->second.ended()) {
        oldest_end_ = std::min(oldest_end_, it->second.ended_at);
      }
      ++it;
    }
  }
}

void SessionTable::Touch(SessionId session, int64_t now_ns) {
  if (Session* found = Find(session); found != nullptr) {
    found->active_ns = std::max(found->active_ns, now_ns);
  }
}

void SessionTable::TouchAll(int64_t now_ns) {
  for (auto& [id, session] : sessions_) {
    session.active_ns = std::max(session.active_ns, now_ns);
  }
}

size_t SessionTable::memory_bytes() const {
  size_t bytes = sessions_.bucket_count() * sizeof(void*);
  for (const auto& [id, session] : sessions_) {
    bytes += sizeof(session) + 3 * sizeof(void*) +
             session.outcomes.capacity() * sizeof(uint64_t);
  }
  return bytes;
}

void SessionTable::Clear() {
  sessions_.clear();
  ended_ = 0;
}

}  // namespace whale::logstore

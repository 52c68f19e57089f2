// The session: asked for once, opened in each shard before the first write
// there, kept alive, and replaced where it is lost.
#include <utility>

#include "client/core_impl.h"

namespace whale::client {
namespace {

// The lease of a session is looked after this often, and an idle shard's
// session kept alive when a third of it has passed.
constexpr int64_t kChecksPerLease = 12;
constexpr int64_t kIdlePartOfLease = 3;
// After this a shard's session is opened anew, if writes still wait for it.
constexpr int64_t kOpenTimeoutNs = 5'000'000'000;

}  // namespace

// Numbers for the writes that wait, as far as session and window allow.
void Core::Impl::PumpTurn(Shard* shard) {
  while (PendingOperation* operation = shard->turn.front()) {
    if (shard->session_state == Shard::Session::kOpen && shard->window.full() &&
        shard->window.oldest_abandoned()) {
      DropSession(shard);
    }
    if (shard->session_state != Shard::Session::kOpen) {
      OpenSession(shard);
      return;
    }
    if (shard->window.full() ||
        shard->writes_in_flight >= options_.max_in_flight) {
      return;
    }
    shard->turn.PopFront();
    operation->session = shard->session;
    operation->number = shard->window.Take();
    ++shard->writes_in_flight;
    ToLink(operation);
  }
}

void Core::Impl::OpenSession(Shard* shard) {
  if (shard->session_state == Shard::Session::kOpening) return;
  if (session_ == 0) {
    session_wanted_ = true;
    return;
  }
  shard->session = session_;
  shard->session_state = Shard::Session::kOpening;
  shard->window.Reset();
  SendInternal(shard, wire::RequestType::kOpenSession,
               now_ns_ + kOpenTimeoutNs);
}

void Core::Impl::OnSession(uint64_t session, int64_t lease_ns) {
  now_ns_ = clock_->NowNs();
  if (session == 0 || lease_ns <= 0) return;
  session_ = session;
  session_lease_ns_ = lease_ns;
  session_wanted_ = false;
  keep_alive_at_ns_ = now_ns_ + session_lease_ns_ / kChecksPerLease;
  for (const auto& shard : shards_) PumpTurn(shard.get());
}

// The shard needs a session that it has not had yet.
void Core::Impl::DropSession(Shard* shard) {
  if (session_ == shard->session) session_ = 0;
  shard->session = 0;
  shard->session_state = Shard::Session::kNone;
}

// The server has executed nothing of this request now, but may have done so
// earlier, before the session ended.
void Core::Impl::OnUnknownSession(PendingOperation* operation) {
  Shard* shard = operation->shard;
  if (operation->number == 0) {
    OnInvalid(operation);
    return;
  }
  if (shard->session == operation->session &&
      shard->session_state == Shard::Session::kOpen) {
    DropSession(shard);
  }
  if (operation->in_doubt) {
    FinishInDoubt(operation);
    return;
  }
  ReleaseNumber(operation, /*settled=*/true);
  Place(operation);
}

void Core::Impl::ReleaseNumber(PendingOperation* operation, bool settled) {
  Shard* shard = operation->shard;
  const uint64_t number = std::exchange(operation->number, 0);
  const uint64_t session = std::exchange(operation->session, 0);
  --shard->writes_in_flight;
  if (session == shard->session) {
    if (settled) {
      shard->window.Settle(number);
    } else {
      shard->window.Abandon(number);
    }
  }
  if (!shard->turn.empty()) PumpTurn(shard);
}

void Core::Impl::SendInternal(Shard* shard, wire::RequestType type,
                              int64_t deadline_ns) {
  PendingOperation* operation = NewOperation();
  operation->is_internal = true;
  operation->type = type;
  operation->shard = shard;
  operation->session = shard->session;
  StartDeadline(operation, deadline_ns);
  Place(operation);
}

void Core::Impl::OnInternalAnswer(PendingOperation* operation,
                                  wire::Result result) {
  Shard* shard = operation->shard;
  const uint64_t session = operation->session;
  const bool opening = operation->type == wire::RequestType::kOpenSession;
  const bool unknown = result == wire::Result::kUnknownSession;
  if (opening && result != wire::Result::kOk && !unknown &&
      session == shard->session && !shard->turn.empty()) {
    WantMap();
    BackOff(operation);
    return;
  }
  EndInternal(operation);
  if (session != shard->session) return;
  if (unknown) {
    DropSession(shard);
  } else if (opening) {
    shard->session_state = result == wire::Result::kOk ? Shard::Session::kOpen
                                                       : Shard::Session::kNone;
  }
  PumpTurn(shard);
}

void Core::Impl::EndInternal(PendingOperation* operation) {
  Unplace(operation);
  DeadlineList::Remove(operation);
  Recycle(operation);
}

void Core::Impl::ExpireInternal(PendingOperation* operation) {
  Shard* shard = operation->shard;
  const bool opening = operation->type == wire::RequestType::kOpenSession &&
                       operation->session == shard->session;
  EndInternal(operation);
  if (!opening) return;
  shard->session_state = Shard::Session::kNone;
  PumpTurn(shard);
}

void Core::Impl::SendKeepAlives() {
  if (now_ns_ < keep_alive_at_ns_) return;
  keep_alive_at_ns_ = now_ns_ + session_lease_ns_ / kChecksPerLease;
  for (const auto& shard : shards_) {
    if (shard->session_state != Shard::Session::kOpen) continue;
    if (now_ns_ - shard->session_used_ns <
        session_lease_ns_ / kIdlePartOfLease) {
      continue;
    }
    shard->session_used_ns = now_ns_;
    SendInternal(shard.get(), wire::RequestType::kKeepAlive,
                 now_ns_ + session_lease_ns_ / kIdlePartOfLease);
  }
}

}  // namespace whale::client

// The exactly-once state of one shard: which requests of which sessions have
// been carried out, and with what outcome (protocol, section 9; RIFL, Lee et
// al., SOSP 2015).
//
// Derived from the log, so every replica has it and recovery rebuilds it: fed
// with session-open and session-end records and with every record that carries
// a request. An outcome is the LSN of its record: the version of a put, the
// tombstone's LSN of a delete. Per session the newest `window` requests are
// kept, in an array by request number.
//
// Thread-safety: none. Iteration order depends only on the calls made.
#ifndef WHALE_LOGSTORE_SESSION_TABLE_H_
#define WHALE_LOGSTORE_SESSION_TABLE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "proto/wire.h"

namespace whale::logstore {

class SessionTable {
 public:
  enum class Answer : uint8_t {
    kUnknownSession,  // never opened, or ended: refuse
    kNew,             // not carried out yet
    kDuplicate,       // carried out; `lsn` is the outcome
    kTooOld,          // a window behind: its answer was taken long ago
  };
  struct Found {
    Answer answer = Answer::kUnknownSession;
    Lsn lsn;
  };

  // `window`: a power of two.
  explicit SessionTable(uint64_t window = wire::kSessionWindow);

  // The session-open record at `lsn`. Open already: only counts as activity.
  void Open(SessionId session, Lsn lsn, int64_t now_ns = 0);
  // The session-end record at `lsn`. From now on the session is unknown; its
  // outcomes are kept until Release, because a cut may undo the end.
  void End(SessionId session, Lsn lsn);

  Found Lookup(SessionId session, RequestNumber request) const;
  // The record at `lsn` carries this request. Of an unknown session, or too
  // old: ignored.
  void Record(SessionId session, RequestNumber request, Lsn lsn);

  // The record of this request was given up before anyone was told of it:
  // the request has not been carried out.
  void Forget(SessionId session, RequestNumber request);

  // A cut: what records at or above `from` did vanishes. What an outcome had
  // replaced is a window older and need not come back.
  void Undo(Lsn from);
  // No cut will come below `committed`: sessions ended below it are dropped.
  void Release(Lsn committed);

  // --- Expiry; the caller decides when a session has been idle too long ---
  void Touch(SessionId session, int64_t now_ns);
  void TouchAll(int64_t now_ns);
  // Calls `visit(SessionId, int64_t last_activity_ns)` for open sessions. The
  // table must not change meanwhile.
  template <typename Visitor>
  void ForEachOpen(Visitor&& visit) const {
    for (const auto& [id, state] : sessions_) {
      if (!state.ended()) visit(SessionId(id), state.active_ns);
    }
  }
  // Calls `visit(SessionId, RequestNumber, Lsn)` for every outcome kept of
  // open sessions.
  template <typename Visitor>
  void ForEachOutcome(Visitor&& visit) const;

  bool IsOpen(SessionId session) const;
  // The session-open record's LSN. REQUIRES: IsOpen(session).
  Lsn OpenedAt(SessionId session) const;
  size_t size() const { return sessions_.size() - ended_; }  // open ones
  size_t memory_bytes() const;
  void Clear();

 private:
  struct Session {
    Lsn opened;
    Lsn ended_at;  // 0: open
    int64_t active_ns = 0;
    uint64_t newest = 0;  // request number
    // LSN of request r at r mod size, 0: not carried out. Grows with `newest`
    // up to the window; holds requests above newest - size only.
    std::vector<uint64_t> outcomes;

    bool ended() const { return ended_at != Lsn(); }
  };

  const Session* Find(SessionId session) const;
  Session* Find(SessionId session) {
    return const_cast<Session*>(std::as_const(*this).Find(session));
  }
  void Advance(Session& session, uint64_t request) const;

  const uint64_t window_;
  // std, not absl: absl's order of iteration differs between processes.
  std::unordered_map<uint64_t, Session> sessions_;
  size_t ended_ = 0;  // sessions that only wait for Release
  Lsn oldest_end_;    // not above any of theirs; while there are some
};

template <typename Visitor>
void SessionTable::ForEachOutcome(Visitor&& visit) const {
  for (const auto& [id, state] : sessions_) {
    if (state.ended()) continue;
    const uint64_t size = state.outcomes.size();
    for (uint64_t i = std::min(size, state.newest); i-- > 0;) {
      const uint64_t request = state.newest - i;
      const uint64_t lsn = state.outcomes[request & (size - 1)];
      if (lsn != 0) visit(SessionId(id), RequestNumber(request), Lsn(lsn));
    }
  }
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_SESSION_TABLE_H_

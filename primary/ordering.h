// The primary orders writes: decides each against the ordered state, gives it
// an LSN and puts it into the log; recognises retries (protocol, sections 4,
// 9).
//
// Pure but for the log's memory: what must be answered, awaited or READ is told
// to `OrderingEffects`.
//
// Thread-safety: none. Ownership: state and effects outlive it.
#ifndef WHALE_PRIMARY_ORDERING_H_
#define WHALE_PRIMARY_ORDERING_H_

#include <cstdint>

#include "chain/replica_state.h"
#include "common/ids.h"
#include "primary/deferred_writes.h"
#include "primary/pull_tracker.h"
#include "primary/reply_queue.h"
#include "primary/write.h"
#include "proto/wire.h"

namespace whale::primary {

class OrderingEffects {
 public:
  virtual ~OrderingEffects() = default;
  // Answer `write` once `after` is committed.
  virtual void AnswerWhenCommitted(const Write& write, wire::Result result,
                                   uint64_t version, Lsn after,
                                   ReplyKind kind) = 0;
  // Answer now; nothing happened.
  virtual void Refuse(const Write& write, wire::Result result,
                      wire::Reason reason) = 0;
  // READ the value from the client's memory to `to`; then call FinishPull.
  virtual void StartPull(const Write& write, Lsn lsn, std::byte* to) = 0;
  // Whether the log of some member may have a missing record in the place of
  // this value, which is below T, and nothing that settles it yet.
  virtual bool OthersMayLack(Lsn lsn) const = 0;
};

struct OrderingOptions {
  Epoch epoch;
  Lsn start;  // T: records below it are from earlier epochs
  uint64_t window_bytes = 0;
  size_t max_deferred = 0;
};

class Ordering {
 public:
  Ordering(chain::ReplicaState* state, const OrderingOptions& options,
           OrderingEffects* effects);

  // A write request; deferred if it must wait, refused if too many do.
  void Submit(const Write& write);
  // The session's first message to this shard.
  void OpenSession(const Write& request);
  // Records the epoch's beginning, the first record of every epoch; false if
  // there is no room just now. Nothing may be submitted before.
  bool BeginEpoch(Lsn committed_start);
  // Ends a session by a record, if there is room just now.
  void EndSession(SessionId session);
  // A value that was missing is here again, in the log under the same version;
  // or is given up. False if there is no room just now.
  // REQUIRES: `record` is whole, key and value follow it.
  bool Relocate(const logstore::RecordHeader& record);
  bool DeclareLost(const chain::MissingValue& value);
  // Takes up deferred writes as far as they can go now.
  void RetryDeferred();
  // Answers all deferred writes with `result` and forgets them.
  void RefuseDeferred(wire::Result result, wire::Reason reason);

  // The value is in place; or it could not be had, and a pad takes its place.
  void FinishPull(Lsn lsn);
  void AbandonPull(Lsn lsn);

  // --- Facts from outside ---
  // Largest segment number that all replicas have.
  void set_writable_segment(uint64_t number) { writable_segment_ = number; }
  // Whether somebody has no room for the segment after that one.
  void set_pool_full(bool full) { pool_full_ = full; }
  void set_replicated(Lsn replicated) { replicated_ = replicated; }

  // Up to where records are whole and may be delivered.
  Lsn ReadyEnd() const { return pulls_.ReadyEnd(state_->log.end()); }
  bool has_deferred() const { return !deferred_.empty(); }
  uint64_t WindowBytes() const { return state_->log.end() - replicated_; }

 private:
  enum class Admission : uint8_t { kOk, kWindowFull, kNoSegment, kPoolFull };

  Admission Admit(uint64_t record_bytes);
  // False: it must wait, for `why`.
  bool TryOrder(const Write& write, wire::Reason* why);
  // Answers retries and requests of unknown sessions; false: it is new.
  bool AnswerKnown(const Write& write);
  // Answers what cannot be decided, or told, because a value is missing.
  bool RefuseMissing(const Write& write, const chain::MissingValue* value);
  void AnswerNoEffect(const Write& write, wire::Result result, uint64_t version,
                      Lsn observed);
  void Append(const Write& write, logstore::RecordType type);
  // `hash`: of the key that it is about, 0: none.
  Lsn AppendControl(logstore::RecordType type, SessionId session, uint64_t hash,
                    std::string_view value);
  Lsn LastOrdered() const { return Lsn(state_->log.end().value() - 1); }

  chain::ReplicaState* const state_;
  const OrderingOptions options_;
  OrderingEffects* const effects_;
  DeferredWrites deferred_;
  PullTracker pulls_;
  uint64_t writable_segment_ = 0;
  bool pool_full_ = false;
  Lsn replicated_;
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_ORDERING_H_

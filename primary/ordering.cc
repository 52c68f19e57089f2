#include "primary/ordering.h"

#include "common/check.h"
#include "common/hash.h"
#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "logstore/missing.h"
#include "logstore/record.h"
#include "primary/write_decision.h"

namespace whale::primary {
namespace {

using logstore::RecordType;
using logstore::SessionTable;

bool IsRead(wire::Result result) {
  return result == wire::Result::kNotFound ||
         result == wire::Result::kCompareFailed;
}

}  // namespace

Ordering::Ordering(chain::ReplicaState* state, const OrderingOptions& options,
                   OrderingEffects* effects)
    : state_(state),
      options_(options),
      effects_(effects),
      deferred_(options.max_deferred),
      replicated_(options.start) {}

void Ordering::Submit(const Write& write) {
  wire::Reason why = wire::Reason::kQueueFull;
  if (deferred_.empty() && TryOrder(write, &why)) return;
  if (why == wire::Reason::kPoolFull || !deferred_.Push(write)) {
    effects_->Refuse(write, wire::Result::kResourceExhausted, why);
  }
}

void Ordering::RetryDeferred() {
  while (!deferred_.empty()) {
    wire::Reason why = wire::Reason::kNone;
    if (!TryOrder(deferred_.front(), &why)) {
      if (why != wire::Reason::kPoolFull) return;
      effects_->Refuse(deferred_.front(), wire::Result::kResourceExhausted,
                       why);
    }
    deferred_.Pop();
  }
}

void Ordering::RefuseDeferred(wire::Result result, wire::Reason reason) {
  for (; !deferred_.empty(); deferred_.Pop()) {
    effects_->Refuse(deferred_.front(), result, reason);
  }
}

Ordering::Admission Ordering::Admit(uint64_t record_bytes) {
  if (WindowBytes() >= options_.window_bytes) {
    RareBranch<"order: window is full">();
    return Admission::kWindowFull;
  }
  const uint64_t current = state_->log.SegmentOf(state_->log.end());
  const bool fits =
      current <= writable_segment_ && state_->log.Fits(record_bytes);
  if (!fits && current + 1 > writable_segment_) {
    RareBranch<"order: no segment to go on in">();
    return pool_full_ ? Admission::kPoolFull : Admission::kNoSegment;
  }
  if (!fits) state_->log.EnterNextSegment(options_.epoch);
  return Admission::kOk;
}

bool Ordering::TryOrder(const Write& write, wire::Reason* why) {
  if (AnswerKnown(write)) return true;
  const logstore::RecordHeader* newest =
      Planted(PlantedBug::kConditionFromApplied)
          ? state_->index.Find(write.hash, write.key)
          : chain::FindOrdered(*state_, write.hash, write.key);
  const chain::MissingValue* hiding =
      chain::FindHiding(*state_, write.hash, write.key, newest);
  if (write.type == wire::RequestType::kPut) hiding = nullptr;
  OrderedState ordered;
  if (hiding != nullptr) {
    // Deleting what was given up is possible: that it was there is known.
    if (!hiding->lost || write.type != wire::RequestType::kDelete) {
      return RefuseMissing(write, hiding);
    }
    ordered.exists = hiding->type != RecordType::kDelete;
    ordered.version = ordered.exists ? hiding->version : 0;
    ordered.observed = Lsn(hiding->version);
  } else if (newest != nullptr) {
    ordered.exists = !logstore::IsTombstone(*newest);
    ordered.version = ordered.exists ? logstore::VersionOf(*newest) : 0;
    ordered.observed = Lsn(newest->lsn);
  }
  // What is decided against a value that is still being fetched would be wrong
  // if it never comes.
  if (write.type != wire::RequestType::kPut && newest != nullptr &&
      ordered.observed >= ReadyEnd()) {
    RareBranch<"order: condition waits for a value">();
    return false;
  }
  const WriteDecision decision =
      DecideWrite(write.type, write.expected_version, ordered);
  if (!decision.append) {
    AnswerNoEffect(write, decision.result, decision.version, ordered.observed);
    return true;
  }
  const uint64_t value_bytes =
      decision.type == RecordType::kDelete ? 0 : write.value_bytes;
  switch (Admit(logstore::RecordBytes(write.key.size(), value_bytes))) {
    case Admission::kOk:
      Append(write, decision.type);
      return true;
    case Admission::kWindowFull:
      *why = wire::Reason::kWindowFull;
      return false;
    case Admission::kNoSegment:
      *why = wire::Reason::kQueueFull;
      return false;
    case Admission::kPoolFull:
      *why = wire::Reason::kPoolFull;
      return false;
  }
  return false;
}

bool Ordering::AnswerKnown(const Write& write) {
  const SessionTable::Found known =
      state_->sessions.Lookup(write.session, write.request);
  switch (known.answer) {
    case SessionTable::Answer::kNew:
      return false;
    case SessionTable::Answer::kUnknownSession:
    case SessionTable::Answer::kTooOld:
      effects_->Refuse(write, wire::Result::kUnknownSession,
                       wire::Reason::kNone);
      return true;
    case SessionTable::Answer::kDuplicate:
      RareBranch<"order: request is known">();
      if (Planted(PlantedBug::kRetryRunsAgain)) return false;
      break;
  }
  // That it took effect is known, its value is not.
  const chain::MissingValue* missing = state_->missing.At(known.lsn.value());
  if (missing != nullptr) {
    effects_->Refuse(
        write,
        missing->lost ? wire::Result::kDataLoss : wire::Result::kEpochEnded,
        wire::Reason::kHole);
    return true;
  }
  const bool is_earlier = known.lsn < options_.start;
  if (is_earlier && effects_->OthersMayLack(known.lsn)) {
    RareBranch<"order: request is known, others may lack its value">();
    effects_->Refuse(write, wire::Result::kEpochEnded, wire::Reason::kHole);
    return true;
  }
  // Asked again on another connection, while the value is to come over the
  // first, which may be dead.
  if (pulls_.IsOpen(known.lsn)) {
    RareBranch<"order: request is known, its value is still to come">();
    effects_->Refuse(write, wire::Result::kEpochEnded, wire::Reason::kNone);
    return true;
  }
  // A retry attaches to its record, committed or not.
  effects_->AnswerWhenCommitted(
      write, wire::Result::kOk, known.lsn.value(), known.lsn,
      is_earlier ? ReplyKind::kEarlierWrite : ReplyKind::kWrite);
  return true;
}

bool Ordering::RefuseMissing(const Write& write,
                             const chain::MissingValue* value) {
  RareBranch<"order: a value is missing">();
  effects_->Refuse(
      write, value->lost ? wire::Result::kDataLoss : wire::Result::kUnavailable,
      wire::Reason::kHole);
  return true;
}

void Ordering::AnswerNoEffect(const Write& write, wire::Result result,
                              uint64_t version, Lsn observed) {
  effects_->AnswerWhenCommitted(
      write, result, version, observed,
      IsRead(result) ? ReplyKind::kRead : ReplyKind::kWrite);
}

void Ordering::Append(const Write& write, RecordType type) {
  logstore::Log& log = state_->log;
  const uint32_t value_bytes =
      type == RecordType::kDelete ? 0 : write.value_bytes;
  const logstore::RecordFields fields{.type = type,
                                      .epoch = options_.epoch,
                                      .session = write.session,
                                      .request = write.request};
  const Lsn lsn = log.Reserve(write.key.size(), value_bytes);
  const bool pull = write.value_in_buffer && value_bytes > 0;
  if (pull) {
    log.WriteWithoutValue(lsn, fields, write.key, value_bytes);
    pulls_.Begin(lsn);
  } else {
    log.Write(lsn, fields, write.key,
              type == RecordType::kDelete ? std::string_view() : write.value);
  }
  state_->Learn(lsn, log.HeaderAt(lsn), write.hash, true);
  effects_->AnswerWhenCommitted(write, wire::Result::kOk, lsn.value(), lsn,
                                ReplyKind::kWrite);
  if (pull) effects_->StartPull(write, lsn, log.ValueAddress(lsn));
}

Lsn Ordering::AppendControl(RecordType type, SessionId session, uint64_t hash,
                            std::string_view value) {
  logstore::Log& log = state_->log;
  const Lsn lsn = log.Reserve(0, value.size());
  log.Write(lsn, {.type = type, .epoch = options_.epoch, .session = session},
            {}, value);
  state_->Learn(lsn, log.HeaderAt(lsn), hash, true);
  return lsn;
}

void Ordering::OpenSession(const Write& request) {
  if (state_->sessions.IsOpen(request.session)) {
    effects_->AnswerWhenCommitted(request, wire::Result::kOk, /*version=*/0,
                                  LastOrdered(), ReplyKind::kWrite);
    return;
  }
  if (Admit(logstore::RecordBytes(0, 0)) != Admission::kOk) {
    effects_->Refuse(
        request, wire::Result::kResourceExhausted,
        pool_full_ ? wire::Reason::kPoolFull : wire::Reason::kWindowFull);
    return;
  }
  const Lsn lsn =
      AppendControl(RecordType::kSessionOpen, request.session, 0, {});
  effects_->AnswerWhenCommitted(request, wire::Result::kOk, /*version=*/0, lsn,
                                ReplyKind::kWrite);
}

void Ordering::EndSession(SessionId session) {
  if (Admit(logstore::RecordBytes(0, 0)) != Admission::kOk) return;
  AppendControl(RecordType::kSessionEnd, session, 0, {});
}

bool Ordering::Relocate(const logstore::RecordHeader& record) {
  if (Admit(logstore::RecordBytes(record)) != Admission::kOk) return false;
  logstore::Log& log = state_->log;
  const std::string_view key = logstore::KeyOf(record);
  const std::string_view value = logstore::ValueOf(record);
  const Lsn lsn = log.Reserve(key.size(), value.size());
  log.Write(lsn,
            {.type = RecordType::kRelocated,
             .flags = logstore::IsTombstone(record) ? logstore::kFlagTombstone
                                                    : uint8_t{0},
             .epoch = options_.epoch,
             .session = SessionId(logstore::VersionOf(record)),
             .request = RequestNumber(record.lsn)},
            key, value);
  state_->Learn(lsn, log.HeaderAt(lsn), HashKey(key), true);
  return true;
}

bool Ordering::DeclareLost(const chain::MissingValue& value) {
  const logstore::LostValue lost{
      .hash = value.hash, .key_bytes = value.key_bytes, .type = value.type};
  if (Admit(logstore::RecordBytes(0, sizeof(lost))) != Admission::kOk) {
    return false;
  }
  AppendControl(RecordType::kLost, SessionId(value.version), value.hash,
                {reinterpret_cast<const char*>(&lost), sizeof(lost)});
  return true;
}

bool Ordering::BeginEpoch(Lsn committed_start) {
  const logstore::EpochStartValue value{.epoch = options_.epoch.value(),
                                        .committed = committed_start.value(),
                                        .start = options_.start.value()};
  if (Admit(logstore::RecordBytes(0, sizeof(value))) != Admission::kOk) {
    return false;
  }
  AppendControl(RecordType::kEpochStart, SessionId(), 0,
                {reinterpret_cast<const char*>(&value), sizeof(value)});
  return true;
}

void Ordering::FinishPull(Lsn lsn) {
  state_->log.FinishValue(lsn);
  pulls_.Finish(lsn);
}

void Ordering::AbandonPull(Lsn lsn) {
  RareBranch<"order: value never came from the client">();
  const logstore::RecordHeader& header = state_->log.HeaderAt(lsn);
  const uint64_t record_bytes = logstore::RecordBytes(header);
  state_->sessions.Forget(SessionId(header.session),
                          RequestNumber(header.request));
  state_->log.WritePad(lsn, options_.epoch, record_bytes);
  pulls_.Finish(lsn);
}

}  // namespace whale::primary

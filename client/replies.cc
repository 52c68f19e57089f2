// What servers answer: checked, matched with its attempt, turned into an
// outcome or another try.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/core_impl.h"
#include "common/units.h"

namespace whale::client {
namespace {

using wire::RequestType;
using wire::Result;

bool IsCompare(RequestType type) {
  return type == RequestType::kCompareAndPut || type == RequestType::kDeleteIf;
}

// Whether this result is possible for a request of that type.
bool ResultFits(Result result, RequestType type) {
  switch (result) {
    case Result::kNotFound:
      return type == RequestType::kGet || type == RequestType::kDelete ||
             IsCompare(type);
    case Result::kCompareFailed:
      return IsCompare(type);
    case Result::kBufferTooSmall:
      return type == RequestType::kGet;
    default:
      return result <= Result::kEpochEnded;
  }
}

// Whether the message is as long as its header says and within the limits.
// `room_bytes`: the buffer that was granted.
bool LengthsFit(const wire::Reply& reply, size_t message_bytes,
                uint64_t room_bytes) {
  const size_t body = message_bytes - sizeof(reply);
  if (reply.result == Result::kBufferTooSmall) {
    return body == 0 && reply.value_bytes > 0 &&
           reply.value_bytes <= kMaxValueBytes;
  }
  if (reply.result != Result::kOk || reply.type != RequestType::kGet) {
    return body == 0;
  }
  if (reply.value_bytes > kMaxValueBytes) return false;
  return body == reply.value_bytes ||
         (body == 0 && reply.value_bytes <= room_bytes);
}

// Answers after which nothing of the request can take effect any more.
bool IsFinal(Result result) {
  return result == Result::kOk || result == Result::kNotFound ||
         result == Result::kCompareFailed || result == Result::kDataLoss;
}

const absl::Status& NotFound() {
  static const absl::Status* const kStatus =
      new absl::Status(absl::StatusCode::kNotFound, "the key is not there");
  return *kStatus;
}

}  // namespace

void Core::Impl::OnReply(Link* link, const fabric::Event& event) {
  if (event.length_bytes < sizeof(wire::Reply) ||
      link->state != Link::State::kReady) {
    LoseLink(link, "it sent a malformed reply");
    return;
  }
  wire::Reply reply;
  std::memcpy(&reply, event.data, sizeof(reply));
  Attempt* attempt = FindAttempt(link, reply.tag);
  if (attempt == nullptr) return;  // a second answer; the first one counted
  const uint64_t room_bytes =
      attempt->range == nullptr ? 0 : attempt->range->length_bytes;
  if (reply.type != attempt->type || !ResultFits(reply.result, reply.type) ||
      !LengthsFit(reply, event.length_bytes, room_bytes)) {
    LoseLink(link, "it sent a malformed reply");
    return;
  }
  link->failures = 0;
  PendingOperation* operation = attempt->operation;
  if (operation == nullptr) {
    OnLateReply(attempt, reply);
    return;
  }
  if (reply.type == RequestType::kGet && reply.result == Result::kOk) {
    const bool in_buffer =
        event.length_bytes == sizeof(reply) && reply.value_bytes > 0;
    const std::byte* value =
        in_buffer ? buffer_.Data(*attempt->range) : event.data + sizeof(reply);
    operation->result.value.assign(reinterpret_cast<const char*>(value),
                                   reply.value_bytes);
    if (in_buffer || room_bytes > 0) {
      // A small value means that the next ones may well be small, too.
      room_guess_bytes_ = in_buffer ? attempt->range->length_bytes : 0;
    }
  }
  const uint64_t asked_epoch = attempt->epoch;
  operation->attempt = nullptr;
  operation->stage = Stage::kFree;
  operation->failure.server = link->server;
  ReleaseAttempt(attempt);
  OnAnswer(operation, reply, asked_epoch);
}

// Its operation has expired or was retried elsewhere.
void Core::Impl::OnLateReply(Attempt* attempt, const wire::Reply& reply) {
  Shard* shard = attempt->shard;
  const bool settles = attempt->settles_number && IsFinal(reply.result) &&
                       reply.epoch >= attempt->epoch &&
                       attempt->session == shard->session;
  if (settles) shard->window.Settle(attempt->number);
  ReleaseAttempt(attempt);
  if (settles) PumpTurn(shard);
}

void Core::Impl::OnAnswer(PendingOperation* operation, const wire::Reply& reply,
                          uint64_t asked_epoch) {
  if (operation->is_internal) {
    OnInternalAnswer(operation, reply.result);
    return;
  }
  operation->failure.obstacle = Obstacle::kAnswered;
  operation->failure.result = reply.result;
  operation->failure.reason = static_cast<wire::Reason>(reply.detail);
  switch (reply.result) {
    case Result::kOk:
    case Result::kNotFound:
    case Result::kCompareFailed:
    case Result::kDataLoss:
      // From an epoch that this request has left behind: it need not hold in
      // the epoch that was asked (protocol, section 9).
      if (reply.epoch < asked_epoch) {
        operation->in_doubt |= operation->is_write;
        operation->failure.result = Result::kWrongEpoch;
        OnWrongEpoch(operation);
      } else {
        OnOutcome(operation, reply);
      }
      break;
    case Result::kEpochEnded:
      operation->in_doubt |= operation->is_write;
      OnWrongEpoch(operation);
      break;
    case Result::kWrongEpoch:
      OnWrongEpoch(operation);
      break;
    case Result::kNotServing:
      if (operation->any_replica && !operation->to_primary &&
          operation->replica == 0) {
        operation->to_primary = true;
        Place(operation);
      } else {
        OnWrongEpoch(operation);
      }
      break;
    case Result::kUnavailable:
    case Result::kResourceExhausted:
      BackOff(operation);
      break;
    case Result::kBufferTooSmall:
      OnRoomNeeded(operation, reply);
      break;
    case Result::kUnknownSession:
      OnUnknownSession(operation);
      break;
    case Result::kInvalid:
      OnInvalid(operation);
      break;
  }
}

void Core::Impl::OnOutcome(PendingOperation* operation,
                           const wire::Reply& reply) {
  operation->result.version = reply.version;
  switch (reply.result) {
    case Result::kOk:
      OnSuccess(operation, reply);
      break;
    case Result::kNotFound:
      operation->shard->seen_lsn =
          std::max(operation->shard->seen_lsn, reply.lsn);
      Finish(operation, NotFound());
      break;
    case Result::kCompareFailed:
      operation->shard->seen_lsn =
          std::max(operation->shard->seen_lsn, reply.lsn);
      Finish(operation, absl::FailedPreconditionError(
                            absl::StrCat("the key's version is ", reply.version,
                                         ", not ", operation->argument)));
      break;
    default:
      Finish(operation, absl::DataLossError(absl::StrCat(
                            "server ", operation->failure.server,
                            ": the value of this key was lost with a server, "
                            "and the operator has given it up; put the key "
                            "anew, or delete it")));
  }
}

// An acknowledged write at LSN x is below every watermark from x + 1 on.
void Core::Impl::OnSuccess(PendingOperation* operation,
                           const wire::Reply& reply) {
  Shard& shard = *operation->shard;
  if (operation->type == RequestType::kWaitReplicated) {
    shard.replicated_lsn = std::max(shard.replicated_lsn, operation->argument);
  } else {
    shard.seen_lsn = std::max({shard.seen_lsn, reply.lsn, reply.version + 1});
  }
  if (operation->is_write) {
    operation->result.copies = reply.copies;
    shard.written_lsn = std::max(shard.written_lsn, reply.version + 1);
    if ((operation->flags & wire::kFullDurability) != 0) {
      shard.replicated_lsn = std::max(shard.replicated_lsn, reply.version + 1);
    }
  }
  Finish(operation, absl::OkStatus());
}

void Core::Impl::OnRoomNeeded(PendingOperation* operation,
                              const wire::Reply& reply) {
  if (reply.value_bytes > buffer_.capacity_bytes()) {
    Finish(operation, absl::ResourceExhaustedError(absl::StrCat(
                          "the value has ", reply.value_bytes,
                          " bytes and this client's buffer only ",
                          buffer_.capacity_bytes(), "; raise buffer_bytes")));
    return;
  }
  operation->room_bytes = reply.value_bytes;
  operation->room_is_guess = false;
  Place(operation);
}

// Either side may be the one that is behind: ask for a newer map, and ask the
// server again soon.
void Core::Impl::OnWrongEpoch(PendingOperation* operation) {
  WantMap();
  BackOff(operation);
}

void Core::Impl::OnInvalid(PendingOperation* operation) {
  if (operation->in_doubt) {
    FinishInDoubt(operation);
    return;
  }
  Finish(operation, absl::InvalidArgumentError(absl::StrCat(
                        "server ", operation->failure.server,
                        " refused the request as malformed or over its "
                        "limits; use matching releases")));
}

void Core::Impl::FinishInDoubt(PendingOperation* operation) {
  if (operation->number != 0) ReleaseNumber(operation, /*settled=*/false);
  Finish(operation, ExpiredStatus(*operation));
}

}  // namespace whale::client

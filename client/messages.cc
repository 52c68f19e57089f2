// The text of errors: what happened, at which server, and what cures it.
#include <string>

#include "absl/strings/str_cat.h"
#include "client/core_impl.h"
#include "common/units.h"

namespace whale::client {
namespace {

using wire::Reason;
using wire::Result;

std::string_view ReasonText(Reason reason) {
  switch (reason) {
    case Reason::kWindowFull:
      return "the replication window is full: the chain is behind";
    case Reason::kPoolFull:
      return "a pool is full: delete keys or enlarge the pools";
    case Reason::kQueueFull:
      return "too many writes wait there";
    case Reason::kHole:
      return "the value is in the pool of a server that is away";
    case Reason::kBelowMinReplicas:
      return "fewer replicas than min_replicas are there";
    case Reason::kClientBuffer:
      return "it could not reach this client's buffer";
    case Reason::kStarting:
      return "the shard is being set up";
    case Reason::kNone:
      break;
  }
  return "no reason was given";
}

std::string AnswerText(const Failure& failure) {
  const std::string server = absl::StrCat("server ", failure.server);
  const std::string_view reason = ReasonText(failure.reason);
  switch (failure.result) {
    case Result::kUnavailable:
      return absl::StrCat(server, ": unavailable: ", std::string(reason));
    case Result::kResourceExhausted:
      return absl::StrCat(server, ": ", std::string(reason));
    case Result::kWrongEpoch:
      return absl::StrCat(server,
                          " and the coordinator's map disagree about the "
                          "shard's epoch");
    case Result::kEpochEnded:
      return absl::StrCat("the shard's epoch ended at ", server,
                          " before the write was acknowledged");
    case Result::kNotServing:
      return absl::StrCat(server, " does not serve the shard now");
    case Result::kUnknownSession:
      return absl::StrCat(server, " has ended this client's session");
    default:
      return absl::StrCat(server, " answered result ",
                          static_cast<int>(failure.result));
  }
}

}  // namespace

absl::Status Core::Impl::CheckLimits(const Operation& operation) const {
  const size_t key_bytes = operation.key.size();
  const size_t value_bytes = operation.value.size();
  if (key_bytes == 0 || key_bytes > kMaxKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the key has ", key_bytes, " bytes; keys have 1 to ", kMaxKeyBytes));
  }
  if (value_bytes > kMaxValueBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the value has ", value_bytes,
                     " bytes; values have at most ", kMaxValueBytes));
  }
  if (!FitsInline(key_bytes, value_bytes) &&
      value_bytes > buffer_.capacity_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the value has ", value_bytes, " bytes and this client's buffer only ",
        buffer_.capacity_bytes(), "; raise buffer_bytes"));
  }
  return absl::OkStatus();
}

// What stands in the operation's way, as far as is known.
std::string Core::Impl::Describe(const PendingOperation& operation) const {
  const std::string coordinator =
      coordinator_error_.ok() ? "it has not answered"
                              : std::string(coordinator_error_.message());
  if (operation.stage == Stage::kTurn && operation.shard != nullptr &&
      operation.shard->session_state == Shard::Session::kNone) {
    return absl::StrCat("no session from the coordinator: ", coordinator);
  }
  if (operation.stage == Stage::kBuffer) {
    return absl::StrCat("this client's buffer of ", buffer_.capacity_bytes(),
                        " bytes is full of values on their way");
  }
  switch (operation.failure.obstacle) {
    case Obstacle::kNoMap:
      return absl::StrCat("no map from the coordinator: ", coordinator);
    case Obstacle::kShardInactive:
      return absl::StrCat("shard ", operation.shard->number, " is not active: ",
                          operation.shard->why_not.empty()
                              ? "it is being set up"
                              : operation.shard->why_not);
    case Obstacle::kUnknownServer:
      return operation.replica != 0
                 ? absl::StrCat("server ", operation.replica,
                                " is not in the cluster's map")
                 : absl::StrCat("shard ", operation.shard->number,
                                " has no primary in the cluster's map");
    case Obstacle::kAnswered:
      return AnswerText(operation.failure);
    case Obstacle::kConnectionLost:
    case Obstacle::kNone:
      break;
  }
  if (operation.link == nullptr) return "it waited for its turn";
  const Link& link = *operation.link;
  const std::string server =
      absl::StrCat("server ", link.server, " at ", link.address);
  if (link.state == Link::State::kReady) {
    return absl::StrCat(server, " has not answered");
  }
  return absl::StrCat("no connection to ", server, ": ",
                      link.error.empty() ? "still connecting" : link.error);
}

absl::Status Core::Impl::ExpiredStatus(
    const PendingOperation& operation) const {
  const std::string time =
      absl::StrCat("within ", operation.timeout_ns / 1'000'000, " ms");
  const std::string why = Describe(operation);
  if (operation.is_write &&
      (operation.in_doubt || operation.attempt != nullptr)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "outcome unknown: the write was sent, but no final answer came ", time,
        "; read the key to learn it (", why, ")"));
  }
  const std::string text =
      absl::StrCat("not done ", time,
                   operation.is_write ? ", nothing happened: " : ": ", why);
  switch (operation.failure.obstacle) {
    case Obstacle::kNone:
      return operation.attempt != nullptr ? absl::DeadlineExceededError(text)
                                          : absl::UnavailableError(text);
    case Obstacle::kAnswered:
      return operation.failure.result == Result::kResourceExhausted
                 ? absl::ResourceExhaustedError(text)
                 : absl::UnavailableError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace whale::client

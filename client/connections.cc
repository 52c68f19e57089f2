// Connections to servers: one each, opened with the first operation that needs
// it and again after a loss, as long as operations wait for it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/core_impl.h"
#include "common/check.h"

namespace whale::client {
namespace {

constexpr int64_t kConnectTimeoutNs = 2'000'000'000;
constexpr int64_t kReconnectBaseNs = 1'000'000;
constexpr int64_t kReconnectMostNs = 500'000'000;
// A connection without answers for this long is given up when its credits or
// buffers are all held by operations that have long expired.
constexpr int64_t kSilenceNs = 2'000'000'000;
// How soon to try again when the fabric had no room for a message.
constexpr int64_t kSendRetryNs = 20'000;
// More is never useful to one client, whatever a server offers.
constexpr uint32_t kMaxCredits = 1024;

// What is wrong with the answer to our hello; empty: nothing.
std::string HelloFault(const wire::Hello& hello, const Link& link,
                       const std::string& cluster_uuid) {
  if (hello.magic != wire::kHelloMagic) return "it is not a Whale server";
  if (hello.protocol_version != wire::kProtocolVersion) {
    return absl::StrCat("it speaks protocol version ", hello.protocol_version,
                        ", this client ", wire::kProtocolVersion,
                        "; use matching releases");
  }
  if (std::memcmp(hello.cluster_uuid, cluster_uuid.data(),
                  sizeof(hello.cluster_uuid)) != 0) {
    return "it belongs to another cluster";
  }
  if (hello.purpose != wire::Purpose::kClient ||
      hello.from_server != link.server) {
    return absl::StrCat("it answers as server ", hello.from_server);
  }
  if (link.incarnation != 0 && hello.from_incarnation != link.incarnation) {
    return "it was restarted; its new address is not in the map yet";
  }
  if (hello.credits == 0) return "it grants no credits";
  return "";
}

bool HasGrants(const Link& link) {
  for (Attempt* a = link.attempts.front(); a; a = link.attempts.Next(a)) {
    if (a->range != nullptr) return true;
  }
  return false;
}

}  // namespace

void Core::Impl::Connect(Link* link) {
  wire::Hello hello = {};
  hello.magic = wire::kHelloMagic;
  hello.protocol_version = wire::kProtocolVersion;
  hello.purpose = wire::Purpose::kClient;
  std::memcpy(hello.cluster_uuid, map_.cluster_uuid().data(),
              sizeof(hello.cluster_uuid));
  hello.to_server = link->server;
  link->connection =
      fabric_->Connect(link->address, std::as_bytes(std::span(&hello, 1)));
  link->state = Link::State::kConnecting;
  link->retry_at_ns = now_ns_ + kConnectTimeoutNs;
  links_by_connection_[link->connection.value] = link;
}

void Core::Impl::OnEvent(const fabric::Event& event) {
  if (event.kind == fabric::EventKind::kConnectRequest) {
    fabric_->Reject(event.connection, "this is a client");
    return;
  }
  const auto found = links_by_connection_.find(event.connection.value);
  if (found == links_by_connection_.end()) return;  // given up before
  Link* link = found->second;
  switch (event.kind) {
    case fabric::EventKind::kReceived:
      OnReply(link, event);
      break;
    case fabric::EventKind::kConnected:
      OnConnected(link, event);
      break;
    case fabric::EventKind::kConnectFailed:
    case fabric::EventKind::kDisconnected:
      LoseLink(link,
               event.detail == nullptr ? "connection lost"
                                       : std::string(event.detail),
               /*alive=*/false);
      break;
    case fabric::EventKind::kReceivedImm:
    case fabric::EventKind::kCompleted:
    case fabric::EventKind::kConnectRequest:
      break;  // not for a client
  }
}

void Core::Impl::OnConnected(Link* link, const fabric::Event& event) {
  wire::Hello hello = {};
  if (event.length_bytes >= sizeof(hello)) {
    std::memcpy(&hello, event.data, sizeof(hello));
  }
  std::string fault = HelloFault(hello, *link, map_.cluster_uuid());
  if (!fault.empty() || link->state != Link::State::kConnecting) {
    LoseLink(link, fault.empty() ? "it connected twice" : std::move(fault));
    return;
  }
  link->state = Link::State::kReady;
  link->credits = std::min(hello.credits, kMaxCredits);
  link->unanswered = 0;
}

// Ends the connection, so that the peer can touch no buffer any more.
// `alive`: the fabric has not reported its end.
void Core::Impl::EndConnection(Link* link, bool alive) {
  if (link->state != Link::State::kIdle) {
    links_by_connection_.erase(link->connection.value);
    if (HasGrants(*link)) {
      const bool fenced =
          fabric_->Revoke(link->connection) == fabric::Revocation::kFenced;
      if (!fenced) CondemnGrants(link);
    } else if (alive) {
      fabric_->Close(link->connection);
    }
  }
  link->state = Link::State::kIdle;
  link->connection = {};
  link->send_queue_full = false;
  ReleaseAttempts(link);
}

void Core::Impl::CondemnGrants(Link* link) {
  for (Attempt* a = link->attempts.front(); a; a = link->attempts.Next(a)) {
    if (a->range != nullptr) buffer_.Condemn(a->range);
  }
}

void Core::Impl::ReleaseAttempts(Link* link) {
  while (Attempt* attempt = link->attempts.front()) {
    if (attempt->operation != nullptr) DetachAttempt(attempt->operation);
    ReleaseAttempt(attempt);
  }
  WHALE_CHECK(link->unanswered == 0);
}

void Core::Impl::LoseLink(Link* link, std::string error, bool alive) {
  // Those that were sent go first, in the order they were sent.
  std::vector<PendingOperation*> homeless;
  for (Attempt* a = link->attempts.front(); a; a = link->attempts.Next(a)) {
    if (a->operation != nullptr) homeless.push_back(a->operation);
  }
  EndConnection(link, alive);
  while (PendingOperation* operation = link->queue.PopFront()) {
    homeless.push_back(operation);
  }
  link->error = std::move(error);
  link->retry_at_ns =
      now_ns_ + Jittered(kReconnectBaseNs, kReconnectMostNs, link->failures);
  ++link->failures;
  WantMap();
  for (PendingOperation* operation : homeless) {
    operation->stage = Stage::kFree;
    operation->failure.obstacle = Obstacle::kConnectionLost;
    operation->failure.server = link->server;
    Place(operation);
  }
}

// A server that is stopped keeps its connection but answers nothing: once only
// requests that nobody waits for hold what others need, start afresh.
void Core::Impl::DropSilentLink(Link* link) {
  const Attempt* oldest = link->attempts.front();
  if (oldest == nullptr) return;
  bool hoards = oldest->operation == nullptr && !link->queue.empty() &&
                link->unanswered >= link->credits;
  for (const Attempt* a = oldest;
       a != nullptr && now_ns_ - a->sent_ns >= kSilenceNs && !hoards;
       a = link->attempts.Next(a)) {
    hoards = a->operation == nullptr && a->range != nullptr &&
             !buffer_queue_.empty();
  }
  if (hoards && now_ns_ - oldest->sent_ns >= kSilenceNs) {
    LoseLink(link, "it has stopped answering");
  }
}

int64_t Core::Impl::LinkDeadlineNs(const Link& link) const {
  if (link.state == Link::State::kConnecting) {
    return std::max(link.retry_at_ns, check_at_ns_);
  }
  if (link.queue.empty()) return INT64_MAX;
  if (link.state == Link::State::kIdle) return link.retry_at_ns;
  if (link.unanswered >= link.credits) return INT64_MAX;
  return link.send_queue_full ? now_ns_ + kSendRetryNs : now_ns_;
}

}  // namespace whale::client

// What comes over the exchange: connecting, and the end of peers.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fabric/verbs/fabric_impl.h"

namespace whale::fabric::verbs {

SetupMessage VerbsFabricImpl::MakeSetup(SetupKind kind,
                                        const Connection& c) const {
  SetupMessage message;
  message.kind = kind;
  if (c.pair == nullptr) return message;
  const PortChoice& choice = pair_config_.choice;
  message.ethernet = choice.port.ethernet ? 1 : 0;
  message.queue_pair = c.pair->qp_num;
  message.packet_sequence = c.packet_sequence;
  std::memcpy(message.gid, choice.gid.raw.data(), sizeof(message.gid));
  message.lid = choice.port.lid;
  message.credits = static_cast<uint16_t>(options_.credits);
  message.mtu_bytes = pair_config_.mtu_bytes;
  message.read_depth = pair_config_.read_depth;
  message.flush_capabilities = EncodeFlushCapabilities(flush_capabilities_);
  return message;
}

void VerbsFabricImpl::TakeSetup() {
  setup_waits_.store(false, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Exchange::Event event;
  while (exchange_->Take(&event)) {
    if (event.kind == Exchange::Kind::kCalled) {
      OnCalled(event);
      continue;
    }
    const auto found = by_call_.find(event.call);
    if (found == by_call_.end()) continue;  // ended here
    Connection& c = *found->second;
    if (event.kind == Exchange::Kind::kMessage) {
      OnSetup(c, event.text);
    } else {
      by_call_.erase(found);
      c.call = 0;
      Die(c, Outcome::kRemoteError,
          absl::StrCat("verbs: ", c.name, ": ", event.text));
    }
  }
}

void VerbsFabricImpl::OnCalled(const Exchange::Event& event) {
  Connection* c = NewConnection();
  if (c == nullptr) {
    SetupMessage reject;
    reject.kind = SetupKind::kReject;
    exchange_->Send(
        event.call,
        EncodeSetup(reject, absl::StrCat("all ", connections_.size(),
                                         " connections of the server are in "
                                         "use; raise connections (--verbs)")));
    exchange_->End(event.call);
    return;
  }
  c->state = State::kIncoming;
  c->call = event.call;
  c->name = event.text;
  c->peer_is_server = event.is_server;
  by_call_[event.call] = c;
}

void VerbsFabricImpl::OnSetup(Connection& c, const std::string& bytes) {
  const absl::StatusOr<ReceivedSetup> received = DecodeSetup(bytes);
  if (!received.ok()) {
    Die(c, Outcome::kRemoteError,
        absl::StrCat(std::string(received.status().message()), " (", c.name,
                     ")"));
    return;
  }
  const SetupKind kind = received->message.kind;
  if (c.state == State::kIncoming && kind == SetupKind::kHello) {
    OnHello(c, *received);
  } else if (c.state == State::kDialing && kind == SetupKind::kAccept) {
    OnAccept(c, *received);
  } else if (c.state == State::kDialing && kind == SetupKind::kReject) {
    Die(c, Outcome::kRemoteError,
        absl::StrCat("verbs: ", c.name, " refused: ", received->text));
  } else if (kind == SetupKind::kReady) {
    // It may be known from a message on the queue pair already.
    if (c.state == State::kAccepted) Opened(c);
  } else {
    Die(c, Outcome::kRemoteError,
        absl::StrCat("verbs: ", c.name, " does not keep to the protocol"));
  }
}

void VerbsFabricImpl::OnHello(Connection& c, const ReceivedSetup& received) {
  c.state = State::kRequested;
  c.peer = received.message;
  c.peer_hello = received.text;
  Queued& request = PushQueued(EventKind::kConnectRequest, c.id);
  request.event.from_server = c.peer_is_server;
  request.payload = std::make_unique<std::string>(received.text);
}

void VerbsFabricImpl::OnAccept(Connection& c, const ReceivedSetup& received) {
  c.peer = received.message;
  c.peer_hello = received.text;
  const absl::Status status = ConnectToPeer(c);
  if (!status.ok()) {
    Die(c, Outcome::kRemoteError, std::string(status.message()));
    return;
  }
  exchange_->Send(c.call, EncodeSetup(MakeSetup(SetupKind::kReady, c), ""));
  Opened(c);
}

// A peer that has called must say hello, one that was called must answer. How
// long our own side takes over a request is its affair.
void VerbsFabricImpl::LimitHandshakes(int64_t now_ns) {
  for (auto& c : connections_) {
    if (c == nullptr || c->state == State::kOpen || c->state == State::kDead ||
        c->state == State::kRequested ||
        now_ns - c->begun_ns < options_.handshake_us * 1000) {
      continue;
    }
    Die(*c, Outcome::kRemoteError,
        absl::StrCat("verbs: ", c->name, " did not answer within ",
                     options_.handshake_us / 1000, " ms"));
  }
}

}  // namespace whale::fabric::verbs

#include "node/client_port.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/units.h"

namespace whale::node {
namespace {

// Bad clients are counted each, but written about no more often than this.
constexpr int64_t kWarnEveryNs = 1'000'000'000;

bool IsKeyed(wire::RequestType type) {
  switch (type) {
    case wire::RequestType::kGet:
    case wire::RequestType::kPut:
    case wire::RequestType::kDelete:
    case wire::RequestType::kCompareAndPut:
    case wire::RequestType::kDeleteIf:
      return true;
    default:
      return false;
  }
}

bool HasValue(wire::RequestType type) {
  return type == wire::RequestType::kPut ||
         type == wire::RequestType::kCompareAndPut;
}

bool LengthsAreValid(const wire::Request& header) {
  if (header.type < wire::RequestType::kGet ||
      header.type > wire::RequestType::kWaitReplicated) {
    return false;
  }
  if (IsKeyed(header.type) !=
      (header.key_bytes >= 1 && header.key_bytes <= kMaxKeyBytes)) {
    return false;
  }
  return header.value_bytes <= (HasValue(header.type) ? kMaxValueBytes : 0);
}

}  // namespace

// Those of the servers must not be taken by clients: the cluster would come to
// a halt. A fabric that has too few for both serves each with half of them.
bool ClientPort::HasRoom(size_t reserved, std::string* why_not) const {
  const size_t all = context_->fabric->max_connections();
  const size_t for_clients = all - std::min(reserved, all / 2);
  if (clients_.size() < for_clients) return true;
  *why_not = absl::StrCat(
      "all ", for_clients,
      " connections of the server that are for clients "
      "are in use (",
      all - for_clients,
      " more are for servers); end clients, "
      "or let the server have more (verbs: --verbs connections=N)");
  return false;
}

void ClientPort::OnConnectRequest(const fabric::Event& event, size_t reserved) {
  if (std::string why_not; !HasRoom(reserved, &why_not)) {
    context_->fabric->Reject(event.connection, why_not);
    return;
  }
  clients_.emplace(event.connection, 0);
  context_->counters.connections = clients_.size();
  wire::Hello answer{};
  answer.magic = wire::kHelloMagic;
  answer.protocol_version = wire::kProtocolVersion;
  answer.purpose = wire::Purpose::kClient;
  std::memcpy(answer.cluster_uuid,
              context_->pool->geometry().cluster_uuid.data(), 16);
  answer.from_server = context_->options.id.value();
  answer.from_incarnation = context_->options.incarnation.value();
  answer.credits = context_->options.client_credits;
  context_->fabric->Accept(event.connection,
                           std::as_bytes(std::span(&answer, 1)));
}

void ClientPort::OnConnectionEvent(const fabric::Event& event) {
  if (event.kind == fabric::EventKind::kConnected) return;
  Forget(event.connection);
}

void ClientPort::Forget(fabric::ConnectionId connection) {
  clients_.erase(connection);
  overflow_.erase(connection);
  context_->counters.connections = clients_.size();
}

void ClientPort::Close(fabric::ConnectionId connection) {
  if (!clients_.contains(connection)) return;
  context_->fabric->Close(connection);
  Forget(connection);
  closed_.push_back(connection);
}

std::vector<fabric::ConnectionId> ClientPort::TakeClosed() {
  return std::exchange(closed_, {});
}

void ClientPort::CloseBad(fabric::ConnectionId connection,
                          std::string_view why) {
  ++context_->counters.bad_messages;
  Close(connection);
  if (context_->now_ns < warn_again_ns_) return;
  warn_again_ns_ = context_->now_ns + kWarnEveryNs;
  context_->Warn(absl::StrCat(
      "closed the connection of a client that ", std::string(why), "; ",
      context_->counters.bad_messages, " bad messages so far"));
}

ClientPort::Subject ClientPort::SubjectOf(const fabric::Event& event) {
  ClientRequest request;
  if (event.kind != fabric::EventKind::kReceived ||
      !IsWellFormed(event, &request)) {
    return {};
  }
  return {.shard = request.header.shard, .key = request.key};
}

bool ClientPort::Parse(const fabric::Event& event, ClientRequest* request) {
  uint32_t& unanswered = clients_.at(event.connection);
  const uint32_t credits = context_->options.client_credits;
  if (unanswered >= credits) {
    CloseBad(event.connection,
             absl::StrCat("sent more than its ", credits,
                          " requests without taking the answers; it must not "
                          "exceed the credits of the server's hello"));
    return false;
  }
  if (!IsWellFormed(event, request)) {
    CloseBad(event.connection,
             "sent a malformed request; use the same release on both sides");
    return false;
  }
  ++unanswered;
  return true;
}

bool ClientPort::IsWellFormed(const fabric::Event& event,
                              ClientRequest* request) {
  wire::Request& header = request->header;
  if (event.length_bytes < sizeof(header)) return false;
  std::memcpy(&header, event.data, sizeof(header));
  const bool has_buffer = (header.flags & wire::kHasBuffer) != 0;
  const bool value_inline = !has_buffer && HasValue(header.type);
  const size_t grant_bytes = has_buffer ? sizeof(wire::BufferGrant) : 0;
  const size_t expected = sizeof(header) + grant_bytes + header.key_bytes +
                          (value_inline ? header.value_bytes : 0);
  if (!LengthsAreValid(header) || event.length_bytes != expected) return false;
  const auto* bytes = reinterpret_cast<const char*>(event.data);
  if (has_buffer) {
    std::memcpy(&request->buffer, bytes + sizeof(header), grant_bytes);
  }
  request->connection = event.connection;
  request->key = {bytes + sizeof(header) + grant_bytes, header.key_bytes};
  request->value = {request->key.data() + request->key.size(),
                    value_inline ? header.value_bytes : 0};
  return true;
}

bool ClientPort::TrySend(fabric::ConnectionId connection,
                         const wire::Reply& reply, std::string_view value) {
  std::byte* room =
      context_->fabric->BeginMessage(connection, sizeof(reply) + value.size());
  if (room == nullptr) return false;
  std::memcpy(room, &reply, sizeof(reply));
  value.copy(reinterpret_cast<char*>(room + sizeof(reply)), value.size());
  context_->fabric->EndMessage(connection, sizeof(reply) + value.size());
  return true;
}

void ClientPort::Answer(fabric::ConnectionId connection,
                        const wire::Reply& reply, std::string_view value) {
  const StageTimer timer(&context_->stages, Stage::kReply);
  const auto client = clients_.find(connection);
  if (client == clients_.end()) return;
  if ((overflow_.empty() || !overflow_.contains(connection)) &&
      TrySend(connection, reply, value)) {
    WHALE_DCHECK(client->second > 0);
    --client->second;
    return;
  }
  std::string message(reinterpret_cast<const char*>(&reply), sizeof(reply));
  message.append(value);
  overflow_[connection].push_back(std::move(message));
}

bool ClientPort::AnswerValue(fabric::ConnectionId connection, wire::Reply reply,
                             const wire::BufferGrant& buffer,
                             std::string_view value, uint64_t cookie) {
  reply.value_bytes = static_cast<uint32_t>(value.size());
  context_->counters.bytes_read += value.size();
  if (sizeof(reply) + value.size() <= fabric::kMaxMessageBytes) {
    Answer(connection, reply, value);
    return false;
  }
  if (buffer.length_bytes < value.size()) {
    reply.result = wire::Result::kBufferTooSmall;
    Answer(connection, reply);
    return false;
  }
  const fabric::WorkRequest write{.opcode = fabric::Opcode::kWrite,
                                  .signaled = true,
                                  .local = const_cast<char*>(value.data()),
                                  .length_bytes = reply.value_bytes,
                                  .remote_key = buffer.key,
                                  .remote_address = buffer.address,
                                  .cookie = cookie};
  const bool posted =
      context_->fabric->Post(connection, std::span(&write, 1)) ==
      fabric::PostResult::kOk;
  if (!posted) {
    reply.result = wire::Result::kResourceExhausted;
    reply.detail = static_cast<uint32_t>(wire::Reason::kQueueFull);
    reply.value_bytes = 0;
  }
  Answer(connection, reply);
  return posted;
}

void ClientPort::Turn() {
  for (auto it = overflow_.begin(); it != overflow_.end();) {
    auto& [connection, messages] = *it;
    uint32_t& unanswered = clients_.at(connection);
    while (!messages.empty()) {
      const std::string& message = messages.front();
      std::byte* room =
          context_->fabric->BeginMessage(connection, message.size());
      if (room == nullptr) break;
      std::memcpy(room, message.data(), message.size());
      context_->fabric->EndMessage(connection, message.size());
      messages.pop_front();
      --unanswered;
    }
    it = messages.empty() ? overflow_.erase(it) : std::next(it);
  }
}

}  // namespace whale::node

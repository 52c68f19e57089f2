#include "client/testing/fake_server.h"

#include <cstring>
#include <utility>

#include "common/check.h"

namespace whale::client {
namespace {

template <typename T>
std::string BytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

std::string FakeFabric::AddressOf(uint32_t id) {
  return "fake:" + std::to_string(id);
}

FakeServer& FakeFabric::AddServer(uint32_t id, uint64_t incarnation,
                                  uint32_t credits,
                                  std::string_view cluster_uuid) {
  FakeServer& server = servers_[AddressOf(id)];
  server.id = id;
  server.hello.magic = wire::kHelloMagic;
  server.hello.protocol_version = wire::kProtocolVersion;
  server.hello.purpose = wire::Purpose::kClient;
  std::memcpy(server.hello.cluster_uuid, cluster_uuid.data(),
              sizeof(server.hello.cluster_uuid));
  server.hello.from_server = id;
  server.hello.from_incarnation = incarnation;
  server.hello.credits = credits;
  return server;
}

std::vector<SentRequest> FakeFabric::TakeRequests() {
  return std::exchange(sent_, {});
}

void FakeFabric::Reply(const SentRequest& request, wire::Reply reply,
                       std::string_view value) {
  reply.type = request.header.type;
  reply.shard = request.header.shard;
  reply.tag = request.header.tag;
  SendRaw(request.connection, BytesOf(reply) + std::string(value));
}

void FakeFabric::SendRaw(fabric::ConnectionId connection,
                         std::string_view bytes) {
  if (!connections_.contains(connection.value)) return;
  events_.push_back(
      {fabric::EventKind::kReceived, connection, std::string(bytes)});
}

void FakeFabric::Disconnect(uint32_t server) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (it->second == server) {
      events_.push_back({fabric::EventKind::kDisconnected,
                         fabric::ConnectionId(it->first), "peer is gone"});
      it = connections_.erase(it);
    } else {
      ++it;
    }
  }
}

bool FakeFabric::IsConnected(uint32_t server) const {
  for (const auto& [id, to] : connections_) {
    if (to == server) return true;
  }
  return false;
}

std::string FakeFabric::ReadGrant(const wire::BufferGrant& grant) const {
  const fabric::Memory& memory = regions_.at(grant.key);
  WHALE_CHECK(grant.address + grant.length_bytes <= memory.length_bytes);
  return std::string(reinterpret_cast<const char*>(memory.base) + grant.address,
                     grant.length_bytes);
}

void FakeFabric::WriteGrant(const wire::BufferGrant& grant,
                            std::string_view bytes) {
  const fabric::Memory& memory = regions_.at(grant.key);
  WHALE_CHECK(bytes.size() <= grant.length_bytes);
  std::memcpy(memory.base + grant.address, bytes.data(), bytes.size());
}

absl::StatusOr<fabric::RegionId> FakeFabric::Register(
    const fabric::Memory& memory, const fabric::Access& access) {
  WHALE_CHECK(access.remote_read && access.remote_write);
  const uint64_t id = next_id_++;
  regions_[id] = memory;
  return fabric::RegionId(id);
}

void FakeFabric::Deregister(fabric::RegionId region) {
  WHALE_CHECK(regions_.erase(region.value) == 1);
}

fabric::Grant FakeFabric::MakeGrant(fabric::RegionId region,
                                    uint64_t offset_bytes,
                                    uint64_t length_bytes) const {
  return {region.value, offset_bytes, length_bytes};
}

fabric::ConnectionId FakeFabric::Connect(const std::string& address,
                                         std::span<const std::byte> hello) {
  const fabric::ConnectionId id(next_id_++);
  const auto found = servers_.find(address);
  if (found == servers_.end() || !found->second.accepts) {
    events_.push_back({fabric::EventKind::kConnectFailed, id, "refused"});
    return id;
  }
  FakeServer& server = found->second;
  ++server.connects;
  WHALE_CHECK(hello.size() == sizeof(wire::Hello));
  std::memcpy(&server.last_caller, hello.data(), hello.size());
  connections_[id.value] = server.id;
  events_.push_back({fabric::EventKind::kConnected, id, BytesOf(server.hello)});
  return id;
}

void FakeFabric::Close(fabric::ConnectionId connection) {
  WHALE_CHECK_MSG(connections_.erase(connection.value) == 1,
                  "closed a connection that is dead");
  closed.push_back(connection);
}

fabric::Revocation FakeFabric::Revoke(fabric::ConnectionId connection) {
  connections_.erase(connection.value);
  revoked.push_back(connection);
  return revocation;
}

std::byte* FakeFabric::BeginMessage(fabric::ConnectionId connection,
                                    size_t length_bytes) {
  WHALE_CHECK(length_bytes <= fabric::kMaxMessageBytes);
  if (!connections_.contains(connection.value)) return nullptr;
  if (unflushed_.size() >= send_queue_messages) return nullptr;
  open_message_ = connection.value;
  message_.assign(length_bytes, '\0');
  return reinterpret_cast<std::byte*>(message_.data());
}

void FakeFabric::EndMessage(fabric::ConnectionId connection,
                            size_t length_bytes) {
  WHALE_CHECK(open_message_ == connection.value);
  open_message_.reset();
  unflushed_.push_back(
      Parse(connection, std::string_view(message_).substr(0, length_bytes)));
}

void FakeFabric::FlushMessages() {
  for (SentRequest& request : unflushed_) sent_.push_back(std::move(request));
  unflushed_.clear();
}

size_t FakeFabric::Poll(std::span<fabric::Event> events) {
  polled_.clear();
  while (polled_.size() < events.size() && !events_.empty()) {
    polled_.push_back(std::move(events_.front()));
    events_.pop_front();
  }
  for (size_t i = 0; i < polled_.size(); ++i) {
    events[i] = {};
    events[i].kind = polled_[i].kind;
    events[i].connection = polled_[i].connection;
    events[i].data = reinterpret_cast<const std::byte*>(polled_[i].data.data());
    events[i].length_bytes = static_cast<uint32_t>(polled_[i].data.size());
    events[i].detail = polled_[i].data.c_str();
  }
  return polled_.size();
}

SentRequest FakeFabric::Parse(fabric::ConnectionId connection,
                              std::string_view message) const {
  SentRequest request;
  request.server = connections_.at(connection.value);
  request.connection = connection;
  WHALE_CHECK(message.size() >= sizeof(request.header));
  std::memcpy(&request.header, message.data(), sizeof(request.header));
  message.remove_prefix(sizeof(request.header));
  if ((request.header.flags & wire::kHasBuffer) != 0) {
    WHALE_CHECK(message.size() >= sizeof(wire::BufferGrant));
    std::memcpy(&request.grant.emplace(), message.data(),
                sizeof(wire::BufferGrant));
    message.remove_prefix(sizeof(wire::BufferGrant));
  }
  request.key = message.substr(0, request.header.key_bytes);
  request.value = message.substr(request.header.key_bytes);
  return request;
}

}  // namespace whale::client

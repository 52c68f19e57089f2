#include "client/testing/core_fixture.h"

#include <utility>

namespace whale::client {

void CoreTest::StartCore(const CoreOptions& options) {
  core_ = nullptr;
  for (uint32_t id : {1, 2, 3})
    fabric_.AddServer(id, 100 + id, kCredits, kUuid);
  core_ = std::make_unique<Core>(options, &fabric_, &clock_, &maps_);
}

proto::ClusterMap CoreTest::MakeMap(uint64_t version, uint64_t epoch,
                                    std::vector<uint32_t> members,
                                    int shards) const {
  proto::ClusterMap map;
  map.set_protocol_version(wire::kProtocolVersion);
  map.set_cluster_uuid(kUuid, 16);
  map.set_version(version);
  for (uint32_t id : {1, 2, 3}) {
    proto::ServerEntry* server = map.add_servers();
    server->set_server_id(id);
    server->set_incarnation(100 + id);
    server->set_fabric("fake");
    server->set_fabric_address(FakeFabric::AddressOf(id));
    server->set_alive(true);
  }
  for (int i = 0; i < shards; ++i) {
    proto::ShardEntry* shard = map.add_shards();
    shard->set_shard(i);
    shard->set_epoch(epoch);
    shard->set_active(!members.empty());
    if (members.empty()) shard->set_why_not("no member is there");
    for (uint32_t id : members) shard->add_members(id);
  }
  return map;
}

void CoreTest::Ready() {
  core_->OnMap(MakeMap(1, 1));
  core_->OnSession(kSession, 60 * kSecond);
  auto first = Put("first", "value");
  Reply(TakeOne(), wire::Result::kOk, 16);
  Run();
  ASSERT_TRUE(first->has_value());
}

std::shared_ptr<Outcome> CoreTest::Submit(const Operation& operation) {
  auto outcome = std::make_shared<Outcome>();
  core_->Submit(operation, [outcome](OperationResult result) {
    EXPECT_FALSE(outcome->has_value()) << "a second outcome";
    *outcome = std::move(result);
  });
  Run();
  return outcome;
}

std::shared_ptr<Outcome> CoreTest::Put(std::string_view key,
                                       std::string_view value,
                                       int64_t timeout_ns) {
  Operation operation;
  operation.type = OperationType::kPut;
  operation.key = key;
  operation.value = value;
  operation.timeout_ns = timeout_ns;
  return Submit(operation);
}

std::shared_ptr<Outcome> CoreTest::Get(std::string_view key,
                                       int64_t timeout_ns) {
  Operation operation;
  operation.key = key;
  operation.timeout_ns = timeout_ns;
  return Submit(operation);
}

void CoreTest::Run() {
  for (int i = 0; i < 20; ++i) core_->Step();
}

void CoreTest::Advance(int64_t ns) {
  clock_.Advance(ns);
  Run();
}

std::vector<SentRequest> CoreTest::Take() {
  std::vector<SentRequest> taken;
  for (bool again = true; again;) {
    again = false;
    for (SentRequest& request : fabric_.TakeRequests()) {
      const bool about_session =
          request.header.type == wire::RequestType::kOpenSession ||
          request.header.type == wire::RequestType::kKeepAlive;
      if (about_session && answer_sessions_) {
        Reply(request, wire::Result::kOk);
        again = true;
      } else {
        taken.push_back(std::move(request));
      }
    }
    Run();
  }
  return taken;
}

SentRequest CoreTest::TakeOne() {
  std::vector<SentRequest> requests = Take();
  EXPECT_EQ(requests.size(), 1u);
  return requests.empty() ? SentRequest() : requests.front();
}

void CoreTest::Reply(const SentRequest& request, wire::Result result,
                     uint64_t version, std::string_view value) {
  wire::Reply reply = {};
  reply.result = result;
  reply.epoch = request.header.epoch;
  reply.version = version;
  reply.lsn = version;
  reply.copies = 2;
  reply.value_bytes = static_cast<uint32_t>(value.size());
  fabric_.Reply(request, reply, value);
  Run();
}

void CoreTest::ReplyFrom(uint64_t epoch, const SentRequest& request,
                         wire::Result result, uint64_t version) {
  wire::Reply reply = {};
  reply.result = result;
  reply.epoch = epoch;
  reply.version = version;
  fabric_.Reply(request, reply);
  Run();
}

SentRequest CoreTest::TakeRetry() {
  for (int i = 0; i < 1000; ++i) {
    std::vector<SentRequest> requests = Take();
    if (!requests.empty()) {
      EXPECT_EQ(requests.size(), 1u);
      return requests.front();
    }
    Advance(kMs);
  }
  ADD_FAILURE() << "nothing was sent again";
  return {};
}

}  // namespace whale::client

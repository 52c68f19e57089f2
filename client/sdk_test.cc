// whale::Client against a coordinator that says what the test wants, and no
// servers: what Connect refuses, what calls report, how callbacks run. With
// servers it is tested in tests/process.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/control.grpc.pb.h"
#include "proto/wire.h"
#include "whale/client.h"

namespace whale {
namespace {

using ::testing::HasSubstr;

// Answers every client with `map`, and hands out sessions from 1.
class FakeCoordinator final : public proto::Cluster::Service {
 public:
  FakeCoordinator() {
    map.set_protocol_version(wire::kProtocolVersion);
    map.set_cluster_uuid("sixteen bytes id");
    map.set_version(1);
    proto::ServerEntry* server = map.add_servers();
    server->set_server_id(1);
    server->set_fabric("shm");
    server->set_fabric_address("/nonexistent/whale-server-1.sock");
    proto::ShardEntry* shard = map.add_shards();
    shard->set_epoch(1);
    shard->set_active(true);
    shard->add_members(1);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status GetMap(grpc::ServerContext*, const proto::GetMapRequest*,
                      proto::ClusterMap* reply) override {
    *reply = map;
    return grpc::Status::OK;
  }
  grpc::Status OpenSession(grpc::ServerContext*,
                           const proto::OpenSessionRequest*,
                           proto::OpenSessionReply* reply) override {
    reply->set_session(1);
    reply->set_session_lease_us(60'000'000);
    return grpc::Status::OK;
  }

  proto::ClusterMap map;  // changed before the first call only

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

class SdkTest : public ::testing::Test {
 protected:
  ClientOptions Options() const {
    ClientOptions options;
    options.coordinators = {coordinator_.address()};
    options.timeout = absl::Milliseconds(100);
    return options;
  }
  std::unique_ptr<Client> MustConnect() {
    auto client = Client::Connect(Options());
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }
  absl::Status ConnectError(const ClientOptions& options) {
    return Client::Connect(options).status();
  }

  FakeCoordinator coordinator_;
};

void ExpectError(const absl::Status& status, absl::StatusCode code,
                 const std::string& text) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
}

TEST_F(SdkTest, OptionsAreChecked) {
  ClientOptions options = Options();
  options.coordinators.clear();
  ExpectError(ConnectError(options), absl::StatusCode::kInvalidArgument,
              "HOST:PORT");
  options = Options();
  options.timeout = absl::ZeroDuration();
  ExpectError(ConnectError(options), absl::StatusCode::kInvalidArgument,
              "timeout");
  options = Options();
  options.buffer_bytes = 1000;
  ExpectError(ConnectError(options), absl::StatusCode::kInvalidArgument,
              "buffer_bytes is 1000");
}

TEST_F(SdkTest, NoCoordinatorIsNamed) {
  ClientOptions options = Options();
  options.coordinators = {"127.0.0.1:1"};
  ExpectError(ConnectError(options), absl::StatusCode::kUnavailable,
              "127.0.0.1:1");
}

TEST_F(SdkTest, AnyCoordinatorThatAnswersWillDo) {
  ClientOptions options = Options();
  options.timeout = absl::Seconds(20);
  options.coordinators = {"127.0.0.1:1", coordinator_.address()};
  EXPECT_TRUE(Client::Connect(options).ok());
}

TEST_F(SdkTest, ClusterWithoutShardsIsNotReady) {
  coordinator_.map.clear_shards();
  ExpectError(ConnectError(Options()), absl::StatusCode::kUnavailable,
              "no shards yet");
}

TEST_F(SdkTest, OtherProtocolVersionIsRefused) {
  coordinator_.map.set_protocol_version(99);
  ExpectError(ConnectError(Options()), absl::StatusCode::kFailedPrecondition,
              "protocol version 99");
}

TEST_F(SdkTest, FabricThatThisLibraryLacks) {
  coordinator_.map.mutable_servers(0)->set_fabric("smoke-signals");
  ExpectError(ConnectError(Options()), absl::StatusCode::kUnimplemented,
              "smoke-signals");
}

TEST_F(SdkTest, AskedForFabricMustBeTheServers) {
  ClientOptions options = Options();
  options.fabric = "verbs";
  ExpectError(ConnectError(options), absl::StatusCode::kFailedPrecondition,
              "'shm'");
}

TEST_F(SdkTest, UnreachableServerIsNamed) {
  auto client = MustConnect();
  const absl::Status get = client->Get("key").status();
  ExpectError(get, absl::StatusCode::kUnavailable, "server 1");
  ExpectError(get, absl::StatusCode::kUnavailable, "/nonexistent");
  ExpectError(client->Put("key", "value").status(),
              absl::StatusCode::kUnavailable, "nothing happened");
}

TEST_F(SdkTest, EveryKeyOfMultiGetHasItsOwnResult) {
  auto client = MustConnect();
  const std::vector<std::string_view> keys = {"key", ""};
  const auto results = client->MultiGet(keys);
  ASSERT_TRUE(results.ok());
  ASSERT_EQ(results->size(), 2u);
  EXPECT_EQ((*results)[0].status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*results)[1].status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(client->MultiGet({})->empty());
}

TEST_F(SdkTest, CallbacksRunInsidePollOnly) {
  auto client = MustConnect();
  int ran = 0;
  const auto count = [&ran](const auto&) { ++ran; };
  client->PutAsync("", "value", {}, count);
  client->GetAsync("", {}, count);
  client->DeleteAsync("", {}, count);
  client->CompareAndPutAsync("", 0, "value", {}, count);
  client->DeleteIfAsync("", 1, {}, count);
  client->WaitReplicatedAsync(absl::Seconds(1), count);
  EXPECT_EQ(client->in_flight(), 6u);
  EXPECT_FALSE(client->Get("").ok());  // drives all, runs none
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(client->Poll(), 6u);
  EXPECT_EQ(ran, 6);
  EXPECT_EQ(client->in_flight(), 0u);
}

TEST_F(SdkTest, CallbackMayCallTheClient) {
  auto client = MustConnect();
  absl::Status inner;
  bool second = false;
  client->GetAsync("", {}, [&](absl::StatusOr<ReadResult>) {
    inner = client->Put("", "value").status();
    client->GetAsync("", {},
                     [&](absl::StatusOr<ReadResult>) { second = true; });
    client->Poll();
  });
  while (client->in_flight() > 0) client->Poll(absl::Seconds(1));
  EXPECT_EQ(inner.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(second);
}

TEST_F(SdkTest, PollWithNothingOnItsWayReturnsAtOnce) {
  auto client = MustConnect();
  EXPECT_EQ(client->Poll(absl::InfiniteDuration()), 0u);
}

TEST_F(SdkTest, UnfinishedCallsEndWithTheClient) {
  auto client = MustConnect();
  auto token = std::make_shared<int>(1);
  bool ran = false;
  client->PutAsync("key", "value", {},
                   [token, &ran](absl::StatusOr<WriteResult>) { ran = true; });
  client->Poll();
  client = nullptr;
  EXPECT_FALSE(ran);
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(SdkTest, NothingWrittenIsReplicated) {
  auto client = MustConnect();
  EXPECT_TRUE(client->WaitReplicated(absl::Seconds(1)).ok());
}

}  // namespace
}  // namespace whale

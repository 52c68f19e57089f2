// The coordinator over real gRPC, with fake servers on real streams.

#include "control/coordinator_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>

#include "common/prng.h"
#include "control/cluster_client.h"
#include "control/control_link.h"
#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);

// A fake server whose directives come over a stream.
class AttachedServer {
 public:
  AttachedServer(uint32_t id, uint64_t incarnation, const std::string& address)
      : server_(id, incarnation) {
    ControlClientOptions options;
    // The first address answers nothing: the next one has to be tried.
    options.coordinators = {"127.0.0.1:1", address};
    options.min_pause = absl::Milliseconds(1);
    options.max_pause = absl::Milliseconds(10);
    options.jitter_seed = incarnation;
    client_ = std::make_unique<ControlClient>(
        options, [this](const proto::Directive& d) { OnDirective(d); });
    Report();
  }
  ~AttachedServer() { client_.reset(); }

  void Report() {
    std::lock_guard lock(mutex_);
    client_->Send(server_.Report());
  }
  template <typename Condition>
  void WaitUntil(Condition condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return condition(*this); });
  }

  FakeServer server_;
  int directives_ = 0;
  proto::Directive newest_;
  std::unique_ptr<ControlClient> client_;

 private:
  void OnDirective(const proto::Directive& directive) {
    std::lock_guard lock(mutex_);
    ++directives_;
    newest_ = directive;
    if (server_.Obey(directive)) client_->Send(server_.Report());
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
};

class CoordinatorServerTest : public ::testing::Test {
 protected:
  CoordinatorServerTest() {
    std::string name = ::testing::TempDir() + "whale_coordinator_XXXXXX";
    directory_ = mkdtemp(name.data());
    options_.listen = "127.0.0.1:0";
    options_.store = "file:" + directory_;
    options_.cluster.shard_count = 2;
    options_.version = "test";
    // Nobody renews in these tests.
    options_.cluster.lease_us = kMaxLeaseUs;
  }
  ~CoordinatorServerTest() override {
    servers_.clear();
    coordinator_.reset();
    std::filesystem::remove_all(directory_);
  }

  void StartCoordinator() {
    auto coordinator = CoordinatorServer::Start(options_);
    ASSERT_TRUE(coordinator.ok()) << coordinator.status();
    coordinator_ = *std::move(coordinator);
    options_.listen = Address();
    client_ = std::make_unique<ClusterClient>(
        std::vector<std::string>{"127.0.0.1:1", Address()});
  }
  std::string Address() const {
    return "127.0.0.1:" + std::to_string(coordinator_->port());
  }
  void Attach(uint32_t id, uint64_t incarnation) {
    servers_.push_back(
        std::make_unique<AttachedServer>(id, incarnation, Address()));
  }
  // The first map in which all shards are served.
  proto::ClusterMap WaitForActive() {
    uint64_t known = 0;
    for (;;) {
      auto map = client_->GetMap(known, absl::Seconds(10), kLong);
      EXPECT_TRUE(map.ok()) << map.status();
      if (!map.ok()) return {};
      bool active = map->shards_size() != 0;
      for (const auto& shard : map->shards()) active &= shard.active();
      if (active) return *map;
      known = map->version();
    }
  }
  void FormCluster() {
    StartCoordinator();
    for (uint32_t id = 1; id <= 3; ++id) Attach(id, 10 + id);
    WaitForActive();
  }

  std::string directory_;
  CoordinatorServerOptions options_;
  std::unique_ptr<CoordinatorServer> coordinator_;
  std::unique_ptr<ClusterClient> client_;
  std::vector<std::unique_ptr<AttachedServer>> servers_;
};

TEST_F(CoordinatorServerTest, FormsAClusterAndServesItsMap) {
  FormCluster();
  const proto::ClusterMap map = WaitForActive();
  EXPECT_EQ(map.shards_size(), 2);
  EXPECT_EQ(map.servers_size(), 3);
  EXPECT_EQ(map.cluster_uuid().size(), 16u);
  servers_[0]->Report();
  servers_[0]->WaitUntil([](const AttachedServer& server) {
    return server.newest_.lease_us() == kMaxLeaseUs;
  });

  const auto status = client_->GetStatus(kLong);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->reports_size(), 3);
  EXPECT_EQ(status->survives(), "process");
  EXPECT_THAT(status->coordinator(), HasSubstr("file:" + directory_));
}

TEST_F(CoordinatorServerTest, MapAnswersWhenItChanges) {
  FormCluster();
  const uint64_t known = WaitForActive().version();
  auto later = std::async(std::launch::async, [&] {
    return client_->GetMap(known, absl::Seconds(10), kLong);
  });
  servers_.erase(servers_.begin() + 1);
  const auto map = later.get();
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_NE(map->version(), known);
  for (const auto& shard : map->shards()) {
    EXPECT_FALSE(shard.active());
    EXPECT_THAT(shard.why_not(), HasSubstr("server 2"));
  }
}

TEST_F(CoordinatorServerTest, MapThatDoesNotChangeIsAnsweredAfterTheWait) {
  FormCluster();
  const uint64_t known = WaitForActive().version();
  const auto map = client_->GetMap(known, absl::Milliseconds(1), kLong);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->version(), known);
}

TEST_F(CoordinatorServerTest, RestartedServerLeadsToAnewEpoch) {
  FormCluster();
  const FakeServer old = servers_[1]->server_;
  servers_.erase(servers_.begin() + 1);
  Attach(2, 99);
  // A new pool has another uuid; this fake has the same and is just empty.
  const proto::ClusterMap map = WaitForActive();
  for (const auto& shard : map.shards()) EXPECT_GE(shard.epoch(), 1u);
  uint64_t highest = 0;
  for (const auto& shard : map.shards()) {
    highest = std::max(highest, shard.epoch());
  }
  EXPECT_EQ(highest, 2u);
}

TEST_F(CoordinatorServerTest, RestartKeepsTheClusterAndSessionsStayDistinct) {
  FormCluster();
  const std::string uuid = WaitForActive().cluster_uuid();
  std::vector<uint64_t> sessions;
  const auto open = [&] {
    const auto reply = client_->OpenSession(kLong);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_GT(reply->session_lease_us(), 0u);
    sessions.push_back(reply->session());
  };
  open();
  open();
  coordinator_.reset();
  StartCoordinator();
  const proto::ClusterMap map = WaitForActive();  // the servers come back
  EXPECT_EQ(map.cluster_uuid(), uuid);
  for (const auto& shard : map.shards()) EXPECT_EQ(shard.epoch(), 1u);
  open();
  EXPECT_NE(sessions[0], 0u);
  EXPECT_NE(sessions[0], sessions[1]);
  EXPECT_NE(sessions[1], sessions[2]);
}

TEST_F(CoordinatorServerTest, PolicyIsInForceWhenTheCallReturns) {
  FormCluster();
  proto::SetPolicyRequest request;
  request.mutable_policy()->set_mirrors(2);
  const auto reply = client_->SetPolicy(request, kLong);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->message(), "the policy is in force");
  const proto::ClusterMap map = WaitForActive();
  for (const auto& shard : map.shards()) {
    EXPECT_EQ(shard.epoch(), 2u);
    EXPECT_EQ(shard.policy().mirrors(), 2u);
  }
  request.mutable_policy()->set_mirrors(5);
  const auto refused = client_->SetPolicy(request, kLong);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CoordinatorServerTest, NothingIsDeclaredLostWithoutACluster) {
  StartCoordinator();
  proto::DeclareLostRequest request;
  request.add_lsns(4096);
  const auto reply = client_->DeclareLost(request, kLong);
  EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(reply.status().message()),
              HasSubstr("the cluster is not formed yet"));
}

TEST_F(CoordinatorServerTest, RefusedServerIsToldWhy) {
  StartCoordinator();
  Attach(7, 1);
  servers_[0]->WaitUntil(
      [](const AttachedServer& s) { return !s.server_.refused.empty(); });
  EXPECT_THAT(servers_[0]->server_.refused, HasSubstr("server id 7"));
}

TEST_F(CoordinatorServerTest, NoSessionsBeforeThereIsACluster) {
  StartCoordinator();
  auto reply = client_->OpenSession(absl::Milliseconds(100));
  // A busy machine may need longer for the first answer.
  for (auto wait = absl::Seconds(1);
       reply.status().code() == absl::StatusCode::kDeadlineExceeded &&
       wait < kLong;
       wait *= 4) {
    reply = client_->OpenSession(wait);
  }
  EXPECT_FALSE(reply.ok());
  EXPECT_THAT(std::string(reply.status().message()),
              HasSubstr("not formed yet"));
}

TEST_F(CoordinatorServerTest, PortInUseAndStoreInUseAreNamed) {
  StartCoordinator();
  CoordinatorServerOptions second = options_;
  auto same_store = CoordinatorServer::Start(second);
  EXPECT_EQ(same_store.status().code(), absl::StatusCode::kFailedPrecondition);
  second.store = "file:" + directory_ + "/other";
  auto same_port = CoordinatorServer::Start(second);
  EXPECT_EQ(same_port.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(same_port.status().message()),
              HasSubstr(second.listen));
}

TEST_F(CoordinatorServerTest, NonsenseOptionsAreRefused) {
  options_.cluster.replicas = 0;
  EXPECT_EQ(CoordinatorServer::Start(options_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CoordinatorServerTest, GarbageOnThePortDoesNoHarm) {
  FormCluster();
  Prng prng(1);
  for (int connection = 0; connection < 20; ++connection) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_GE(fd, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(coordinator_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string garbage;
    if (connection % 2 == 0) garbage = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (int i = 0; i < 4096; ++i) {
      garbage.push_back(static_cast<char>(prng.Next()));
    }
    // The coordinator may hang up at any byte.
    send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_TRUE(client_->GetStatus(kLong).ok());
  EXPECT_EQ(WaitForActive().shards_size(), 2);
}

TEST_F(CoordinatorServerTest, NobodyHome) {
  ClusterClient client({"127.0.0.1:1"});
  const auto map =
      client.GetMap(0, absl::ZeroDuration(), absl::Milliseconds(100));
  EXPECT_FALSE(map.ok());
  EXPECT_THAT(std::string(map.status().message()),
              HasSubstr("127.0.0.1:1 gives no answer"));
}

TEST_F(CoordinatorServerTest, CancelEndsAWaitingCall) {
  FormCluster();
  const uint64_t known = WaitForActive().version();
  std::promise<absl::Status> ended;
  {
    AsyncClusterClient async({Address()});
    std::promise<void> first;
    async.GetMap(0, absl::ZeroDuration(), kLong,
                 [&](const absl::StatusOr<proto::ClusterMap>& map) {
                   EXPECT_TRUE(map.ok()) << map.status();
                   first.set_value();
                 });
    first.get_future().wait();
    async.GetMap(known, absl::Hours(1), absl::Hours(2),
                 [&](const absl::StatusOr<proto::ClusterMap>& map) {
                   ended.set_value(map.status());
                 });
    std::promise<uint64_t> session;
    async.OpenSession(kLong,
                      [&](const absl::StatusOr<proto::OpenSessionReply>& r) {
                        session.set_value(r.ok() ? r->session() : 0);
                      });
    // Is not held up by the map that waits.
    EXPECT_NE(session.get_future().get(), 0u);
  }
  EXPECT_EQ(ended.get_future().get().code(), absl::StatusCode::kCancelled);
}

TEST_F(CoordinatorServerTest, FlushSaysWhetherTheReportIsOut) {
  StartCoordinator();
  Attach(1, 11);
  servers_[0]->Report();
  EXPECT_TRUE(servers_[0]->client_->Flush(kLong));
}

TEST_F(CoordinatorServerTest, StopEndsStreamsAndWaitingCalls) {
  FormCluster();
  const uint64_t known = WaitForActive().version();
  auto waiting = std::async(std::launch::async, [&] {
    return client_->GetMap(known, absl::Seconds(10), absl::Seconds(20));
  });
  coordinator_->Stop();
  client_->Cancel();
  EXPECT_FALSE(waiting.get().ok());
}

}  // namespace
}  // namespace whale::control

// What a put costs on the wire, counted on a whole cluster: bytes and requests,
// no times.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "sim/cluster.h"
#include "sim/operator.h"

namespace whale::sim {
namespace {

constexpr uint64_t kValueBytes = 64 << 10;
constexpr int kPuts = 20;

class TrafficTest : public ::testing::Test {
 protected:
  void Form(uint32_t mirrors) {
    ClusterSetup setup;
    setup.shards = 1;
    setup.mirrors = mirrors;
    setup.segment_bytes = 4 << 20;
    Form(setup);
  }
  void Form(const ClusterSetup& setup) {
    client_.reset();
    cluster_.reset();
    world_ = std::make_unique<World>(1);
    cluster_ = std::make_unique<Cluster>(world_.get(), setup);
    cluster_->coordinator().Start();
    for (size_t i = 0; i < setup.Replicas(); ++i) cluster_->StartServer(i);
    client_ = cluster_->AddClient();
    // The first opens the session and grants what there is to grant.
    Put(1);
    world_->RunUntil(world_->now_ns() + kSecond);
  }

  // One after the other, so that each is a batch of its own.
  void Put(int count) {
    const std::string value(kValueBytes, 'v');
    for (int i = 0; i < count; ++i) {
      bool done = false;
      client_->Submit({.type = client::OperationType::kPut,
                       .key = "key" + std::to_string(i),
                       .value = value,
                       .timeout_ns = 60 * kSecond},
                      [&done](const client::OperationResult& result) {
                        EXPECT_TRUE(result.status.ok()) << result.status;
                        done = true;
                      });
      while (!done)
        ASSERT_TRUE(world_->RunOne(world_->now_ns() + 60 * kSecond));
    }
  }

  SimFabric::Sent SentByPrimary() {
    const uint32_t primary =
        cluster_->coordinator().map()->shards(0).members(0);
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      if (cluster_->server(i).node() == primary) {
        return cluster_->server(i).fabric().sent();
      }
    }
    ADD_FAILURE() << "no primary";
    return {};
  }

  // Per put, the asynchronous part included.
  uint64_t BytesPerPut() {
    const uint64_t before = SentByPrimary().bytes;
    Put(kPuts);
    world_->RunUntil(world_->now_ns() + kSecond);
    return (SentByPrimary().bytes - before) / kPuts;
  }

  std::unique_ptr<World> world_;
  std::unique_ptr<Cluster> cluster_;
  std::shared_ptr<ClientNode> client_;
};

// The value goes to each mirror; without one, to the head of the chain. All
// else is small.
TEST_F(TrafficTest, PrimarySendsALargeValueOnceOrToEachMirror) {
  for (const uint32_t mirrors : {0, 1, 2}) {
    SCOPED_TRACE(mirrors);
    Form(mirrors);
    const uint64_t bytes = BytesPerPut();
    const uint64_t values = kValueBytes * std::max<uint64_t>(mirrors, 1);
    EXPECT_GE(bytes, values);
    EXPECT_LE(bytes, values + 1024);
    RecordProperty("bytes_m" + std::to_string(mirrors),
                   static_cast<int>(bytes));
  }
}

// What a server copies to become a replica, of all shards together, keeps to
// the policy's limit, and makes use of it.
TEST_F(TrafficTest, CopiesKeepToTheLimit) {
  for (const uint32_t shards : {1, 3}) {
    SCOPED_TRACE(shards);
    ClusterSetup setup;
    setup.servers = 3;
    setup.replicas = 2;
    setup.shards = shards;
    setup.segment_bytes = 1 << 20;
    setup.copy_bytes_per_second = 4 << 20;
    Form(setup);
    Put(80);  // 5 MiB
    Operator an_operator(cluster_.get(), 1);
    an_operator.AddSpareServers();
    world_->RunUntil(world_->now_ns() + kSecond);
    cluster_->coordinator().Ask([&](proto::StoredState* state) {
      // All of server 1 goes to server 3.
      for (proto::StoredShard& shard : *state->mutable_shards()) {
        shard.clear_placed();
        shard.add_placed(2);
        shard.add_placed(3);
      }
      return absl::StatusOr<std::string>("");
    });
    cluster_->StartServer(2);
    const auto copied = [&] {
      return cluster_->server(2).server()->counters().copied_bytes;
    };
    const auto run_until_copied = [&](uint64_t bytes) {
      while (copied() < bytes) {
        ASSERT_TRUE(world_->RunOne(world_->now_ns() + 60 * kSecond));
      }
    };
    run_until_copied(512 << 10);
    const int64_t begin_ns = world_->now_ns();
    const uint64_t begin_bytes = copied();
    run_until_copied(4 << 20);
    const double rate = static_cast<double>(copied() - begin_bytes) * 1e9 /
                        static_cast<double>(world_->now_ns() - begin_ns);
    EXPECT_NEAR(rate, 4 << 20, 0.1 * (4 << 20));
    RecordProperty("bytes_per_second_" + std::to_string(shards),
                   static_cast<int>(rate));
  }
}

}  // namespace
}  // namespace whale::sim

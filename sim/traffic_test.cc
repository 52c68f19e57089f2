// What a put costs on the wire, counted on a whole cluster: bytes and requests,
// no times.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "sim/cluster.h"

namespace whale::sim {
namespace {

constexpr uint64_t kValueBytes = 64 << 10;
constexpr int kPuts = 20;

class TrafficTest : public ::testing::Test {
 protected:
  void Form(uint32_t mirrors) {
    client_.reset();
    cluster_.reset();
    world_ = std::make_unique<World>(1);
    ClusterSetup setup;
    setup.shards = 1;
    setup.mirrors = mirrors;
    setup.segment_bytes = 4 << 20;
    cluster_ = std::make_unique<Cluster>(world_.get(), setup);
    cluster_->coordinator().Start();
    for (size_t i = 0; i < cluster_->server_count(); ++i) {
      cluster_->StartServer(i);
    }
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
                       .key = "key",
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

}  // namespace
}  // namespace whale::sim

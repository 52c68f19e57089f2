// A cluster and one client, for tests that say what happens when.
#ifndef WHALE_SIM_CLUSTER_FIXTURE_H_
#define WHALE_SIM_CLUSTER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/cluster.h"

namespace whale::sim {

using client::OperationType;

class ClusterTest : public ::testing::Test {
 protected:
  // Another cluster takes the place of the last.
  void Form(uint64_t seed, const ClusterSetup& setup) {
    client_.reset();
    cluster_.reset();
    world_ = std::make_unique<World>(seed);
    cluster_ = std::make_unique<Cluster>(world_.get(), setup);
    cluster_->coordinator().Start();
    for (size_t i = 0; i < setup.Replicas(); ++i) cluster_->StartServer(i);
    client_ = cluster_->AddClient();
  }

  client::OperationResult Do(OperationType type, const std::string& key,
                             const std::string& value,
                             uint64_t expected_version = 0,
                             uint32_t replica = 0) {
    std::optional<client::OperationResult> result;
    client_->Submit({.type = type,
                     .key = key,
                     .value = value,
                     .expected_version = expected_version,
                     .replica = replica,
                     .timeout_ns = 500 * kMillisecond},
                    [&result](client::OperationResult answer) {
                      result = std::move(answer);
                    });
    while (!result) {
      if (!world_->RunOne(world_->now_ns() + kSecond)) break;
    }
    return result ? *std::move(result) : client::OperationResult{};
  }
  absl::Status Put(const std::string& key, const std::string& value) {
    return Do(OperationType::kPut, key, value).status;
  }
  void PutAll(const std::vector<std::string>& keys, const std::string& value) {
    size_t acknowledged = 0;
    for (const std::string& key : keys) {
      client_->Submit({.type = OperationType::kPut,
                       .key = key,
                       .value = value,
                       .timeout_ns = kSecond},
                      [&acknowledged](const client::OperationResult& answer) {
                        acknowledged += answer.status.ok();
                      });
    }
    while (acknowledged < keys.size()) {
      ASSERT_TRUE(world_->RunOne(world_->now_ns() + kSecond));
    }
  }
  // `replica` 0: at the primary.
  absl::StatusOr<std::string> Get(const std::string& key,
                                  uint32_t replica = 0) {
    client::OperationResult result =
        Do(OperationType::kGet, key, "", 0, replica);
    if (!result.status.ok()) return result.status;
    return result.value;
  }
  void Run(int64_t for_ns) { world_->RunUntil(world_->now_ns() + for_ns); }

  std::unique_ptr<World> world_;
  std::unique_ptr<Cluster> cluster_;
  std::shared_ptr<ClientNode> client_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_CLUSTER_FIXTURE_H_

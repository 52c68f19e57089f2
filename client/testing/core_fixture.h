// A core, three scripted servers and a map, for the tests of the core.
#ifndef WHALE_CLIENT_TESTING_CORE_FIXTURE_H_
#define WHALE_CLIENT_TESTING_CORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/core.h"
#include "client/testing/fake_server.h"

namespace whale::client {

inline constexpr int64_t kMs = 1'000'000;
inline constexpr int64_t kSecond = 1'000 * kMs;

// Counts what the core asks the coordinator.
class FakeMapSource final : public MapSource {
 public:
  void RequestMap(uint64_t known_version) override { ++maps_asked; }
  void RequestSession() override { ++sessions_asked; }

  int maps_asked = 0;
  int sessions_asked = 0;
};

// The outcome of an operation, once there is one.
using Outcome = std::optional<OperationResult>;

class CoreTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kCredits = 8;
  static constexpr uint64_t kSession = 77;

  CoreTest() { StartCore(CoreOptions()); }

  // A fresh core; it knows neither map nor session.
  void StartCore(const CoreOptions& options);
  // Servers 1, 2, 3; server 1 is primary of every shard.
  proto::ClusterMap MakeMap(uint64_t version, uint64_t epoch,
                            std::vector<uint32_t> members = {1, 2, 3},
                            int shards = 1) const;
  // Gives the core a map and a session, and lets it connect to server 1 and
  // open its session there with a write that is answered.
  void Ready();

  std::shared_ptr<Outcome> Submit(const Operation& operation);
  std::shared_ptr<Outcome> Put(std::string_view key, std::string_view value,
                               int64_t timeout_ns = 5 * kSecond);
  std::shared_ptr<Outcome> Get(std::string_view key,
                               int64_t timeout_ns = 5 * kSecond);

  // Steps until the core neither sends nor finishes anything more.
  void Run();
  void Advance(int64_t ns);
  // What was sent since the last call; sessions are opened and kept alive on
  // the way unless `answer_sessions` is false.
  std::vector<SentRequest> Take();
  // The only request sent since the last call.
  SentRequest TakeOne();

  void Reply(const SentRequest& request, wire::Result result,
             uint64_t version = 0, std::string_view value = {});
  void ReplyFrom(uint64_t epoch, const SentRequest& request,
                 wire::Result result, uint64_t version = 0);
  // Advances, a little at a time, until something is sent.
  SentRequest TakeRetry();

  static constexpr char kUuid[] = "sixteen bytes id";

  VirtualClock clock_;
  FakeFabric fabric_;
  FakeMapSource maps_;
  std::unique_ptr<Core> core_;
  bool answer_sessions_ = true;
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_TESTING_CORE_FIXTURE_H_

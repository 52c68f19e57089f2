// That HostileFabric does use the freedoms it is there for: code that leans on
// more than the contract must fail on it. (That it keeps to the contract is
// shown by the conformance suite.)
#include "fabric/hostile.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/remote_memory.h"
#include "fabric/shared_memory.h"
#include "fabric/shm/shm_fabric.h"
#include "gtest/gtest.h"

namespace whale::fabric {
namespace {

// A hostile client of a plain server.
class HostileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        std::filesystem::temp_directory_path() / "whale-hostile-XXXXXX";
    WHALE_CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    server_ = *CreateShmFabric({.listen_path = directory_ + "/server"});
    provider_ = *CreateShmFabric({});
    local_ = *SharedMemory::Create(65536, "local");
    remote_ = *SharedMemory::Create(65536, "remote");
    const Access all{true, true, true};
    const RegionId region = *server_->Register(remote_.memory(), all);
    grant_ = server_->MakeGrant(region, 0, remote_.size());
  }
  void TearDown() override {
    hostile_.reset();
    provider_.reset();
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Start(const HostileOptions& options) {
    hostile_ = std::make_unique<HostileFabric>(provider_.get(), options);
    WHALE_CHECK(hostile_->Register(local_.memory(), {}).ok());
    hostile_->Connect(server_->address(), {});
    while (connection_.value == 0) Poll();
    // Map the memory, so that the provider itself delays nothing from here on.
    Post(Request(Opcode::kWrite, 0, 1));
    while (completed_.empty()) Poll();
    completed_.clear();
  }

  // Polls both sides once.
  void Poll() {
    std::array<Event, 8> events;
    const size_t accepted = server_->Poll(events);
    for (size_t i = 0; i < accepted; ++i) {
      if (events[i].kind == EventKind::kConnectRequest) {
        server_->Accept(events[i].connection, {});
      }
    }
    const size_t count = hostile_->Poll(events);
    for (size_t i = 0; i < count; ++i) {
      if (events[i].kind == EventKind::kConnected) {
        connection_ = events[i].connection;
      } else if (events[i].kind == EventKind::kCompleted) {
        EXPECT_EQ(events[i].outcome, Outcome::kOk);
        completed_.push_back(events[i].cookie);
      }
    }
  }

  WorkRequest Request(Opcode opcode, uint64_t local_offset, uint64_t cookie) {
    return {.opcode = opcode,
            .signaled = true,
            .local = local_.data() + local_offset,
            .length_bytes = 8,
            .remote_key = grant_.key,
            .remote_address = grant_.address,
            .cookie = cookie};
  }
  void Post(const WorkRequest& request) {
    while (hostile_->Post(connection_, std::span(&request, 1)) !=
           PostResult::kOk) {
      Poll();
    }
  }

  std::string directory_;
  SharedMemory local_, remote_;
  std::unique_ptr<Fabric> server_, provider_;
  std::unique_ptr<HostileFabric> hostile_;
  Grant grant_;
  ConnectionId connection_;
  std::vector<uint64_t> completed_;
};

TEST_F(HostileTest, AWriteIsNotVisibleWhenPosted) {
  Start({.seed = 1, .refuse = 0});
  StoreSharedWord(local_.data(), 77);
  Post(Request(Opcode::kWrite, 0, 2));
  EXPECT_EQ(LoadRemoteWord(remote_.data()), 0u);
  while (completed_.empty()) Poll();
  EXPECT_EQ(LoadRemoteWord(remote_.data()), 77u);
}

TEST_F(HostileTest, CompletionsAreHeldBack) {
  Start({.seed = 1, .refuse = 0});
  int visible_but_not_completed = 0;
  for (uint64_t i = 1; i <= 100; ++i) {
    StoreSharedWord(local_.data(), i);
    Post(Request(Opcode::kWrite, 0, i));
    while (completed_.size() < i) {
      visible_but_not_completed += LoadRemoteWord(remote_.data()) == i;
      Poll();
    }
  }
  EXPECT_GT(visible_but_not_completed, 0);
}

TEST_F(HostileTest, WritesOvertakeReadsButCompleteBehindThem) {
  Start({.seed = 1, .refuse = 0});
  int overtaken = 0;
  for (uint64_t i = 1; i <= 200; ++i) {
    const uint64_t before = LoadRemoteWord(remote_.data());
    StoreSharedWord(local_.data() + 64, i);
    Post(Request(Opcode::kRead, 0, 2 * i));
    Post(Request(Opcode::kWrite, 64, 2 * i + 1));
    while (completed_.size() < 2 * i) Poll();
    const uint64_t read = LoadRemoteWord(local_.data());
    EXPECT_TRUE(read == before || read == i);
    overtaken += read == i;
    EXPECT_EQ(completed_[2 * i - 2], 2 * i);
    EXPECT_EQ(completed_[2 * i - 1], 2 * i + 1);
  }
  EXPECT_GT(overtaken, 0);
  EXPECT_LT(overtaken, 200);
}

TEST_F(HostileTest, RefusesForAWhile) {
  Start({.seed = 1, .refuse = 0.1});
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    const bool full = hostile_->FreeSlots(connection_) == 0;
    const WorkRequest request = Request(Opcode::kWrite, 0, 1);
    const PostResult result =
        hostile_->Post(connection_, std::span(&request, 1));
    EXPECT_EQ(result, full ? PostResult::kQueueFull : PostResult::kOk);
    EXPECT_EQ(hostile_->BeginMessage(connection_, 1) == nullptr, full);
    refused += full;
    Poll();
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 400);
}

}  // namespace
}  // namespace whale::fabric

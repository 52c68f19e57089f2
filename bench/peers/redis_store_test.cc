#include "bench/peers/redis_store.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace whale::bench::peers {
namespace {

// Stands where Redis would: connections wait in the backlog until a test takes
// one, so that no thread is needed.
class RedisStoreTest : public testing::Test {
 protected:
  RedisStoreTest() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_, any, bytes), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, any, &bytes), 0);
    options_.port = ntohs(address.sin_port);
    options_.value_bytes = 3;
  }
  ~RedisStoreTest() override {
    close(listener_);
    if (peer_ >= 0) close(peer_);
  }

  void Open() {
    auto store = RedisStore::Open(options_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = std::move(*store);
    peer_ = accept(listener_, nullptr, nullptr);
    ASSERT_GE(peer_, 0);
  }
  std::string Received() {
    std::string bytes(4096, '\0');
    const ssize_t n = recv(peer_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(n > 0 ? n : 0);
    return bytes;
  }
  void Answer(std::string_view bytes) {
    ASSERT_EQ(send(peer_, bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  void Write(std::string_view key) {
    store_->Write(key, "abc",
                  [this](absl::Status s) { written_.push_back(s); });
  }

  RedisOptions options_;
  std::unique_ptr<ycsb::Store> store_;
  std::vector<absl::Status> written_;
  int listener_ = -1;
  int peer_ = -1;
};

constexpr std::string_view kSet = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nabc\r\n";
constexpr std::string_view kWait =
    "*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$5\r\n10000\r\n";

TEST_F(RedisStoreTest, WriteIsSetAndWait) {
  Open();
  Write("k");
  EXPECT_EQ(Received(), std::string(kSet) + std::string(kWait));
  Answer("+OK\r\n");
  EXPECT_EQ(store_->Poll(0), 0u);
  Answer(":2\r\n");
  EXPECT_EQ(store_->Poll(0), 1u);
  ASSERT_EQ(written_.size(), 1u);
  EXPECT_TRUE(written_[0].ok()) << written_[0];
}

TEST_F(RedisStoreTest, AWriteThatTooFewReplicasHaveFails) {
  Open();
  Write("k");
  Answer("+OK\r\n:1\r\n");
  EXPECT_EQ(store_->Poll(0), 1u);
  ASSERT_EQ(written_.size(), 1u);
  EXPECT_EQ(written_[0].code(), absl::StatusCode::kUnavailable);
}

TEST_F(RedisStoreTest, AnErrorFailsAllThatIsInFlightAndLater) {
  options_.gather = true;
  Open();
  Write("a");
  Write("b");
  Answer("-LOADING\r\n");
  EXPECT_EQ(store_->Poll(0), 2u);
  Write("c");
  EXPECT_EQ(store_->Poll(0), 1u);
  ASSERT_EQ(written_.size(), 3u);
  for (const absl::Status& status : written_) {
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("-LOADING"));
  }
}

TEST_F(RedisStoreTest, GatheredWritesShareOneWait) {
  options_.gather = true;
  Open();
  Write("k");
  Write("k");
  EXPECT_EQ(Received(), "");
  Answer("+OK\r\n+OK\r\n:2\r\n");
  EXPECT_EQ(store_->Poll(0), 2u);
  EXPECT_EQ(Received(),
            std::string(kSet) + std::string(kSet) + std::string(kWait));
  ASSERT_EQ(written_.size(), 2u);
  EXPECT_TRUE(written_[0].ok() && written_[1].ok());
}

TEST_F(RedisStoreTest, ReadGivesTheValue) {
  Open();
  std::string value;
  store_->Read("k", [&](absl::StatusOr<std::string> v) { value = v.value(); });
  EXPECT_EQ(Received(), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
  Answer("$3\r\nxyz\r\n");
  EXPECT_EQ(store_->Poll(0), 1u);
  EXPECT_EQ(value, "xyz");
}

}  // namespace
}  // namespace whale::bench::peers

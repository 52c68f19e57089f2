#include "tools/net.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/http_endpoint.h"

namespace whale::tools {
namespace {

using testing::HasSubstr;

// A port that was free a moment ago.
uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return ntohs(address.sin_port);
}

TEST(ParseHostPort, TakesNamesAndBothKindsOfAddresses) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:7400")->port, 7400);
  EXPECT_EQ(ParseHostPort("host.example:1")->host, "host.example");
  EXPECT_EQ(ParseHostPort("[::1]:65535")->host, "::1");
  for (const char* text :
       {"", "host", "host:", ":7400", "host:0", "host:65536", "host:x"}) {
    EXPECT_FALSE(ParseHostPort(text).ok()) << text;
  }
}

class HttpTest : public testing::Test {
 protected:
  HttpTest() : port_(FreePort()) {
    auto endpoint = HttpEndpoint::Start(
        "127.0.0.1", port_,
        {{"/readyz",
          [] { return HttpResponse{.status = 503, .body = "not yet\n"}; }},
         {"/metrics", [] { return HttpResponse{.body = "whale 1\n"}; }}});
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
  }
  absl::StatusOr<HttpAnswer> Get(const std::string& path) const {
    return HttpGet({"127.0.0.1", port_}, path, absl::Seconds(10));
  }

  uint16_t port_;
  std::unique_ptr<HttpEndpoint> endpoint_;
};

TEST_F(HttpTest, PagesAreServedWithTheirStatus) {
  const auto metrics = Get("/metrics");
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(metrics->status, 200);
  EXPECT_EQ(metrics->body, "whale 1\n");
  EXPECT_EQ(Get("/readyz")->status, 503);
  EXPECT_EQ(Get("/readyz")->body, "not yet\n");
  EXPECT_EQ(Get("/other")->status, 404);
  EXPECT_THAT(Get("/other")->body, HasSubstr("/metrics"));
}

TEST_F(HttpTest, APortInUseIsAnErrorThatNamesIt) {
  const absl::Status status = CheckPortIsFree("127.0.0.1", port_);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::to_string(port_)));
  EXPECT_FALSE(HttpEndpoint::Start("127.0.0.1", port_, {}).ok());
  endpoint_.reset();
  EXPECT_TRUE(CheckPortIsFree("127.0.0.1", port_).ok());
}

TEST_F(HttpTest, GarbageIsSurvived) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
            0);
  const std::string garbage(100'000, '\xff');
  send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
  close(fd);
  EXPECT_EQ(Get("/metrics")->status, 200);
}

TEST(HttpGet, NobodyThereIsUnavailable) {
  EXPECT_EQ(
      HttpGet({"127.0.0.1", FreePort()}, "/", absl::Seconds(5)).status().code(),
      absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace whale::tools

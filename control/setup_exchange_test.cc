#include "control/setup_exchange.h"

#include <condition_variable>
#include <mutex>
#include <vector>

#include "absl/strings/str_cat.h"
#include "control/channel.h"
#include "gtest/gtest.h"
#include "proto/setup.grpc.pb.h"

namespace whale::control {
namespace {

using fabric::Exchange;
using Kind = Exchange::Kind;

// An exchange whose events are waited for.
class Side {
 public:
  explicit Side(const std::string& listen, const std::string& token = "") {
    auto made = MakeSetupExchange(
        {.listen_address = listen, .security = {.token = token}});
    EXPECT_TRUE(made.ok()) << made.status();
    exchange = *std::move(made);
    exchange->SetWake([this] {
      const std::lock_guard lock(mutex_);
      woken_ = true;
      changed_.notify_all();
    });
  }
  // Waits, at most for long, for the next event.
  Exchange::Event Next() {
    Exchange::Event event;
    while (!exchange->Take(&event)) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_for(lock, std::chrono::seconds(60),
                             [this] { return woken_; })) {
        ADD_FAILURE() << "nothing came";
        return event;
      }
      woken_ = false;
    }
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;

 public:
  std::unique_ptr<Exchange> exchange;  // last: it wakes until it is gone
};

TEST(SetupExchange, CarriesMessagesBothWaysInOrder) {
  Side server("127.0.0.1:0"), client("");
  EXPECT_TRUE(client.exchange->address().empty());
  const uint64_t call = client.exchange->Call(server.exchange->address());
  for (const char* text : {"one", "two"}) client.exchange->Send(call, text);
  const Exchange::Event called = server.Next();
  EXPECT_EQ(called.kind, Kind::kCalled);
  EXPECT_FALSE(called.text.empty());
  EXPECT_EQ(server.Next().text, "one");
  EXPECT_EQ(server.Next().text, "two");
  server.exchange->Send(called.call, std::string("\0three", 6));
  const Exchange::Event answer = client.Next();
  EXPECT_EQ(answer.kind, Kind::kMessage);
  EXPECT_EQ(answer.call, call);
  EXPECT_EQ(answer.text, std::string("\0three", 6));
}

TEST(SetupExchange, TheEndOfEitherSideIsSeenByTheOther) {
  Side server("127.0.0.1:0"), client("");
  for (const bool by_server : {true, false}) {
    const uint64_t call = client.exchange->Call(server.exchange->address());
    client.exchange->Send(call, "hello");
    const Exchange::Event called = server.Next();
    EXPECT_EQ(server.Next().text, "hello");
    if (by_server) {
      // What was sent before the end arrives before it.
      server.exchange->Send(called.call, "no");
      server.exchange->End(called.call);
      EXPECT_EQ(client.Next().text, "no");
      const Exchange::Event ended = client.Next();
      EXPECT_EQ(ended.kind, Kind::kEnded);
      EXPECT_EQ(ended.call, call);
    } else {
      client.exchange->End(call);
      const Exchange::Event ended = server.Next();
      EXPECT_EQ(ended.kind, Kind::kEnded);
      EXPECT_EQ(ended.call, called.call);
    }
  }
}

TEST(SetupExchange, ADyingProcessEndsItsCalls) {
  auto server = std::make_unique<Side>("127.0.0.1:0");
  Side client("");
  const uint64_t call = client.exchange->Call(server->exchange->address());
  client.exchange->Send(call, "hello");
  EXPECT_EQ(server->Next().kind, Kind::kCalled);
  server.reset();
  const Exchange::Event ended = client.Next();
  EXPECT_EQ(ended.kind, Kind::kEnded);
  EXPECT_EQ(ended.call, call);
}

TEST(SetupExchange, CallingNobodyEnds) {
  Side client("");
  const uint64_t call = client.exchange->Call("127.0.0.1:1");
  const Exchange::Event ended = client.Next();
  EXPECT_EQ(ended.kind, Kind::kEnded);
  EXPECT_EQ(ended.call, call);
  EXPECT_FALSE(ended.text.empty());
}

// Clients have another token, or none.
TEST(SetupExchange, ServersAreKnownByTheirToken) {
  Side server("127.0.0.1:0", "of servers");
  for (const std::string token : {"of servers", "of clients", ""}) {
    Side peer("", token);
    peer.exchange->Call(server.exchange->address());
    Exchange::Event event;
    while (event.kind != Kind::kCalled) event = server.Next();
    EXPECT_EQ(event.is_server, token == "of servers") << token;
  }
  Side open("127.0.0.1:0"), peer("");
  peer.exchange->Call(open.exchange->address());
  EXPECT_TRUE(open.Next().is_server) << "where there are no tokens";
}

// A stranger that floods the stream is cut off.
TEST(SetupExchange, AFloodIsEnded) {
  Side server("127.0.0.1:0");
  const auto stub = proto::FabricSetup::NewStub(
      OpenChannel(server.exchange->address(),
                  grpc::InsecureChannelCredentials(), kConnectMs));
  grpc::ClientContext context;
  const auto stream = stub->Open(&context);
  proto::SetupFrame frame;
  frame.set_body("x");
  while (stream->Write(frame)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  int messages = 0;
  EXPECT_EQ(server.Next().kind, Kind::kCalled);
  while (server.Next().kind == Kind::kMessage) ++messages;
  EXPECT_LE(messages, 8);
}

TEST(SetupExchange, APortInUseIsAnError) {
  Side server("127.0.0.1:0");
  const auto second =
      MakeSetupExchange({.listen_address = server.exchange->address()});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace whale::control

// What needs no device: the choice of port, GID and flush method, options, and
// messages of a peer that is hostile.
#include <arpa/inet.h>

#include <cstring>

#include "fabric/verbs/device.h"
#include "fabric/verbs/flush_choice.h"
#include "fabric/verbs/setup_message.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::fabric {
namespace {

using ::testing::HasSubstr;
using verbs::ChoosePort;
using verbs::Gid;
using verbs::GidType;
using verbs::Port;
using verbs::RawGid;

RawGid Address(const char* text) {
  RawGid gid{};
  if (inet_pton(AF_INET6, text, gid.data()) != 1) {
    gid[10] = gid[11] = 0xff;
    EXPECT_EQ(inet_pton(AF_INET, text, gid.data() + 12), 1);
  }
  return gid;
}

Gid V2(uint32_t index, const char* text) {
  return {index, GidType::kRoceV2, Address(text)};
}

Port Ethernet(std::string device, bool active, std::vector<Gid> gids) {
  return {.device = std::move(device),
          .number = 1,
          .active = active,
          .ethernet = true,
          .gids = std::move(gids)};
}

TEST(ChoosePort, TakesTheActivePortAndTheAddressThatReachesFar) {
  const std::vector<Port> ports = {
      Ethernet("a", false, {V2(1, "10.0.0.1")}),
      Ethernet("b", true,
               {{0, GidType::kRoceV1, Address("10.0.0.2")},
                V2(1, "fe80::2"),
                V2(2, "2001:db8::2"),
                {3, GidType::kRoceV1, Address("10.0.0.3")},
                V2(5, "10.0.0.2")})};
  const auto choice = ChoosePort(ports, {});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->port.device, "b");
  EXPECT_EQ(choice->gid.index, 5u);
  EXPECT_EQ(verbs::GidText(choice->gid.raw), "10.0.0.2");
}

TEST(ChoosePort, GlobalIpv6BeforeLinkLocalAndLoopbackLast) {
  const auto v6 = ChoosePort(
      {Ethernet("a", true, {V2(0, "fe80::1"), V2(1, "2001:db8::1")})}, {});
  ASSERT_TRUE(v6.ok());
  EXPECT_EQ(v6->gid.index, 1u);
  const auto link = ChoosePort({Ethernet("lo", true, {V2(0, "127.0.0.1")}),
                                Ethernet("x", true, {V2(0, "fe80::1")})},
                               {});
  ASSERT_TRUE(link.ok());
  EXPECT_EQ(link->port.device, "x");
}

TEST(ChoosePort, TheUsersChoiceWins) {
  const std::vector<Port> ports = {
      Ethernet("a", true, {V2(0, "fe80::1"), V2(1, "10.0.0.1")}),
      Ethernet("b", true, {{0, GidType::kRoceV1, Address("10.0.0.2")}})};
  auto choice = ChoosePort(ports, {.device = "a", .gid_index = 0});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->gid.index, 0u);
  choice = ChoosePort(ports, {.device = "b", .gid_index = 0});
  ASSERT_TRUE(choice.ok()) << "RoCE v1 by request";
  EXPECT_EQ(choice->gid.type, GidType::kRoceV1);
}

TEST(ChoosePort, SaysWhatIsMissing) {
  const std::vector<Port> down = {Ethernet("a", false, {V2(1, "10.0.0.1")})};
  EXPECT_EQ(ChoosePort(down, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ChoosePort(down, {}).status().message()),
              HasSubstr("a port 1 (down"));
  EXPECT_EQ(ChoosePort(down, {.device = "mlx5_0"}).status().code(),
            absl::StatusCode::kNotFound);
  const std::vector<Port> bare = {
      Ethernet("a", true, {{0, GidType::kRoceV1, Address("fe80::1")}})};
  EXPECT_THAT(std::string(ChoosePort(bare, {}).status().message()),
              HasSubstr("no active port has a RoCE v2 GID"));
  EXPECT_EQ(ChoosePort(bare, {.gid_index = 7}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ChoosePort, InfinibandUsesItsOwnGid) {
  Port port =
      Ethernet("mlx5_0", true, {{0, GidType::kInfiniband, Address("fe80::1")}});
  port.ethernet = false;
  const auto choice = ChoosePort({port}, {});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->gid.type, GidType::kInfiniband);
}

TEST(VerbsOptions, ParsesEveryKeyAndRefusesOthers) {
  const auto options = ParseVerbsOptions(
      "device=mlx5_0,port=2,gid-index=3,mtu=4096,timeout=16,retries=3,"
      "rnr-retries=6,traffic-class=106,service-level=5,connections=9,depth=64,"
      "credits=16,dial-ms=700,flush=receiver,ddio=off");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->device, "mlx5_0");
  EXPECT_EQ(options->port, 2u);
  EXPECT_EQ(options->gid_index, 3);
  EXPECT_EQ(options->mtu_bytes, 4096u);
  EXPECT_EQ(options->timeout, 16u);
  EXPECT_EQ(options->retry_count, 3u);
  EXPECT_EQ(options->rnr_retry_count, 6u);
  EXPECT_EQ(options->traffic_class, 106u);
  EXPECT_EQ(options->service_level, 5u);
  EXPECT_EQ(options->max_connections, 9u);
  EXPECT_EQ(options->send_queue_depth, 64u);
  EXPECT_EQ(options->credits, 16u);
  EXPECT_EQ(options->handshake_us, 700'000);
  EXPECT_EQ(options->flush.insist, FlushMethod::kReceiverFlush);
  EXPECT_TRUE(options->flush.writes_bypass_caches);
  EXPECT_TRUE(ParseVerbsOptions("").ok());
  for (const char* bad :
       {"gid=3", "mtu=1000", "port=0", "retries=8", "timeout=x", "device",
        "flush=quick", "ddio=maybe", "depth=99999999999"}) {
    const auto refused = ParseVerbsOptions(bad);
    if (std::string_view(bad) == "device") continue;  // empty: any
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

FlushCapabilities Native() { return {.native = true, .needs = {}}; }

TEST(ChooseFlush, NeverUnsafeByItself) {
  for (const bool writer : {false, true}) {
    for (const bool owner : {false, true}) {
      for (int bits = 0; bits < 8; ++bits) {
        FlushCapabilities end{
            .native = owner,
            .needs = {.durable = (bits & 1) != 0,
                      .caches_are_durable = (bits & 2) != 0,
                      .writes_bypass_caches = (bits & 4) != 0}};
        const FlushChoice choice =
            ChooseFlush({.native = writer, .needs = {}}, end);
        EXPECT_FALSE(choice.unsafe);
        EXPECT_FALSE(choice.impossible);
        EXPECT_NE(choice.method, FlushMethod::kNone);
        if (bits == 1) {
          EXPECT_EQ(choice.method, writer && owner
                                       ? FlushMethod::kNativeFlush
                                       : FlushMethod::kReceiverFlush);
        } else {
          EXPECT_EQ(choice.method, FlushMethod::kReadAfterWrite);
        }
      }
    }
  }
}

TEST(ChooseFlush, InsistingIsObeyedAndCalledByItsName) {
  FlushCapabilities owner = Native();
  owner.needs.durable = true;
  owner.needs.insist = FlushMethod::kReadAfterWrite;
  EXPECT_TRUE(ChooseFlush(Native(), owner).unsafe);
  owner.needs.insist = FlushMethod::kNone;
  EXPECT_TRUE(ChooseFlush(Native(), owner).unsafe);
  owner.needs.insist = FlushMethod::kReceiverFlush;
  EXPECT_FALSE(ChooseFlush(Native(), owner).unsafe);
  owner.needs.insist = FlushMethod::kNativeFlush;
  EXPECT_FALSE(ChooseFlush(Native(), owner).unsafe);
  EXPECT_TRUE(ChooseFlush({}, owner).impossible);
}

TEST(ChooseFlush, CapabilitiesTravel) {
  FlushCapabilities all = Native();
  all.needs = {.durable = true,
               .caches_are_durable = true,
               .writes_bypass_caches = true,
               .insist = FlushMethod::kReceiverFlush};
  EXPECT_EQ(EncodeFlushCapabilities(
                DecodeFlushCapabilities(EncodeFlushCapabilities(all))),
            EncodeFlushCapabilities(all));
  EXPECT_FALSE(DecodeFlushCapabilities(~uint32_t{0}).needs.insist.has_value());
}

TEST(SetupMessage, OnlyWholeAndPossibleOnesAreBelieved) {
  verbs::SetupMessage good;
  good.credits = 32;
  good.mtu_bytes = 1024;
  const std::string bytes = verbs::EncodeSetup(good, "hello");
  const auto decoded = verbs::DecodeSetup(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->text, "hello");
  for (size_t length = 0; length < sizeof(good); ++length) {
    EXPECT_FALSE(verbs::DecodeSetup(bytes.substr(0, length)).ok());
  }
  EXPECT_FALSE(
      verbs::DecodeSetup(
          verbs::EncodeSetup(good, std::string(kMaxHelloBytes + 1, 'x')))
          .ok());
  const auto refused = [&](auto change) {
    verbs::SetupMessage bad = good;
    change(bad);
    return !verbs::DecodeSetup(verbs::EncodeSetup(bad, "")).ok();
  };
  EXPECT_TRUE(refused([](auto& m) { m.magic = 1; }));
  EXPECT_TRUE(refused([](auto& m) { m.version = 9; }));
  EXPECT_TRUE(refused([](auto& m) { m.queue_pair = 1 << 24; }));
  EXPECT_TRUE(refused([](auto& m) { m.packet_sequence = 1 << 24; }));
  EXPECT_TRUE(refused([](auto& m) { m.mtu_bytes = 1000; }));
  EXPECT_TRUE(refused([](auto& m) { m.credits = 0; }));
  EXPECT_TRUE(refused([](auto& m) { m.read_depth = 256; }));
  EXPECT_TRUE(refused([](auto& m) { m.kind = verbs::SetupKind{9}; }));
}

}  // namespace
}  // namespace whale::fabric

// The conformance suite on verbs. Needs an RDMA device: without one it says so
// and skips, unless WHALE_REQUIRE_RDMA is set (as in the guest), then it fails.
// WHALE_VERBS has the options (ParseVerbsOptions). With WHALE_NATIVE_FLUSH set,
// also with native FLUSH, which adapter and libibverbs must then have.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "common/check.h"
#include "common/clock.h"
#include "fabric/conformance/hostile_fixture.h"
#include "fabric/conformance/suite.h"
#include "fabric/shared_memory.h"
#include "fabric/verbs/local_exchange.h"
#include "fabric/verbs/setup_message.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric {
namespace {

VerbsOptions TestOptions() {
  const char* text = std::getenv("WHALE_VERBS");
  auto options = ParseVerbsOptions(text == nullptr ? "" : text);
  WHALE_CHECK(options.ok());
  options->max_connections = 40;
  return *std::move(options);
}

// Tells its own end, once it forges, that peers take any number of messages.
class ForgingExchange : public Exchange {
 public:
  ForgingExchange(std::unique_ptr<Exchange> exchange, const bool* forges)
      : exchange_(std::move(exchange)), forges_(forges) {}

  std::string address() const override { return exchange_->address(); }
  void SetWake(std::function<void()> wake) override {
    exchange_->SetWake(std::move(wake));
  }
  uint64_t Call(const std::string& address) override {
    return exchange_->Call(address);
  }
  void Send(uint64_t call, std::string message) override {
    exchange_->Send(call, std::move(message));
  }
  void End(uint64_t call) override { exchange_->End(call); }
  bool Take(Event* event) override {
    if (!exchange_->Take(event)) return false;
    if (*forges_ && event->kind == Kind::kMessage) {
      auto setup = verbs::DecodeSetup(event->text);
      WHALE_CHECK(setup.ok());
      setup->message.credits = UINT16_MAX;
      event->text = verbs::EncodeSetup(setup->message, setup->text);
    }
    return true;
  }

 private:
  const std::unique_ptr<Exchange> exchange_;
  const bool* const forges_;
};

class VerbsFixture : public ProviderFixture {
 public:
  explicit VerbsFixture(const VerbsOptions& options) {
    for (size_t i = 0; i < fabrics_.size(); ++i) {
      auto fabric = CreateVerbsFabric(
          options, std::make_unique<ForgingExchange>(
                       hub_.Listen("end-" + std::to_string(i)), &forges_[i]));
      if (!fabric.ok()) std::cerr << fabric.status() << "\n";
      WHALE_CHECK(fabric.ok());
      fabrics_[i] = *std::move(fabric);
    }
  }
  ~VerbsFixture() override {
    for (auto& fabric : fabrics_) fabric.reset();
  }

  Fabric& fabric(size_t index) override { return *fabrics_[index]; }
  Memory MakeMemory(size_t index, size_t length_bytes) override {
    auto memory = SharedMemory::Create(length_bytes, "conformance");
    WHALE_CHECK(memory.ok());
    memories_.push_back(*std::move(memory));
    return memories_.back().memory();
  }
  int64_t NowNs() override { return clock_.NowNs(); }
  bool ForgeRoom(size_t index) override { return forges_[index] = true; }
  std::string DeadAddress() override { return "nobody"; }

 private:
  LocalExchangeHub hub_;
  std::array<bool, 3> forges_ = {};
  std::vector<SharedMemory> memories_;
  std::array<std::unique_ptr<VerbsFabric>, 3> fabrics_;
  BootClock clock_;
};

std::unique_ptr<ProviderFixture> MakeWith(FlushMethod method) {
  VerbsOptions options = TestOptions();
  options.flush.insist = method;
  options.persist = [](const std::byte*, size_t) {};
  return std::make_unique<VerbsFixture>(options);
}

// The whole suite once, and once more with what differs below it.
std::vector<Provider> MakeProviders() {
  const absl::Status usable = VerbsHostAddress(TestOptions()).status();
  if (!usable.ok()) {
    std::cerr << (std::getenv("WHALE_REQUIRE_RDMA") ? "FAILED" : "SKIPPED")
              << ": no verbs here: " << usable << "\n";
    if (std::getenv("WHALE_REQUIRE_RDMA") != nullptr) std::exit(1);
    return {};
  }
  std::vector<Provider> providers = {
      {"verbs", [] { return std::make_unique<VerbsFixture>(TestOptions()); }},
      {"receiverflush", [] { return MakeWith(FlushMethod::kReceiverFlush); }},
      {"hostile", [] {
         return std::make_unique<HostileFixture<VerbsFixture>>(1,
                                                               TestOptions());
       }}};
  if (std::getenv("WHALE_NATIVE_FLUSH") != nullptr) {
    providers.push_back(
        {"nativeflush", [] { return MakeWith(FlushMethod::kNativeFlush); }});
  }
  return providers;
}

// Asked for by every test of the suite.
const std::vector<Provider>& Providers() {
  static const std::vector<Provider>* const providers =
      new std::vector<Provider>(MakeProviders());
  return *providers;
}

INSTANTIATE_TEST_SUITE_P(Verbs, FabricConformance,
                         testing::ValuesIn(Providers()),
                         [](const auto& info) { return info.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FabricConformance);

// Polls both until `fabric` reports an event of this kind.
Event Await(VerbsFixture& fixture, size_t index, EventKind kind) {
  std::array<Event, 8> events;
  for (int i = 0; i < 100'000'000; ++i) {
    for (const size_t end : {size_t{0}, size_t{1}}) {
      const size_t count = fixture.fabric(end).Poll(events);
      for (size_t e = 0; e < count; ++e) {
        if (events[e].kind == EventKind::kConnectRequest) {
          fixture.fabric(end).Accept(events[e].connection, {});
        }
        if (end == index && events[e].kind == kind) return events[e];
      }
    }
  }
  ADD_FAILURE() << "no " << EventKindName(kind);
  return {};
}

// A grant up to a piece's size works wherever it lies; a longer one that no
// piece covers is of no use rather than of wrong use.
TEST(VerbsRegions, AGrantLiesInOnePieceOfALargeRegion) {
  if (Providers().empty()) GTEST_SKIP() << "no RDMA device here";
  constexpr uint64_t kPiece = 1 << 20;
  VerbsOptions options = TestOptions();
  options.registration_piece_bytes = kPiece;
  VerbsFixture fixture(options);
  Fabric& owner = fixture.fabric(1);
  const Memory memory = fixture.MakeMemory(1, 5 * kPiece + 4096);
  const auto region = owner.Register(memory, {.remote_write = true});
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(owner.MakeGrant(*region, 0, memory.length_bytes).key, 0u);
  const ConnectionId link = fixture.fabric(0).Connect(owner.address(), {});
  Await(fixture, 0, EventKind::kConnected);
  std::byte mark{1};
  for (uint64_t at = 0; at + kPiece <= memory.length_bytes; at += kPiece / 2) {
    const Grant grant = owner.MakeGrant(*region, at, kPiece);
    ASSERT_EQ(grant.address, reinterpret_cast<uint64_t>(memory.base) + at);
    const WorkRequest write{.opcode = Opcode::kWrite,
                            .signaled = true,
                            .inline_data = true,
                            .local = &mark,
                            .length_bytes = 1,
                            .remote_key = grant.key,
                            .remote_address = grant.address + kPiece - 1};
    ASSERT_EQ(fixture.fabric(0).Post(link, std::span(&write, 1)),
              PostResult::kOk);
    ASSERT_EQ(Await(fixture, 0, EventKind::kCompleted).outcome, Outcome::kOk);
  }
  owner.Deregister(*region);
  EXPECT_EQ(owner.MakeGrant(*region, 0, 8).key, 0u);
}

// Of memory that is large enough each piece is told of, from several threads
// but one after the other, and the last one says that all is done.
TEST(VerbsRegions, ALargeRegionTellsHowFarItIs) {
  if (Providers().empty()) GTEST_SKIP() << "no RDMA device here";
  constexpr uint64_t kPiece = 1 << 20;
  std::vector<int> told;  // MiB
  VerbsOptions options = TestOptions();
  options.registration_piece_bytes = kPiece;
  options.registration_tell_bytes = 5 * kPiece;
  options.inform = [&told](std::string_view text) {
    int done = 0;
    if (std::sscanf(std::string(text).c_str(), "registered %d of 5 MiB with",
                    &done) == 1) {
      told.push_back(done);
    }
  };
  LocalExchangeHub hub;
  const auto fabric = CreateVerbsFabric(options, hub.Listen("end"));
  ASSERT_TRUE(fabric.ok()) << fabric.status();
  const auto memory = SharedMemory::Create(5 * kPiece, "large");
  ASSERT_TRUE(memory.ok()) << memory.status();
  ASSERT_TRUE((*fabric)->Register(memory->memory(), {}).ok());
  // Pieces overlap by as much as they are long here: the last one, whenever it
  // was done, counts twice.
  ASSERT_EQ(told.size(), 4u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_LE(told.front(), 2);
  EXPECT_EQ(told.back(), 5);
  Memory small = memory->memory();
  small.length_bytes -= 4096;
  ASSERT_TRUE((*fabric)->Register(small, {}).ok());
  EXPECT_EQ(told.size(), 4u);
}

// A native FLUSH of memory that has none would break the connection: what
// cannot be made durable so is flushed by its owner. Ordinary memory is not
// persistent.
TEST(VerbsRegions, MemoryWithoutFlushIsFlushedByItsOwner) {
  if (Providers().empty() || std::getenv("WHALE_NATIVE_FLUSH") == nullptr) {
    GTEST_SKIP() << "no native FLUSH here";
  }
  VerbsOptions options = TestOptions();
  options.flush.durable = true;
  options.persist = [](const std::byte*, size_t) {};
  VerbsFixture fixture(options);
  const Memory memory = fixture.MakeMemory(1, 4096);
  Fabric& owner = fixture.fabric(1);
  ASSERT_TRUE(owner.Register(memory, {.remote_write = true}).ok());
  const ConnectionId link = fixture.fabric(0).Connect(owner.address(), {});
  Await(fixture, 0, EventKind::kConnected);
  EXPECT_EQ(fixture.fabric(0).flush_method(link), FlushMethod::kReceiverFlush);
}

}  // namespace
}  // namespace whale::fabric

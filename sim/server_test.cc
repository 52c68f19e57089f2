// One server among peers and clients that are made here, message by message:
// for what no honest neighbour does, or does once in a thousand runs.
#include "node/server.h"

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "chain/cells.h"
#include "common/hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "logstore/log.h"
#include "logstore/metadata_record.h"
#include "proto/peer_messages.h"
#include "sim/server_node.h"
#include "sim/sim_fabric.h"

namespace whale::sim {
namespace {

using fabric::ConnectionId;
using fabric::EventKind;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSegmentBytes = 64 << 10;
constexpr uint32_t kRingSlots = 64;
constexpr uint64_t kPeerIncarnation = 7;
constexpr size_t kPairBytes = 2 * logstore::kCellBytes;

// Each message takes the same time, so that those sent together arrive so. A
// queue that nobody empties stays full for long.
NetworkOptions Network() {
  NetworkOptions options;
  options.min_delay_ns = options.max_delay_ns = 10 * kMicrosecond;
  options.message_depth = 16;
  options.receive_buffers = 1024;
  options.retry_ns = 100 * kSecond;
  options.max_connections = 24;
  return options;
}

ServerNodeOptions OptionsOf(uint32_t id) {
  ServerNodeOptions options;
  options.id = ServerId(id);
  options.geometry.server = options.id;
  options.geometry.shard_count = 1;
  options.geometry.segment_bytes = kSegmentBytes;
  options.geometry.segment_slots = 16;
  options.geometry.ring_slots = kRingSlots;
  options.geometry.pool_uuid.fill(static_cast<uint8_t>(id));
  return options;
}

template <typename T>
std::string BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A neighbour of the server: a fabric, some memory, and what it has received.
class Neighbour {
 public:
  Neighbour(World* world, SimNetwork* network, uint32_t node)
      : world_(world),
        memory_(1 << 16, pmem::Survives::kProcess),
        fabric_(network, node, &memory_) {
    region_ = fabric_
                  .Register({memory_.base(), memory_.length_bytes()},
                            {true, true, false})
                  .value();
  }

  ConnectionId Connect(uint32_t to, const wire::Hello& hello) {
    const ConnectionId connection = fabric_.Connect(
        "sim:" + std::to_string(to), std::as_bytes(std::span(&hello, 1)));
    EXPECT_TRUE(RunUntil([&] { return connected_ > 0; }));
    --connected_;
    return connection;
  }

  void Close(ConnectionId connection) { fabric_.Close(connection); }

  // Why the server lets nobody in who says this.
  std::string Refusal(uint32_t to, std::string_view hello) {
    refusal_.clear();
    fabric_.Connect("sim:" + std::to_string(to),
                    std::as_bytes(std::span(hello)));
    EXPECT_TRUE(RunUntil([&] { return !refusal_.empty(); }));
    return refusal_;
  }

  // False: it is not taken, because the connection is gone.
  bool Send(ConnectionId connection, std::string_view message) {
    std::byte* room = nullptr;
    for (int i = 0; i < 100 && room == nullptr; ++i) {
      room = fabric_.BeginMessage(connection, message.size());
      if (room == nullptr) world_->RunUntil(world_->now_ns() + kMillisecond);
    }
    if (room == nullptr) return false;
    std::memcpy(room, message.data(), message.size());
    fabric_.EndMessage(connection, message.size());
    fabric_.FlushMessages();
    return true;
  }

  wire::BufferGrant Grant(size_t offset, size_t length_bytes) {
    const fabric::Grant grant =
        fabric_.MakeGrant(region_, offset, length_bytes);
    return {grant.key, grant.address, grant.length_bytes};
  }
  std::byte* memory() { return memory_.base(); }

  // Takes what has come; connections are accepted.
  void Poll() {
    std::vector<fabric::Event> events(64);
    for (size_t count; (count = fabric_.Poll(events)) > 0;) {
      for (size_t i = 0; i < count; ++i) Take(events[i]);
    }
  }
  bool RunUntil(const std::function<bool()>& done) {
    const int64_t end_ns = world_->now_ns() + kSecond;
    for (Poll(); !done(); Poll()) {
      if (!world_->RunOne(end_ns)) return false;
    }
    return true;
  }

  const std::vector<std::string>& messages() const { return messages_; }
  int disconnected() const { return disconnected_; }

 private:
  void Take(const fabric::Event& event) {
    switch (event.kind) {
      case EventKind::kConnectRequest:
        fabric_.Accept(event.connection, {});
        accepted_.push_back(event.connection);
        return;
      case EventKind::kConnected:
        connected_ += std::count(accepted_.begin(), accepted_.end(),
                                 event.connection) == 0;
        return;
      case EventKind::kConnectFailed:
        refusal_ = std::string(event.detail);
        return;
      case EventKind::kReceived:
        messages_.emplace_back(reinterpret_cast<const char*>(event.data),
                               event.length_bytes);
        return;
      case EventKind::kDisconnected:
        ++disconnected_;
        return;
      default:
        return;
    }
  }

  World* const world_;
  SimMemory memory_;
  SimFabric fabric_;
  fabric::RegionId region_;
  std::vector<ConnectionId> accepted_;
  std::vector<std::string> messages_;
  std::string refusal_;
  int connected_ = 0;
  int disconnected_ = 0;
};

class ServerTest : public ::testing::Test {
 protected:
  // The server under test is `id`.
  explicit ServerTest(uint32_t id = 1)
      : id_(id),
        network_(&world_, Network()),
        server_(&world_, &network_, OptionsOf(id),
                [](const proto::ServerReport&) {}) {
    network_.set_waker([this](uint32_t node) {
      if (node == id_) server_.Wake();
    });
    EXPECT_TRUE(server_.Start().ok());
  }

  proto::Directive Directive() const {
    proto::Directive directive;
    directive.set_cluster_uuid(std::string(16, 'c'));
    return directive;
  }
  // Makes the shard active with these members.
  void Activate(proto::Directive directive, uint64_t epoch,
                const std::vector<uint32_t>& members) {
    proto::ShardDirective* shard = directive.add_shards();
    shard->set_step(proto::STEP_ACTIVATE);
    shard->set_epoch(epoch);
    for (uint32_t member : members) {
      shard->add_members(member);
      shard->add_member_incarnations(kPeerIncarnation);
    }
    shard->set_committed(kSegmentBytes);
    shard->set_start(kSegmentBytes);
    proto::EpochStart* start = shard->add_history();
    start->set_epoch(epoch);
    start->set_start(kSegmentBytes);
    shard->mutable_policy()->set_window_bytes(1 << 20);
    shard->mutable_policy()->set_session_lease_us(60'000'000);
    server_.OnDirective(directive);
    Run(10 * kMillisecond);
    ASSERT_EQ(Report().shards(0).phase(), proto::SHARD_ACTIVE);
  }
  void Run(int64_t ns) { world_.RunUntil(world_.now_ns() + ns); }
  const proto::ServerReport& Report() {
    return server_.server()->last_report();
  }

  const uint32_t id_;
  World world_{1};
  SimNetwork network_;
  ServerNode server_;
};

// ------------------------------------------------------------------ peers

// The server is 2, and a backup; its primary is made here.
class BackupTest : public ServerTest {
 protected:
  BackupTest() : ServerTest(2), primary_(&world_, &network_, 1) {
    directive_ = Directive();
    proto::Peer* peer = directive_.add_peers();
    peer->set_server_id(1);
    peer->set_incarnation(kPeerIncarnation);
    peer->set_fabric_address("sim:1");
    server_.OnDirective(directive_);
    Run(kMillisecond);
    wire::Hello hello{};
    hello.magic = wire::kHelloMagic;
    hello.protocol_version = wire::kProtocolVersion;
    hello.purpose = wire::Purpose::kChain;
    std::memset(hello.cluster_uuid, 'c', sizeof(hello.cluster_uuid));
    hello.from_server = 1;
    hello.to_server = 2;
    hello.from_incarnation = kPeerIncarnation;
    hello.to_incarnation = server_.incarnation().value();
    chain_ = primary_.Connect(2, hello);
    Run(kMillisecond);
  }

  wire::PeerHeader Header(wire::PeerMessageType type, uint64_t epoch) const {
    return {.type = type, .epoch = epoch};
  }
  wire::PrimaryReady PrimaryReady(uint64_t epoch) {
    wire::PrimaryReady message{};
    message.header = Header(wire::PeerMessageType::kPrimaryReady, epoch);
    message.commit_cells = primary_.Grant(0, kPairBytes);
    message.progress_cells = primary_.Grant(kPairBytes, kPairBytes);
    return message;
  }
  // The server has taken PrimaryReady: it tells its progress.
  bool TellsProgress(uint64_t epoch) {
    return metadata_mcast::NewestWhole<chain::ProgressCell>(
               primary_.memory() + kPairBytes, Epoch(epoch))
        .has_value();
  }

  proto::Directive directive_;
  Neighbour primary_;
  ConnectionId chain_;
};

TEST_F(BackupTest, MessagesOfEndedEpochsDoNotPushOutThoseOfTheNext) {
  for (int i = 0; i < 5000; ++i) {
    primary_.Send(chain_, BytesOf(Header(wire::PeerMessageType::kWake, 1)));
  }
  primary_.Send(chain_, BytesOf(PrimaryReady(2)));
  for (int i = 0; i < 5000; ++i) {
    primary_.Send(chain_, BytesOf(Header(wire::PeerMessageType::kWake, 2)));
  }
  Run(10 * kMillisecond);
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  Run(100 * kMillisecond);
  EXPECT_TRUE(TellsProgress(2));
  EXPECT_THAT(Report().dead_peers(), IsEmpty());
}

TEST_F(BackupTest, MessageThatMakesNoSenseEndsTheEpoch) {
  const std::string good = BytesOf(PrimaryReady(2));
  wire::PrimaryReady no_cells = PrimaryReady(2);
  no_cells.progress_cells.length_bytes = kPairBytes - 1;
  wire::PeerHeader grants = Header(wire::PeerMessageType::kSegmentGrants, 2);
  grants.count = 3;  // and none follow
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  EXPECT_THAT(Report().dead_peers(), IsEmpty());
  for (const std::string& bad :
       {good.substr(0, good.size() - 1), BytesOf(no_cells), BytesOf(grants),
        BytesOf(Header(wire::PeerMessageType{99}, 2)), good.substr(0, 4)}) {
    const uint64_t before = server_.server()->counters().bad_messages;
    primary_.Send(chain_, bad);
    Run(100 * kMillisecond);
    EXPECT_EQ(server_.server()->counters().bad_messages, before + 1);
    EXPECT_THAT(Report().dead_peers(), ElementsAre(1));
  }
  EXPECT_THAT(server_.warning(), HasSubstr("server 1"));
}

// The coordinator grants a lease for another shard of this server, and says in
// the same breath that this one's epoch ends. A write to a peer is in flight,
// so the epoch is not over with this turn.
TEST_F(BackupTest, LeaseDoesNotCountForAShardWhoseEpochEnds) {
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  Neighbour client(&world_, &network_, 101);
  wire::Hello hello{};
  hello.magic = wire::kHelloMagic;
  hello.protocol_version = wire::kProtocolVersion;
  hello.purpose = wire::Purpose::kClient;
  hello.to_server = 2;
  const ConnectionId connection = client.Connect(2, hello);
  wire::Request get{};
  get.type = wire::RequestType::kGet;
  get.key_bytes = 1;
  get.epoch = 2;
  size_t answers = 0;
  const auto answer = [&] {
    ++answers;
    EXPECT_TRUE(
        client.RunUntil([&] { return client.messages().size() == answers; }));
    wire::Reply reply;
    std::memcpy(&reply, client.messages().back().data(), sizeof(reply));
    return reply.result;
  };
  // Told in one turn with the get.
  const auto told_while_asked = [&](const proto::Directive& directive) {
    server_.PauseUntil(world_.now_ns() + kMillisecond);
    client.Send(connection, BytesOf(get) + "k");
    Run(100 * kMicrosecond);
    server_.OnDirective(directive);
    return answer();
  };

  network_.CutLink(2, 1);
  primary_.Send(chain_, BytesOf(PrimaryReady(2)));
  Run(20 * kMillisecond);  // it has tried to tell its progress
  directive_.mutable_shards()->Clear();
  proto::ShardDirective* shard = directive_.add_shards();
  shard->set_step(proto::STEP_ACTIVATE);
  shard->set_epoch(2);
  directive_.set_lease_us(1'000'000);
  directive_.set_lease_for_sequence(Report().sequence());
  EXPECT_EQ(told_while_asked(directive_), wire::Result::kNotFound);
  shard->set_step(proto::STEP_STOP);
  shard->set_epoch(3);
  shard->add_members(1);
  shard->add_member_incarnations(kPeerIncarnation);
  directive_.set_lease_for_sequence(Report().sequence());
  EXPECT_NE(told_while_asked(directive_), wire::Result::kNotFound);
  EXPECT_EQ(Report().shards(0).phase(), proto::SHARD_ACTIVE);  // not drained
}

// A change is given up after this server has sealed for it, and begun anew: a
// write of the epoch before may be in flight to one that has not.
TEST_F(BackupTest, WhoSealedForAChangeThatWasGivenUpHasNotStoppedForTheNext) {
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  network_.CutLink(2, 1);
  primary_.Send(chain_, BytesOf(PrimaryReady(2)));
  Run(20 * kMillisecond);  // it has tried to tell its progress
  directive_.mutable_shards()->Clear();
  proto::ShardDirective* shard = directive_.add_shards();
  for (const uint32_t member : {1, 2}) {
    shard->add_members(member);
    shard->add_member_incarnations(kPeerIncarnation);
  }
  const auto told = [&](proto::ShardStep step, uint64_t epoch) {
    shard->set_step(step);
    shard->set_epoch(epoch);
    server_.OnDirective(directive_);
    Run(10 * kMillisecond);
    EXPECT_EQ(Report().shards(0).ended_epoch(), epoch);
    return Report().shards(0).phase();
  };
  EXPECT_EQ(told(proto::STEP_SEAL, 3), proto::SHARD_SEALED);
  EXPECT_EQ(told(proto::STEP_STOP, 4), proto::SHARD_ADOPTED);
  EXPECT_EQ(told(proto::STEP_SEAL, 4), proto::SHARD_SEALED);
  EXPECT_EQ(told(proto::STEP_SEAL, 4), proto::SHARD_SEALED);
}

// The primary of a later epoch uses the memory again that what is in flight to
// a server that was left out is read from.
TEST_F(BackupTest, WithoutALeaseWhatIsUnreadableIsNoDamage) {
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  metadata_mcast::StoreOwnCell(
      server_.pool()->Area(ShardId(0)).delivery_cells,
      metadata_mcast::DeliveryCell{.epoch = 2,
                                   .delivered = kSegmentBytes + 64,
                                   .committed = kSegmentBytes,
                                   .sequence = 1});
  Run(kSecond);
  EXPECT_FALSE(Report().shards(0).damaged());
  directive_.mutable_shards()->Clear();
  proto::ShardDirective* shard = directive_.add_shards();
  shard->set_step(proto::STEP_ACTIVATE);
  shard->set_epoch(2);
  directive_.set_lease_us(10'000'000);
  directive_.set_lease_for_sequence(Report().sequence());
  server_.OnDirective(directive_);
  Run(kSecond);
  EXPECT_TRUE(Report().shards(0).damaged());
}

// A hole of the last epoch whose record the primary sends by value in this one:
// the chain passes it over, and may be first.
TEST_F(BackupTest, TheChainSaysNothingOfWhatIsStillToBeDelivered) {
  primary_.Poll();
  Activate(directive_, 2, {1, 2});
  const logstore::ShardArea area = server_.pool()->Area(ShardId(0));
  const logstore::Log log(server_.pool(), ShardId(0));
  const std::string key = "key";
  const std::string value(200, 'v');
  struct {
    logstore::RecordHeader header;
    char body[208];
  } record{};
  record.header.magic = logstore::kRecordMagic;
  record.header.type = logstore::RecordType::kPut;
  record.header.epoch_low = 2;
  record.header.key_bytes = key.size();
  record.header.value_bytes = value.size();
  record.header.lsn = kSegmentBytes;
  std::memcpy(record.body, (key + value).data(), key.size() + value.size());
  record.header.checksum = logstore::ChecksumInPlace(
      reinterpret_cast<const std::byte*>(&record.header));
  const uint64_t end = kSegmentBytes + logstore::RecordBytes(record.header);
  const auto deliver = [&](uint64_t epoch, uint64_t ring_position) {
    metadata_mcast::DeliveryCell cell{.epoch = epoch,
                                      .delivered = end,
                                      .committed = kSegmentBytes,
                                      .ring_position = ring_position,
                                      .sequence = 1};
    metadata_mcast::StoreOwnCell(area.delivery_cells, cell);
    Run(100 * kMillisecond);
  };
  const logstore::MetadataRecord metadata =
      logstore::MakeMetadataRecord(record.header, HashKey(key));
  for (std::byte* ring : area.rings) {
    std::memcpy(ring, &metadata, sizeof(metadata));
  }
  deliver(2, 1);
  ASSERT_EQ(Report().shards(0).holes_size(), 1);

  directive_.mutable_shards()->Clear();
  proto::ShardDirective* shard = directive_.add_shards();
  for (const uint32_t member : {1, 2}) {
    shard->add_members(member);
    shard->add_member_incarnations(kPeerIncarnation);
  }
  shard->set_epoch(3);
  for (const auto step : {proto::STEP_STOP, proto::STEP_SEAL}) {
    shard->set_step(step);
    server_.OnDirective(directive_);
    Run(10 * kMillisecond);
  }
  ASSERT_EQ(Report().shards(0).phase(), proto::SHARD_SEALED);
  shard->set_step(proto::STEP_ACTIVATE);
  shard->set_committed(end);
  shard->set_start(end);
  for (const auto& [epoch, start] :
       {std::pair{2, kSegmentBytes}, std::pair{3, end}}) {
    proto::EpochStart* added = shard->add_history();
    added->set_epoch(epoch);
    added->set_start(start);
  }
  shard->mutable_policy()->set_window_bytes(1 << 20);
  shard->mutable_policy()->set_by_value_max_bytes(4096);
  server_.OnDirective(directive_);
  Run(10 * kMillisecond);
  ASSERT_EQ(Report().shards(0).phase(), proto::SHARD_ACTIVE);
  metadata_mcast::StoreOwnCell(
      area.chain_cells,
      chain::ChainCell{.epoch = 3, .sent_upto = end, .sequence = 1});
  Run(kSecond);
  EXPECT_FALSE(Report().shards(0).damaged());
  std::memcpy(log.At(Lsn(kSegmentBytes)), &record, sizeof(record));
  deliver(3, 0);
  Run(kSecond);
  EXPECT_EQ(Report().shards(0).durable(), end);
}

// With one peer 12 of the 24 connections are for servers.
TEST_F(BackupTest, ClientsDoNotTakeTheConnectionsOfServers) {
  wire::Hello hello{};
  hello.magic = wire::kHelloMagic;
  hello.protocol_version = wire::kProtocolVersion;
  hello.purpose = wire::Purpose::kClient;
  hello.to_server = 2;
  Neighbour clients(&world_, &network_, 101);
  std::vector<ConnectionId> connections;
  for (int i = 0; i < 12; ++i) {
    connections.push_back(clients.Connect(2, hello));
  }
  EXPECT_THAT(clients.Refusal(2, BytesOf(hello)),
              AllOf(HasSubstr("all 12 connections"),
                    HasSubstr("12 more are for servers")));
  // One that ends makes room for another.
  clients.Close(connections.back());
  Run(10 * kMillisecond);
  clients.Connect(2, hello);
  hello.purpose = wire::Purpose::kDelivery;
  std::memset(hello.cluster_uuid, 'c', sizeof(hello.cluster_uuid));
  hello.from_server = 1;
  hello.from_incarnation = kPeerIncarnation;
  hello.to_incarnation = server_.incarnation().value();
  primary_.Connect(2, hello);
}

// ---------------------------------------------------------------- clients

// The server is the only member.
class ClientsTest : public ServerTest {
 protected:
  static constexpr uint32_t kCredits = 256;

  ClientsTest() { Activate(Directive(), 1, {1}); }

  static wire::Hello Hello() {
    wire::Hello hello{};
    hello.magic = wire::kHelloMagic;
    hello.protocol_version = wire::kProtocolVersion;
    hello.purpose = wire::Purpose::kClient;
    hello.to_server = 1;
    return hello;
  }
  ConnectionId ConnectClient(Neighbour& client) {
    return client.Connect(1, Hello());
  }
  wire::Request Request(wire::RequestType type, size_t key_bytes) {
    wire::Request request{};
    request.type = type;
    request.key_bytes = static_cast<uint16_t>(key_bytes);
    request.tag = ++tag_;
    request.epoch = 1;
    return request;
  }
  std::string Get(std::string_view key) {
    return BytesOf(Request(wire::RequestType::kGet, key.size())) +
           std::string(key);
  }
  std::string OpenSession(uint64_t session) {
    wire::Request request = Request(wire::RequestType::kOpenSession, 0);
    request.session = session;
    return BytesOf(request);
  }
  wire::Request Put(uint64_t session, size_t value_bytes) {
    wire::Request request = Request(wire::RequestType::kPut, 1);
    request.session = session;
    request.request = 1;
    request.value_bytes = static_cast<uint32_t>(value_bytes);
    return request;
  }
  static wire::Result ResultOf(const std::string& message) {
    wire::Reply reply;
    std::memcpy(&reply, message.data(), sizeof(reply));
    return reply.result;
  }

  uint64_t tag_ = 0;
};

TEST_F(ClientsTest, HelloThatDoesNotFitIsRefusedWithTheReason) {
  Neighbour client(&world_, &network_, 101);
  const auto refusal = [&](const auto& change) {
    wire::Hello hello = Hello();
    change(hello);
    return client.Refusal(1, BytesOf(hello));
  };
  EXPECT_THAT(refusal([](auto& h) { h.protocol_version = 99; }),
              AllOf(HasSubstr("protocol version 99"),
                    HasSubstr("use the same release")));
  EXPECT_THAT(refusal([](auto& h) { h.magic = 1; }), HasSubstr("not a hello"));
  EXPECT_THAT(refusal([](auto& h) { h.to_server = 2; }),
              HasSubstr("another server"));
  EXPECT_THAT(refusal([](auto& h) { h.cluster_uuid[0] = 'x'; }),
              HasSubstr("another cluster"));
  EXPECT_THAT(refusal([](auto& h) {
                std::memset(h.cluster_uuid, 'c', sizeof(h.cluster_uuid));
                h.purpose = wire::Purpose{77};
              }),
              HasSubstr("unknown purpose"));
  EXPECT_THAT(client.Refusal(1, "hello"), HasSubstr("not a hello"));
  EXPECT_EQ(server_.server()->counters().connections, 0);
}

TEST_F(ClientsTest, AllCreditsMayBeUsedAtOnce) {
  Neighbour client(&world_, &network_, 101);
  const ConnectionId connection = ConnectClient(client);
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < kCredits; ++i) {
      ASSERT_TRUE(client.Send(connection, Get("k")));
    }
    const size_t expected = kCredits * (round + 1);
    EXPECT_TRUE(
        client.RunUntil([&] { return client.messages().size() == expected; }));
  }
  EXPECT_EQ(client.disconnected(), 0);
}

TEST_F(ClientsTest, ClientThatTakesNoAnswersIsClosedAtItsCredits) {
  Neighbour client(&world_, &network_, 101);
  const ConnectionId connection = ConnectClient(client);
  // What the client does not poll, and the server's send queue, hold some.
  const size_t in_queues = Network().receive_buffers + Network().message_depth;
  for (size_t i = 0; i < in_queues + kCredits; ++i) {
    ASSERT_TRUE(client.Send(connection, Get("k"))) << i;
    Run(100 * kMicrosecond);
  }
  EXPECT_EQ(server_.server()->counters().connections, 1);
  EXPECT_EQ(server_.warning(), "");
  client.Send(connection, Get("k"));
  Run(10 * kMillisecond);
  EXPECT_EQ(server_.server()->counters().connections, 0);
  EXPECT_EQ(server_.server()->counters().bad_messages, 1);
  EXPECT_THAT(server_.warning(), HasSubstr("more than its 256 requests"));
}

TEST_F(ClientsTest, ValueOfAClientThatIsClosedHoldsUpNobody) {
  Neighbour bad(&world_, &network_, 101);
  Neighbour good(&world_, &network_, 102);
  const ConnectionId to_bad = ConnectClient(bad);
  const ConnectionId to_good = ConnectClient(good);
  bad.Send(to_bad, OpenSession(1));
  ASSERT_TRUE(bad.RunUntil([&] { return bad.messages().size() == 1; }));
  good.Send(to_good, OpenSession(2));
  ASSERT_TRUE(good.RunUntil([&] { return good.messages().size() == 1; }));

  // The server begins to READ the value and then closes the connection.
  wire::Request put = Put(1, 3000);
  put.flags = wire::kHasBuffer;
  bad.Send(to_bad, BytesOf(put) + BytesOf(bad.Grant(0, 3000)) + "k");
  bad.Send(to_bad, "malformed");
  Run(kMillisecond);
  EXPECT_EQ(server_.server()->counters().connections, 1);

  good.Send(to_good, BytesOf(Put(2, 5)) + "k" + "value");
  ASSERT_TRUE(good.RunUntil([&] { return good.messages().size() == 2; }));
  EXPECT_EQ(ResultOf(good.messages()[1]), wire::Result::kOk);
}

}  // namespace
}  // namespace whale::sim

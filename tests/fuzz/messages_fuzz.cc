// Messages of clients and of other servers to a server, as bytes.
//
// A real server in the simulator, alone or as a backup or the primary of a
// neighbour that is made here. The input is a list of messages: as they are,
// or with those fields made right that would have them refused at once.
// Whatever comes, the server lives, and a client that behaves is answered.
#include <cstring>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/units.h"
#include "proto/peer_messages.h"
#include "proto/wire.h"
#include "sim/server_node.h"
#include "sim/sim_fabric.h"
#include "tests/fuzz/input.h"

namespace whale::sim {
namespace {

using fabric::ConnectionId;
using fabric::EventKind;

constexpr uint64_t kSegmentBytes = 64 << 10;
constexpr uint32_t kLargestValueBytes = kSegmentBytes / 2;
constexpr uint32_t kServer = 2;
constexpr uint32_t kPeer = 1;
constexpr uint64_t kPeerIncarnation = 7;
constexpr uint64_t kEpoch = 2;

NetworkOptions Network() {
  NetworkOptions options;
  options.min_delay_ns = options.max_delay_ns = 10 * kMicrosecond;
  return options;
}

ServerNodeOptions ServerOptions() {
  ServerNodeOptions options;
  options.id = ServerId(kServer);
  options.geometry.server = options.id;
  options.geometry.shard_count = 1;
  options.geometry.segment_bytes = kSegmentBytes;
  options.geometry.segment_slots = 8;
  options.geometry.ring_slots = 64;
  options.geometry.pool_uuid.fill(kServer);
  return options;
}

// Whoever talks to the server.
class Neighbour {
 public:
  Neighbour(World* world, SimNetwork* network, uint32_t node)
      : world_(world),
        memory_(1 << 16, pmem::Survives::kProcess),
        fabric_(network, node, &memory_) {
    region_ = *fabric_.Register({memory_.base(), memory_.length_bytes()},
                                {true, true, false});
  }

  void Connect(const wire::Hello& hello) {
    connection_ = fabric_.Connect("sim:" + std::to_string(kServer),
                                  std::as_bytes(std::span(&hello, 1)));
    RunFor(kMillisecond);
  }
  bool connected() const { return connected_; }
  size_t received() const { return received_; }
  void Send(std::string_view message) {
    if (!connected_ || message.size() > fabric::kMaxMessageBytes) return;
    std::byte* room = fabric_.BeginMessage(connection_, message.size());
    if (room == nullptr) return;
    message.copy(reinterpret_cast<char*>(room), message.size());
    fabric_.EndMessage(connection_, message.size());
    fabric_.FlushMessages();
  }
  void RunFor(int64_t ns) {
    world_->RunUntil(world_->now_ns() + ns);
    std::vector<fabric::Event> events(64);
    for (size_t count; (count = fabric_.Poll(events)) > 0;) {
      for (size_t i = 0; i < count; ++i) Take(events[i]);
    }
  }
  wire::BufferGrant Grant(uint64_t length_bytes) {
    const fabric::Grant grant = fabric_.MakeGrant(
        region_, 0, std::min<uint64_t>(length_bytes, memory_.length_bytes()));
    return {grant.key, grant.address, grant.length_bytes};
  }

 private:
  void Take(const fabric::Event& event) {
    if (event.kind == EventKind::kConnectRequest) {
      fabric_.Accept(event.connection, {});
    } else if (event.connection != connection_) {
      return;
    } else if (event.kind == EventKind::kConnected) {
      connected_ = true;
    } else if (event.kind == EventKind::kDisconnected) {
      connected_ = false;
    } else if (event.kind == EventKind::kReceived) {
      ++received_;
    }
  }

  World* const world_;
  SimMemory memory_;
  SimFabric fabric_;
  fabric::RegionId region_;
  ConnectionId connection_;
  bool connected_ = false;
  size_t received_ = 0;
};

class Session {
 public:
  explicit Session(uint8_t members)
      : network_(&world_, Network()),
        server_(&world_, &network_, ServerOptions(),
                [](const proto::ServerReport&) {}),
        client_(&world_, &network_, 101),
        peer_(&world_, &network_, kPeer) {
    network_.set_waker([this](uint32_t node) {
      if (node == kServer) server_.Wake();
    });
    WHALE_CHECK(server_.Start().ok());
    Activate(members % 3);
    client_.Connect(Hello(wire::Purpose::kClient));
    peer_.Connect(Hello(wire::Purpose::kChain));
  }

  void Step(fuzz::Input& input) {
    const uint8_t what = input.Take<uint8_t>();
    switch (what % 8) {
      case 0:
        return client_.Send(Bounded(input.TakeString()));
      case 1:
      case 2:
        return SendRequest(input);
      case 3:
        return peer_.Send(input.TakeString());
      case 4:
      case 5:
        return SendPeerMessage(input);
      case 6:
        return Connect(input);
      default:
        return client_.RunFor((1 + what / 8) * 100 * kMicrosecond);
    }
  }

  void Finish() {
    Turn();
    WHALE_CHECK(server_.running());
    Neighbour good(&world_, &network_, 102);
    good.Connect(Hello(wire::Purpose::kClient));
    WHALE_CHECK(good.connected());
    wire::Request get{};
    get.type = wire::RequestType::kGet;
    get.key_bytes = 1;
    get.epoch = kEpoch;
    good.Send(Bytes(get) + "k");
    good.RunFor(100 * kMillisecond);
    WHALE_CHECK(good.received() == 1);
  }

 private:
  template <typename T>
  static std::string Bytes(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof(value)};
  }

  void Turn() {
    client_.RunFor(kMillisecond);
    peer_.RunFor(kMillisecond);
  }
  wire::Hello Hello(wire::Purpose purpose) const {
    wire::Hello hello{};
    hello.magic = wire::kHelloMagic;
    hello.protocol_version = wire::kProtocolVersion;
    hello.purpose = purpose;
    hello.to_server = kServer;
    if (purpose == wire::Purpose::kClient) return hello;
    std::memset(hello.cluster_uuid, 'c', sizeof(hello.cluster_uuid));
    hello.from_server = kPeer;
    hello.from_incarnation = kPeerIncarnation;
    hello.to_incarnation = server_.incarnation().value();
    return hello;
  }
  // Alone, as a backup of the peer, or as its primary.
  void Activate(uint8_t members) {
    proto::Directive directive;
    directive.set_cluster_uuid(std::string(16, 'c'));
    proto::Peer* peer = directive.add_peers();
    peer->set_server_id(kPeer);
    peer->set_incarnation(kPeerIncarnation);
    peer->set_fabric_address("sim:" + std::to_string(kPeer));
    proto::ShardDirective* shard = directive.add_shards();
    shard->set_step(proto::STEP_ACTIVATE);
    shard->set_epoch(kEpoch);
    const auto add = [shard](uint32_t server, uint64_t incarnation) {
      shard->add_members(server);
      shard->add_member_incarnations(incarnation);
    };
    if (members == 1) add(kPeer, kPeerIncarnation);
    add(kServer, server_.incarnation().value());
    if (members == 2) add(kPeer, kPeerIncarnation);
    shard->set_committed(kSegmentBytes);
    shard->set_start(kSegmentBytes);
    proto::EpochStart* start = shard->add_history();
    start->set_epoch(kEpoch);
    start->set_start(kSegmentBytes);
    shard->mutable_policy()->set_window_bytes(1 << 16);
    shard->mutable_policy()->set_session_lease_us(60'000'000);
    server_.OnDirective(directive);
    Turn();
  }

  // The segments here are smaller than a cluster's may be: in those, every
  // value up to the limit has room.
  static std::string Bounded(std::string_view bytes) {
    std::string message(bytes);
    wire::Request request;
    if (message.size() < sizeof(request)) return message;
    std::memcpy(&request, message.data(), sizeof(request));
    if (request.value_bytes <= kMaxValueBytes) {
      request.value_bytes %= kLargestValueBytes;
    }
    return message.replace(0, sizeof(request), Bytes(request));
  }
  void SendRequest(fuzz::Input& input) {
    auto request = input.Take<wire::Request>();
    request.type =
        static_cast<wire::RequestType>(1 + static_cast<int>(request.type) % 8);
    request.shard = 0;
    request.zero16 = 0;
    request.zero32 = 0;
    request.epoch = kEpoch;
    request.session %= 4;
    request.request %= 1024;
    std::string_view body = input.TakeString();
    const bool keyed = request.type <= wire::RequestType::kDeleteIf;
    request.key_bytes =
        keyed ? std::min<size_t>(request.key_bytes % 8, body.size()) : 0;
    std::string message;
    if ((request.flags & wire::kHasBuffer) != 0) {
      request.value_bytes %= kLargestValueBytes;
      message = Bytes(request) + Bytes(client_.Grant(request.value_bytes)) +
                std::string(body.substr(0, request.key_bytes));
    } else {
      const bool valued = request.type == wire::RequestType::kPut ||
                          request.type == wire::RequestType::kCompareAndPut;
      request.value_bytes = valued ? body.size() - request.key_bytes : 0;
      message =
          Bytes(request) +
          std::string(body.substr(0, request.key_bytes + request.value_bytes));
    }
    client_.Send(message);
  }
  void SendPeerMessage(fuzz::Input& input) {
    auto header = input.Take<wire::PeerHeader>();
    header.type = static_cast<wire::PeerMessageType>(
        1 + static_cast<int>(header.type) % 6);
    header.shard = 0;
    header.zero8 = 0;
    if (header.epoch % 8 != 0) header.epoch = kEpoch;
    std::string message(input.TakeString());
    using Type = wire::PeerMessageType;
    switch (header.type) {
      case Type::kSegmentGrants:
      case Type::kCannotGrant:
        header.count = message.size() / sizeof(wire::SegmentGrantEntry);
        message.resize(header.count * sizeof(wire::SegmentGrantEntry));
        break;
      case Type::kBackupReady:
        message.resize(sizeof(wire::BackupReady) - sizeof(header));
        break;
      case Type::kPrimaryReady:
        message.resize(sizeof(wire::PrimaryReady) - sizeof(header));
        break;
      case Type::kSuccessorReady:
        message.resize(sizeof(wire::SuccessorReady) - sizeof(header));
        break;
      case Type::kWake:
        message.clear();
        break;
    }
    peer_.Send(Bytes(header) + message);
  }
  // Any hello; then an honest one, so that messages go on.
  void Connect(fuzz::Input& input) {
    const bool is_peer = input.Take<uint8_t>() % 2 == 0;
    Neighbour& neighbour = is_peer ? peer_ : client_;
    if (!neighbour.connected()) {
      neighbour.Connect(
          Hello(is_peer ? wire::Purpose::kChain : wire::Purpose::kClient));
      return;
    }
    Neighbour stranger(&world_, &network_, 103);
    stranger.Connect(input.Take<wire::Hello>());
  }

  World world_{1};
  SimNetwork network_;
  ServerNode server_;
  Neighbour client_;
  Neighbour peer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  fuzz::Input input(data, length);
  Session session(input.Take<uint8_t>());
  for (int i = 0; i < 64 && !input.empty(); ++i) session.Step(input);
  session.Finish();
  return 0;
}

}  // namespace whale::sim

// One connection of a shm fabric: plain state, worked on by ShmFabric.
#ifndef WHALE_FABRIC_SHM_CONNECTION_H_
#define WHALE_FABRIC_SHM_CONNECTION_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/file_descriptor.h"
#include "fabric/fabric.h"
#include "fabric/shm/doorbell.h"
#include "fabric/shm/process.h"
#include "fabric/shm/remote_region.h"
#include "fabric/shm/ring.h"

namespace whale::fabric::shm {

enum class State : uint8_t {
  kDialing,     // the listener's backlog is full; tried again
  kConnecting,  // said hello, waits for the answer
  kIncoming,    // a peer is there but has not said hello
  kRequested,   // kConnectRequest is on its way or handed out
  kOpen,
  kDead,  // its last event waits to be handed out
};

// A request that waits for the peer's memory to be mapped.
struct PendingWork {
  WorkRequest request;
  std::array<std::byte, kMaxInlineBytes> inline_data;
  uint64_t ring_limit = 0;  // what may be published before it is done
};

// A packet that the socket had no room for.
struct PendingPacket {
  PacketType type;
  std::string body;
  FileDescriptor descriptor;
};

struct Connection {
  ConnectionId id;
  uint32_t bit = 0;  // in the own summary
  State state = State::kDialing;
  int64_t begun_ns = 0;  // since when the handshake goes on
  FileDescriptor socket;
  Process peer;
  std::string name;  // for messages: whom it leads to
  bool peer_listens = false;
  bool peer_gone = false;  // what is in the ring is the last
  std::string hello;       // own while dialing, else the peer's
  std::deque<PendingPacket> outbox;

  FileDescriptor ring_fd;  // until the peer has it
  RingReceiver receiver;
  RingSender sender;
  PeerDoorbell doorbell;
  uint64_t packets_seen = 0;
  bool unreleased = false;   // messages were handed out by the last Poll
  bool unflushed = false;    // messages ended, doorbell not yet rung
  uint32_t unpublished = 0;  // messages ended since the last doorbell

  uint32_t used_slots = 0;
  uint32_t unsignaled = 0;  // done since the last signaled one
  std::deque<PendingWork> pending;
  uint64_t requested_key = 0;  // of the region that pending waits for
  std::vector<std::unique_ptr<RemoteRegion>> regions;
  RemoteRegion* last_region = nullptr;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_CONNECTION_H_

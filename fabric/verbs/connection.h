// One connection of a verbs fabric: plain state, worked on by VerbsFabricImpl.
#ifndef WHALE_FABRIC_VERBS_CONNECTION_H_
#define WHALE_FABRIC_VERBS_CONNECTION_H_

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fabric/fabric.h"
#include "fabric/shared_memory.h"
#include "fabric/verbs/flush_choice.h"
#include "fabric/verbs/handles.h"
#include "fabric/verbs/message_ring.h"
#include "fabric/verbs/notices.h"
#include "fabric/verbs/send_queue.h"
#include "fabric/verbs/setup_message.h"

namespace whale::fabric::verbs {

enum class State : uint8_t {
  kDialing,    // said hello, waits for the answer
  kIncoming,   // a peer has called but not said hello
  kRequested,  // kConnectRequest is on its way or handed out
  kAccepted,   // answered, waits for the peer to be ready
  kOpen,
  kDead,  // its last event waits to be handed out
};

// Requests that go to the adapter with the next doorbell.
struct PostList {
  std::vector<ibv_send_wr> requests;
  std::vector<ibv_sge> pieces;
  std::vector<uint32_t> bodies;  // of short notices, until they are posted
  uint32_t count = 0;
  uint32_t until_refused = 0;  // of those, if the connection has `refused` one
};

struct Connection {
  ConnectionId id;
  uint16_t slot = 0;
  uint16_t generation = 0;
  State state = State::kDialing;
  bool has_share = false;  // of the receive queue
  bool dying = false;
  bool refused = false;  // a request; nothing behind it goes to the adapter
  bool failed = false;   // a request has, with this outcome
  Outcome failure = Outcome::kRemoteError;
  int64_t begun_ns = 0;  // since when the handshake goes on
  uint64_t call = 0;     // of the exchange; 0: ended
  std::string name;      // for messages: whom it leads to
  SetupMessage peer;
  std::string peer_hello;
  bool peer_is_server = false;  // by its credentials

  // Send buffers: the message ring, the target of flushing READs, flush
  // messages. Before the queue pair, so that they outlive it.
  SharedMemory buffers;
  MemoryHandle buffer_handle;
  QueuePairHandle pair;
  uint32_t packet_sequence = 0;  // that the peer was told

  SendQueue sent;
  PostList list;
  bool unflushed = false;  // in the fabric's list of those with a PostList
  uint32_t used_slots = 0;

  MessageRing ring;
  uint32_t messages_in_flight = 0;
  uint32_t unsignaled_messages = 0;  // since the last signaled request
  uint32_t unsignaled_bytes = 0;
  uint32_t credits = 0;     // messages and immediates the peer takes now
  uint32_t peer_taken = 0;  // of those sent, as it last said

  uint32_t held = 0;   // received, buffers not yet released
  uint32_t taken = 0;  // received and released
  uint32_t told = 0;   // what the peer knows of `taken`
  uint32_t notices_in_flight = 0;
  bool notice_due = false;  // in the fabric's list of such

  FlushChoice flush;            // of what this end writes
  uint32_t flushes_sent = 0;    // by the receiver: messages
  uint32_t flushes_done = 0;    // as the peer last said
  uint32_t flushes_served = 0;  // for the peer
  uint32_t flushes_told = 0;
};

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_CONNECTION_H_

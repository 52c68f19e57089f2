// The channel over which two verbs fabrics set up a connection, and by whose
// end either learns that the other is gone.
//
// A queue pair needs the other end's number, address and first sequence number
// before it can say anything. Those never travel over an open port of our own:
// whoever creates a verbs fabric brings an Exchange that has authenticated the
// peer before a message of it comes out. Production has gRPC
// (control/setup_exchange.h), tests have one within the process
// (local_exchange.h).
//
// One call is one connection. It stays open as long as the connection does:
// an adapter that is idle never notices a dead peer, a closed stream does.
//
// Thread-safety: one thread uses it; `wake` comes from any thread. Messages of
// a call arrive in order. Everything that comes may be hostile.
#ifndef WHALE_FABRIC_VERBS_EXCHANGE_H_
#define WHALE_FABRIC_VERBS_EXCHANGE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace whale::fabric {

class Exchange {
 public:
  enum class Kind : uint8_t {
    kCalled,   // a peer has opened `call`; `text` names it, for messages
    kMessage,  // `text`
    kEnded,    // nothing more comes of `call`; `text` says why
  };
  struct Event {
    Kind kind = Kind::kMessage;
    uint64_t call = 0;  // never used twice
    std::string text;
    bool is_server = false;  // kCalled: by the peer's credentials
  };

  virtual ~Exchange() = default;

  // Where peers reach this end; empty: it only calls.
  virtual std::string address() const = 0;
  // Called, by any thread, when Take would give something that it did not
  // before. Must not block. Set once, before anything else.
  virtual void SetWake(std::function<void()> wake) = 0;

  // Opens a call; that it failed is a kEnded.
  virtual uint64_t Call(const std::string& address) = 0;
  // Lost, if the call has ended.
  virtual void Send(uint64_t call, std::string message) = 0;
  // Ends a call from this side, behind what was sent; nothing of it comes any
  // more. The peer gets a kEnded.
  virtual void End(uint64_t call) = 0;
  // The next event, if there is one.
  virtual bool Take(Event* event) = 0;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_VERBS_EXCHANGE_H_

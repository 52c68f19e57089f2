// The server's side of the Attach stream: keeps one to some coordinator as
// long as it lives.
//
// Reports go out newest first wins: a report that was not sent yet is replaced
// by a newer one. After a reconnection the newest is sent again. Several
// addresses are tried in turn, with a back-off that grows and is jittered.
//
// Thread-safety: Send from any thread. `on_directive` runs on a thread of this
// class, one call at a time, and must not block for long.
#ifndef WHALE_CONTROL_CONTROL_LINK_H_
#define WHALE_CONTROL_CONTROL_LINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "control/security.h"
#include "proto/control.pb.h"

namespace whale::control {

struct ControlClientOptions {
  std::vector<std::string> coordinators;  // "host:port"
  ClientSecurity security;
  uint64_t jitter_seed = 1;
  absl::Duration min_pause = absl::Milliseconds(50);
  absl::Duration max_pause = absl::Seconds(1);
};

class ControlClient {
 public:
  ControlClient(const ControlClientOptions& options,
                absl::AnyInvocable<void(const proto::Directive&)> on_directive);
  // Gives a stream that is open a moment to take the last report; ends it.
  ~ControlClient();

  void Send(const proto::ServerReport& report);
  // Waits until the newest report has been handed to a stream; false: not
  // within `timeout`.
  bool Flush(absl::Duration timeout);

  // A stream is open and has brought a directive.
  bool connected() const;
  // Why the last stream could not be opened or ended; empty: none did.
  std::string last_error() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CONTROL_LINK_H_

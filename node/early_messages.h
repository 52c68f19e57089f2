// Messages between servers that come before their epoch is active here.
//
// Members become active one after the other, and what they tell each other
// about an epoch is sent once (protocol, section 8, "What members tell each
// other"). Whoever is late keeps it until it is active too. Only the newest
// epoch counts: nobody is active in it before all of its members have ended
// the older ones.
//
// Thread-safety: none. Failure: what does not fit is noted, because then the
// epoch has to end.
#ifndef WHALE_NODE_EARLY_MESSAGES_H_
#define WHALE_NODE_EARLY_MESSAGES_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/ids.h"

namespace whale::node {

class EarlyMessages {
 public:
  // Each names up to wire::kMaxGrantsPerMessage segments: at 8 MiB, 4 TiB.
  static constexpr size_t kMaxMessages = 4096;

  struct Message {
    ServerId from;
    std::string bytes;
  };
  struct Taken {
    std::vector<Message> messages;      // in the order in which they came
    std::optional<ServerId> lost_from;  // one of its messages did not fit
  };

  void Keep(ServerId from, Epoch epoch, std::span<const std::byte> message);
  // What was kept for `epoch`; that of a newer one stays.
  Taken Take(Epoch epoch);

 private:
  Epoch epoch_;  // of all that is kept
  Taken kept_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_EARLY_MESSAGES_H_

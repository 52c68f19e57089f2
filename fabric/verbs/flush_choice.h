// Which remote flush method a connection uses (protocol, section 7): chosen
// from what both ends can do and what the memory that is written needs. Never
// assumed, and never an unsafe one unless the operator insists.
#ifndef WHALE_FABRIC_VERBS_FLUSH_CHOICE_H_
#define WHALE_FABRIC_VERBS_FLUSH_CHOICE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "fabric/fabric.h"

namespace whale::fabric {

// What must hold of the memory that a fabric grants to its peers, and what is
// known of its host.
struct FlushNeeds {
  // A flush must make writes survive a loss of power, not just visible.
  bool durable = false;
  // The persistence domain includes the caches (eADR, battery).
  bool caches_are_durable = false;
  // Writes of the adapter go past the caches (DDIO off). Nothing can find that
  // out: it is the operator's word (`ddio=off`).
  bool writes_bypass_caches = false;
  // The operator's choice for writes *into* this memory.
  std::optional<FlushMethod> insist;
};

// One end's part, exchanged at set-up.
struct FlushCapabilities {
  bool native = false;  // adapter, library and registration can FLUSH
  FlushNeeds needs;
};

struct FlushChoice {
  FlushMethod method = FlushMethod::kReadAfterWrite;
  // Does not make durable what the needs say must be; only by `insist`.
  bool unsafe = false;
  // `insist` asks for what these two adapters cannot do; then not usable.
  bool impossible = false;
};

// The method for writes by `writer` into memory of `owner`.
FlushChoice ChooseFlush(const FlushCapabilities& writer,
                        const FlushCapabilities& owner);

// Bits of FlushCapabilities as they travel, and back; unknown bits are ignored.
uint32_t EncodeFlushCapabilities(const FlushCapabilities& capabilities);
FlushCapabilities DecodeFlushCapabilities(uint32_t bits);

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_VERBS_FLUSH_CHOICE_H_

#include "fabric/verbs/flush_choice.h"

namespace whale::fabric {
namespace {

constexpr uint32_t kNativeBit = 1 << 0;
constexpr uint32_t kDurableBit = 1 << 1;
constexpr uint32_t kCachesBit = 1 << 2;
constexpr uint32_t kBypassBit = 1 << 3;
// The insisted method plus one in the bits from here.
constexpr int kInsistShift = 8;
constexpr uint32_t kInsistMask = 0xf;

// A READ behind the WRITEs brings them into the owner's coherent memory: that
// is durable where caches are, or where they are not on the way.
bool ReadSuffices(const FlushNeeds& needs) {
  return !needs.durable || needs.caches_are_durable ||
         needs.writes_bypass_caches;
}

bool IsSafe(FlushMethod method, const FlushNeeds& needs) {
  switch (method) {
    case FlushMethod::kNone:
      return false;  // on an adapter, completion does not even mean visible
    case FlushMethod::kNativeFlush:
    case FlushMethod::kReceiverFlush:
      return true;
    case FlushMethod::kReadAfterWrite:
      return ReadSuffices(needs);
  }
  return false;
}

}  // namespace

FlushChoice ChooseFlush(const FlushCapabilities& writer,
                        const FlushCapabilities& owner) {
  const FlushNeeds& needs = owner.needs;
  const bool native = writer.native && owner.native;
  FlushChoice choice;
  if (needs.insist) {
    choice.method = *needs.insist;
    choice.unsafe = !IsSafe(choice.method, needs);
    choice.impossible = choice.method == FlushMethod::kNativeFlush && !native;
  } else if (ReadSuffices(needs)) {
    // One READ covers a whole batch; a FLUSH covers one range each.
    choice.method = FlushMethod::kReadAfterWrite;
  } else {
    choice.method =
        native ? FlushMethod::kNativeFlush : FlushMethod::kReceiverFlush;
  }
  return choice;
}

uint32_t EncodeFlushCapabilities(const FlushCapabilities& capabilities) {
  uint32_t bits = 0;
  if (capabilities.native) bits |= kNativeBit;
  if (capabilities.needs.durable) bits |= kDurableBit;
  if (capabilities.needs.caches_are_durable) bits |= kCachesBit;
  if (capabilities.needs.writes_bypass_caches) bits |= kBypassBit;
  if (capabilities.needs.insist) {
    bits |= (static_cast<uint32_t>(*capabilities.needs.insist) + 1)
            << kInsistShift;
  }
  return bits;
}

FlushCapabilities DecodeFlushCapabilities(uint32_t bits) {
  FlushCapabilities capabilities;
  capabilities.native = (bits & kNativeBit) != 0;
  capabilities.needs.durable = (bits & kDurableBit) != 0;
  capabilities.needs.caches_are_durable = (bits & kCachesBit) != 0;
  capabilities.needs.writes_bypass_caches = (bits & kBypassBit) != 0;
  const uint32_t insist = (bits >> kInsistShift) & kInsistMask;
  if (insist >= 1 &&
      insist <= static_cast<uint32_t>(FlushMethod::kReceiverFlush) + 1) {
    capabilities.needs.insist = static_cast<FlushMethod>(insist - 1);
  }
  return capabilities;
}

}  // namespace whale::fabric

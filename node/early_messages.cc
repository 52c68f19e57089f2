#include "node/early_messages.h"

#include <utility>

namespace whale::node {

void EarlyMessages::Keep(ServerId from, Epoch epoch,
                         std::span<const std::byte> message) {
  if (epoch < epoch_) return;
  if (epoch > epoch_) kept_ = {};
  epoch_ = epoch;
  if (kept_.messages.size() == kMaxMessages) {
    kept_.lost_from = from;
    return;
  }
  kept_.messages.push_back(
      {from, std::string(reinterpret_cast<const char*>(message.data()),
                         message.size())});
}

EarlyMessages::Taken EarlyMessages::Take(Epoch epoch) {
  if (epoch < epoch_) return {};
  Taken taken = epoch == epoch_ ? std::move(kept_) : Taken{};
  kept_ = {};
  return taken;
}

}  // namespace whale::node

// A provider's fixture seen through HostileFabric: the provider must not
// promise less than the contract, and the suite must not lean on more.
#ifndef WHALE_FABRIC_CONFORMANCE_HOSTILE_FIXTURE_H_
#define WHALE_FABRIC_CONFORMANCE_HOSTILE_FIXTURE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "fabric/conformance/suite.h"
#include "fabric/hostile.h"

namespace whale::fabric {

// `Fixture`: a ProviderFixture of three fabrics.
template <typename Fixture>
class HostileFixture final : public Fixture {
 public:
  template <typename... Arguments>
  explicit HostileFixture(uint64_t seed, Arguments&&... arguments)
      : Fixture(std::forward<Arguments>(arguments)...) {
    for (size_t i = 0; i < hostile_.size(); ++i) {
      hostile_[i] = std::make_unique<HostileFabric>(
          &Fixture::fabric(i),
          // Refusing for no reason would hide what the suite counts.
          HostileOptions{.seed = seed * 3 + i, .refuse = 0});
    }
  }
  Fabric& fabric(size_t index) override { return *hostile_[index]; }
  void Pump() override {
    for (auto& hostile : hostile_) hostile->Advance();
  }

 private:
  std::array<std::unique_ptr<HostileFabric>, 3> hostile_;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_CONFORMANCE_HOSTILE_FIXTURE_H_

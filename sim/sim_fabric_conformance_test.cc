// The conformance suite of fabric/ on simulated networks: a friendly one, and
// some of the worst.
#include <array>
#include <memory>
#include <vector>

#include "fabric/conformance/suite.h"
#include "sim/sim_fabric.h"

namespace whale::fabric {
namespace {

class SimFixture : public ProviderFixture {
 public:
  SimFixture(uint64_t seed, const sim::NetworkOptions& options)
      : world_(seed), network_(&world_, options) {
    for (uint32_t i = 0; i < fabrics_.size(); ++i) {
      fabrics_[i] = std::make_unique<sim::SimFabric>(&network_, i + 1, nullptr);
    }
  }
  Fabric& fabric(size_t index) override { return *fabrics_[index]; }
  Memory MakeMemory(size_t, size_t length_bytes) override {
    memories_.push_back(std::make_unique<sim::SimMemory>(
        length_bytes, pmem::Survives::kProcess));
    Memory memory;
    memory.base = memories_.back()->base();
    memory.length_bytes = length_bytes;
    return memory;
  }
  void Pump() override { world_.RunUntil(world_.now_ns() + sim::kMicrosecond); }
  int64_t NowNs() override { return world_.now_ns(); }
  bool threads() const override { return false; }
  std::string DeadAddress() override { return "sim:99"; }

 private:
  sim::World world_;
  sim::SimNetwork network_;
  std::vector<std::unique_ptr<sim::SimMemory>> memories_;
  std::array<std::unique_ptr<sim::SimFabric>, 3> fabrics_;
};

Provider Friendly() {
  return {"sim", [] {
            return std::make_unique<SimFixture>(1, sim::NetworkOptions{});
          }};
}

Provider Hostile(uint64_t seed, FlushMethod method) {
  return {"sim_hostile_" + std::to_string(seed), [seed, method] {
            sim::NetworkOptions options;
            options.flush_method = method;
            options.slow_chance = 0.05;
            options.slow_delay_ns = 200 * sim::kMicrosecond;
            options.slow_land_chance = 0.2;
            options.slow_land_delay_ns = 100 * sim::kMicrosecond;
            options.max_pieces = 8;
            options.shuffle_chance = 0.5;
            return std::make_unique<SimFixture>(seed, options);
          }};
}

INSTANTIATE_TEST_SUITE_P(
    Sim, FabricConformance,
    testing::Values(Friendly(), Hostile(2, FlushMethod::kNone),
                    Hostile(3, FlushMethod::kNativeFlush),
                    Hostile(4, FlushMethod::kReadAfterWrite)),
    [](const testing::TestParamInfo<Provider>& info) {
      return info.param.name;
    });

}  // namespace
}  // namespace whale::fabric

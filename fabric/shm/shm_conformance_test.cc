// The conformance suite on shared memory.
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "fabric/conformance/hostile_fixture.h"
#include "fabric/conformance/suite.h"
#include "fabric/shared_memory.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/shm_fabric.h"

namespace whale::fabric {
namespace {

class ShmFixture : public ProviderFixture {
 public:
  ShmFixture() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "whale-shm-XXXXXX").string();
    WHALE_CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    for (size_t i = 0; i < fabrics_.size(); ++i) {
      auto fabric = CreateShmFabric(
          {.listen_path = directory_ + "/" + std::to_string(i) + ".sock",
           // Memory that two threads of a loaded machine write to; waiting too
           // briefly would only make the test choose the other right answer.
           .revoke_wait_us = 10'000'000});
      WHALE_CHECK(fabric.ok());
      fabrics_[i] = *std::move(fabric);
    }
  }
  ~ShmFixture() override {
    for (auto& fabric : fabrics_) fabric.reset();
    std::filesystem::remove_all(directory_);
  }

  Fabric& fabric(size_t index) override { return *fabrics_[index]; }
  Memory MakeMemory(size_t index, size_t length_bytes) override {
    auto memory = SharedMemory::Create(length_bytes, "conformance");
    WHALE_CHECK(memory.ok());
    memories_.push_back(*std::move(memory));
    return memories_.back().memory();
  }
  int64_t NowNs() override { return clock_.NowNs(); }
  // In the rings, which are all mapped here, all that was put in is taken.
  bool ForgeRoom(size_t) override {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("rw-s") == std::string::npos ||
          line.find("whale-ring") == std::string::npos) {
        continue;
      }
      uintptr_t begin = 0;
      std::istringstream(line) >> std::hex >> begin;
      auto* ring = reinterpret_cast<shm::RingHeader*>(begin);
      __atomic_store_n(&ring->head,
                       __atomic_load_n(&ring->tail, __ATOMIC_RELAXED),
                       __ATOMIC_RELEASE);
    }
    return true;
  }
  std::string DeadAddress() override { return directory_ + "/nobody.sock"; }

 private:
  std::string directory_;
  std::vector<SharedMemory> memories_;
  std::array<std::unique_ptr<Fabric>, 3> fabrics_;
  BootClock clock_;
};

Provider Hostile(uint64_t seed) {
  return {"hostile" + std::to_string(seed), [seed] {
            return std::make_unique<HostileFixture<ShmFixture>>(seed);
          }};
}

INSTANTIATE_TEST_SUITE_P(HostileShm, FabricConformance,
                         testing::Values(Hostile(1), Hostile(2), Hostile(3)));

INSTANTIATE_TEST_SUITE_P(Shm, FabricConformance,
                         testing::Values(Provider{
                             "shm",
                             [] { return std::make_unique<ShmFixture>(); }}));

}  // namespace
}  // namespace whale::fabric

// One run: a cluster, a workload and faults, all drawn from a seed; a safety
// phase with faults, then everything heals and must come to work again; then
// the checkers.
//
// Thread-safety: none; runs are independent of each other.
#ifndef WHALE_SIM_SCENARIO_H_
#define WHALE_SIM_SCENARIO_H_

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "sim/cluster.h"
#include "sim/faults.h"
#include "sim/workload.h"

namespace whale::sim {

struct ScenarioOptions {
  ClusterSetup cluster;
  WorkloadOptions workload;
  FaultOptions faults;
  int64_t safety_ns = 3 * kSecond;
  bool with_operator = false;  // who moves replicas meanwhile
};

// What the seed draws.
ScenarioOptions DrawScenario(Prng& random);
// One line.
std::string Describe(const ScenarioOptions& options);

enum class Result : uint8_t { kOk = 0, kSafety = 2, kLiveness = 3 };

struct Report {
  Result result = Result::kOk;
  std::string problem;
  uint64_t trace_hash = 0;
  int64_t virtual_ns = 0;
  uint64_t events = 0;
  uint64_t operations = 0;
  uint64_t answered = 0;
  std::array<uint64_t, kFaultKinds> faults{};
  uint64_t plans = 0;     // of operators, accepted
  uint64_t given_up = 0;  // values
  SimConfigStore::Changes changes;
};

// `trace`: where a readable trace goes; may be null.
Report RunScenario(uint64_t seed, FILE* trace);

}  // namespace whale::sim

#endif  // WHALE_SIM_SCENARIO_H_

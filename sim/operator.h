// An operator who moves replicas between servers while everything else goes
// on: drains servers, takes them into service again, moves single shards. Part
// of what is asked makes no sense.
//
// Thread-safety: none. Ownership: the cluster outlives it.
#ifndef WHALE_SIM_OPERATOR_H_
#define WHALE_SIM_OPERATOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sim/checkers/history.h"
#include "sim/cluster.h"

namespace whale::sim {

class Operator {
 public:
  // `seed`: of what is asked and when; nothing else of the run depends on it.
  Operator(Cluster* cluster, uint64_t seed)
      : cluster_(cluster), random_(seed) {}

  // Lets servers beyond the replicas in. Call when the cluster is formed.
  void AddSpareServers();
  // Asks for something now and then, until Stop.
  void Start();
  void Stop() { stopped_ = true; }
  // All that was asked for is done.
  bool Done();
  // Gives up what is missing now and then, until Stop. Writes down what the
  // operator has given up, for the keys of `keys`.
  void StartGivingUp(const std::vector<std::string>& keys,
                     checkers::History* history);
  // Gives up what is missing at this moment.
  void GiveUp();
  uint64_t given_up() const { return given_up_; }
  uint64_t accepted() const { return accepted_; }

 private:
  void Plan();
  void AskForSomething();
  void PlanGivingUp();
  uint32_t AnyServer() {
    return 1 +
           static_cast<uint32_t>(random_.Below(cluster_->server_count() + 1));
  }

  Cluster* const cluster_;
  Prng random_;
  bool stopped_ = false;
  uint64_t accepted_ = 0;
  uint64_t given_up_ = 0;
  std::vector<std::string> keys_;
  checkers::History* history_ = nullptr;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_OPERATOR_H_

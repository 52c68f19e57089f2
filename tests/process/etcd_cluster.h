// A cluster without `whale dev`, for what that does not have: its configuration
// store is an etcd of its own, of three members, and a second coordinator
// stands by.
//
// Thread-safety: none.
#ifndef WHALE_TESTS_PROCESS_ETCD_CLUSTER_H_
#define WHALE_TESTS_PROCESS_ETCD_CLUSTER_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "tests/process/cluster_fixture.h"

namespace whale::process_test {

class EtcdCluster final : public Cluster {
 public:
  static constexpr int kCoordinators = 2;
  static constexpr int kEtcdMembers = 3;
  static constexpr int kShards = 4;

  EtcdCluster()
      : Cluster({"--shards", std::to_string(kShards)}, kCoordinators) {}
  ~EtcdCluster() override;

  // The first coordinator leads.
  void Start() override;
  int Stop() override;

  // Anew, after it was killed.
  void StartCoordinator(size_t number);
  void StartServerAgain(size_t number);
  void StartEtcdMember(size_t number);
  // kill -9.
  void KillCoordinator(size_t number);
  void KillServer(size_t number);
  void KillEtcdMember(size_t number);

 private:
  std::string etcd_url(size_t member, bool for_peers = false) const;

  std::array<std::unique_ptr<ChildProcess>, kEtcdMembers> etcd_;
  std::array<std::unique_ptr<ChildProcess>, kCoordinators> coordinators_;
  std::array<std::unique_ptr<ChildProcess>, kReplicas> servers_;
};

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_ETCD_CLUSTER_H_

#include "tests/process/etcd_cluster.h"

#include <signal.h>
#include <sys/wait.h>

#include <filesystem>

#include "absl/strings/str_cat.h"

namespace whale::process_test {
namespace {

// Above those of coordinators and of servers' metrics.
constexpr int kEtcdPort = 20;

}  // namespace

EtcdCluster::~EtcdCluster() { KillAll(); }

std::string EtcdCluster::etcd_url(size_t member, bool for_peers) const {
  return absl::StrCat("http://127.0.0.1:",
                      port() + kEtcdPort + 2 * member + (for_peers ? 1 : 0));
}

void EtcdCluster::StartEtcdMember(size_t number) {
  std::string all;
  for (size_t i = 0; i < kEtcdMembers; ++i) {
    absl::StrAppend(&all, i == 0 ? "" : ",", "m", i, "=", etcd_url(i, true));
  }
  const std::string name = absl::StrCat("m", number);
  const std::string url = etcd_url(number);
  const std::string peer_url = etcd_url(number, true);
  etcd_.at(number) = std::make_unique<ChildProcess>(
      std::vector<std::string>{
          "/usr/bin/env", "etcd", "--name", name, "--data-dir",
          folder() + "/etcd-" + name, "--listen-client-urls", url,
          "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
          "--initial-advertise-peer-urls", peer_url, "--initial-cluster", all},
      tag(), LogOf("etcd-" + name));
}

void EtcdCluster::KillEtcdMember(size_t number) { etcd_.at(number).reset(); }

void EtcdCluster::Start() {
  std::filesystem::create_directories(folder() + "/data/log");
  for (size_t i = 0; i < kEtcdMembers; ++i) StartEtcdMember(i);
  StartCoordinator(0);
  for (size_t i = 0; i < kReplicas; ++i) StartServerAgain(i);
  ASSERT_TRUE(WaitFor(
      [&] {
        return Whale({"put", "cluster-fixture", "ready"}).exit_code == 0;
      },
      kStartTimeoutMs))
      << "the cluster did not start";
  StartCoordinator(1);
}

void EtcdCluster::StartCoordinator(size_t number) {
  coordinators_.at(number) = std::make_unique<ChildProcess>(
      std::vector<std::string>{WHALE_PROGRAM, "coordinator", "--store",
                               absl::StrCat("etcd:", etcd_url(0), ",",
                                            etcd_url(1), ",", etcd_url(2)),
                               "--port", absl::StrCat(port() + number),
                               "--lease", "500ms", "--shards",
                               absl::StrCat(kShards)},
      tag(), LogOf(absl::StrCat("coordinator-", number)));
}

void EtcdCluster::KillCoordinator(size_t number) {
  coordinators_.at(number).reset();
}

void EtcdCluster::StartServerAgain(size_t number) {
  servers_.at(number) = StartServer(static_cast<uint32_t>(number + 1));
}

void EtcdCluster::KillServer(size_t number) { servers_.at(number).reset(); }

int EtcdCluster::Stop() {
  int worst = 0;
  const auto stop = [&worst](auto& processes) {
    for (auto& process : processes) process->Signal(SIGINT);
    for (auto& process : processes) {
      const bool clean = process->WaitExit(kStopTimeoutMs) &&
                         WIFEXITED(process->wait_status()) &&
                         WEXITSTATUS(process->wait_status()) == 0;
      if (!clean) worst = 1;
    }
  };
  stop(servers_);
  stop(coordinators_);
  return worst;
}

}  // namespace whale::process_test

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

std::string EtcdCluster::etcd_url(int offset) const {
  return absl::StrCat("http://127.0.0.1:", port() + kEtcdPort + offset);
}

void EtcdCluster::Start() {
  std::filesystem::create_directories(folder() + "/data/log");
  const std::string peer = etcd_url(1);
  etcd_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{"/usr/bin/env", "etcd", "--data-dir",
                               folder() + "/etcd", "--listen-client-urls",
                               etcd_url(0), "--advertise-client-urls",
                               etcd_url(0), "--listen-peer-urls", peer,
                               "--initial-advertise-peer-urls", peer,
                               "--initial-cluster", "default=" + peer},
      tag(), LogOf("etcd"));
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
                               "etcd:" + etcd_url(0), "--port",
                               absl::StrCat(port() + number), "--lease",
                               "500ms", "--shards", absl::StrCat(kShards)},
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

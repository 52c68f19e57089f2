// A whole cluster of real processes for a test: `whale dev` in a folder of its
// own, with everything that a test does to it from outside.
//
// When the fixture goes, all its processes are gone too, and it reports as test
// failures whatever was left behind: a process, or a name in /dev/shm.
//
// Thread-safety: none.
#ifndef WHALE_TESTS_PROCESS_CLUSTER_FIXTURE_H_
#define WHALE_TESTS_PROCESS_CLUSTER_FIXTURE_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/process/processes.h"
#include "whale/client.h"

namespace whale::process_test {

// Of every test cluster; their servers are numbered from 1.
inline constexpr uint32_t kReplicas = 3;
inline constexpr int kStartTimeoutMs = 120'000;
inline constexpr int kStopTimeoutMs = 60'000;

class Cluster {
 public:
  // `dev_arguments`: further arguments of `whale dev`.
  // `coordinators`: how many there are; those of a derived class may be more
  // than one.
  explicit Cluster(std::vector<std::string> dev_arguments = {},
                   int coordinators = 1);
  // Kills what still runs, removes the folder, reports left-overs.
  virtual ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Starts `whale dev` and returns once a write was acknowledged. The folder
  // and the ports are the same each time. Fails the test otherwise.
  virtual void Start();
  // Only starts `whale dev`.
  void Launch();
  // As Start where it must not succeed: what `whale dev` said in the end.
  CommandResult StartInVain();
  // SIGINT; waits until every process is gone. The exit code of `whale dev`.
  virtual int Stop();
  // kill -9 of every process of the cluster, at once.
  void KillAll();

  // To `whale dev` alone. Stopped, it does not start again whatever dies.
  void SignalDev(int signal) const;
  // Until all replicas of all shards serve, and none lacks a value; fails the
  // test otherwise.
  void AwaitWhole() const;

  // Processes of a role: the first words of the command line after the
  // program's name, such as "serve" or "coordinator". Sorted by pid.
  std::vector<pid_t> Pids(const std::string& role) const;

  const std::string& folder() const { return folder_; }
  int port() const { return port_; }
  // HOST:PORT of all, from port() on, with commas.
  std::string coordinator() const;
  const std::string& tag() const { return tag_; }
  // What the cluster's processes printed so far.
  std::string Output() const;

  // Runs `whale ARGUMENTS --cluster ...` to its end.
  CommandResult Whale(std::vector<std::string> arguments,
                      int timeout_ms = 60'000) const;
  // Connects, trying until the cluster answers; fails the test otherwise.
  std::unique_ptr<Client> Connect(
      absl::Duration timeout = absl::Seconds(20)) const;
  // Starts one more server, which `whale dev` knows nothing of; `number` is not
  // one of its own.
  std::unique_ptr<ChildProcess> StartServer(uint32_t number) const;
  // Starts a client process (client_process.cc) with these arguments.
  std::unique_ptr<ChildProcess> StartClient(
      std::vector<std::string> arguments) const;

 protected:
  // Where a process that `whale dev` does not know of prints: part of Output.
  std::string LogOf(const std::string& process) const;

 private:
  std::vector<std::string> DevCommand() const;
  std::vector<pid_t> ServerProcesses() const;

  const std::vector<std::string> dev_arguments_;
  const int coordinators_;
  const std::string tag_;
  const std::vector<std::string> shared_memory_before_;
  const std::string folder_;
  const int port_;
  std::unique_ptr<ChildProcess> dev_;
};

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_CLUSTER_FIXTURE_H_

#include "tests/process/cluster_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"

namespace whale::process_test {
namespace {

// The cluster uses this port and some above it, see `whale dev`.
constexpr int kPortsPerCluster = 32;

bool PortIsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return free;
}

// Below the range that the kernel hands out to outgoing connections.
int FindPorts() {
  const int first = 20'000 + getpid() % 300 * kPortsPerCluster;
  for (int port = first; port < 32'000; port += kPortsPerCluster) {
    bool free = true;
    for (int i = 0; i < kPortsPerCluster && free; ++i) {
      free = PortIsFree(port + i);
    }
    if (free) return port;
  }
  WHALE_CHECK_MSG(false, "no free ports for a test cluster");
}

// Pools in memory are faster to make than pools on disk.
std::string MakeFolder() {
  for (const char* parent : {"/dev/shm", "/tmp"}) {
    std::string folder = std::string(parent) + "/whale-test.XXXXXX";
    if (mkdtemp(folder.data()) != nullptr) return folder;
  }
  WHALE_CHECK_MSG(false, "no folder for a test cluster");
}

// Names that were not there before, but for folders of other clusters that
// may come and go meanwhile: one that was given its folder makes none.
std::vector<std::string> NewInSharedMemory(
    const std::vector<std::string>& before) {
  std::vector<std::string> names = ListFolder("/dev/shm");
  std::erase_if(names, [&](const std::string& name) {
    return name.starts_with("whale-dev-") || name.starts_with("whale-test.") ||
           std::binary_search(before.begin(), before.end(), name);
  });
  return names;
}

bool HasWord(const std::string& line, const std::string& word) {
  return (" " + line + " ").find(" " + word + " ") != std::string::npos;
}

}  // namespace

Cluster::Cluster(std::vector<std::string> dev_arguments, int coordinators)
    : dev_arguments_(std::move(dev_arguments)),
      coordinators_(coordinators),
      tag_(std::to_string(getpid()) + "-" +
           std::to_string(reinterpret_cast<uintptr_t>(this))),
      shared_memory_before_(ListFolder("/dev/shm")),
      folder_(MakeFolder()),
      port_(FindPorts()) {}

Cluster::~Cluster() {
  KillAll();
  if (testing::Test::HasFailure()) {
    std::string output = Output();
    constexpr size_t kMaxShown = 20'000;
    if (output.size() > kMaxShown) output.erase(0, output.size() - kMaxShown);
    std::cerr << "--- output of the cluster ---\n" << output;
  }
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
  EXPECT_EQ(FindTagged(tag_), std::vector<pid_t>()) << "left behind";
  EXPECT_EQ(NewInSharedMemory(shared_memory_before_),
            std::vector<std::string>())
      << "left behind in /dev/shm";
}

std::string Cluster::coordinator() const {
  std::string all;
  for (int i = 0; i < coordinators_; ++i) {
    absl::StrAppend(&all, i == 0 ? "" : ",", "127.0.0.1:", port_ + i);
  }
  return all;
}

std::string Cluster::LogOf(const std::string& process) const {
  return folder_ + "/data/log/" + process;
}

std::string Cluster::Output() const {
  std::string output = ReadFile(folder_ + "/output");
  const std::string logs = folder_ + "/data/log";
  for (const std::string& name : ListFolder(logs)) {
    output += "--- " + name + "\n" + ReadFile(logs + "/" + name);
  }
  return output;
}

std::vector<std::string> Cluster::DevCommand() const {
  std::vector<std::string> command = {WHALE_PROGRAM, "dev",
                                      "--dir",       folder_ + "/data",
                                      "--port",      std::to_string(port_)};
  command.insert(command.end(), dev_arguments_.begin(), dev_arguments_.end());
  return command;
}

CommandResult Cluster::StartInVain() {
  const CommandResult result = RunCommand(DevCommand(), tag_, kStartTimeoutMs);
  EXPECT_EQ(ServerProcesses(), std::vector<pid_t>()) << "left behind";
  return result;
}

void Cluster::Launch() {
  dev_ =
      std::make_unique<ChildProcess>(DevCommand(), tag_, folder_ + "/output");
}

void Cluster::Start() {
  Launch();
  const bool ready = WaitFor(
      [&] {
        return dev_->WaitExit(0) ||
               Whale({"put", "cluster-fixture", "ready"}).exit_code == 0;
      },
      kStartTimeoutMs);
  ASSERT_TRUE(ready && !dev_->exited()) << "the cluster did not start";
}

int Cluster::Stop() {
  dev_->Signal(SIGINT);
  EXPECT_TRUE(dev_->WaitExit(kStopTimeoutMs)) << "whale dev does not stop";
  EXPECT_TRUE(
      WaitFor([&] { return ServerProcesses().empty(); }, kStopTimeoutMs))
      << "whale dev stopped, its children did not";
  if (!dev_->exited()) return -1;
  const int status = dev_->wait_status();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Cluster::KillAll() {
  // Until none is left: one may have been starting another.
  for (std::vector<pid_t> pids = ServerProcesses(); !pids.empty();
       pids = ServerProcesses()) {
    KillAndAwait(pids);
  }
  dev_.reset();
}

void Cluster::SignalDev(int signal) const {
  ASSERT_EQ(kill(Pids("dev").front(), signal), 0);
}

void Cluster::AwaitWhole() const {
  CommandResult status;
  const bool whole = WaitFor(
      [&] {
        status = Whale({"status"});
        return status.exit_code == 0 &&
               !absl::StrContains(status.output, "not served") &&
               !absl::StrContains(status.output, " of 3 replicas") &&
               !absl::StrContains(status.output, " committed values");
      },
      kStartTimeoutMs);
  ASSERT_TRUE(whole) << status.output;
}

std::vector<pid_t> Cluster::ServerProcesses() const {
  std::vector<pid_t> pids = FindTagged(tag_);
  // Clients of the test carry the tag too; they are the test's own affair.
  std::erase_if(pids, [](pid_t pid) {
    return CommandLineOf(pid).find(WHALE_CLIENT_PROCESS) != std::string::npos;
  });
  return pids;
}

std::vector<pid_t> Cluster::Pids(const std::string& role) const {
  std::vector<pid_t> pids = ServerProcesses();
  std::erase_if(pids,
                [&](pid_t pid) { return !HasWord(CommandLineOf(pid), role); });
  std::sort(pids.begin(), pids.end());
  return pids;
}

CommandResult Cluster::Whale(std::vector<std::string> arguments,
                             int timeout_ms) const {
  arguments.insert(arguments.begin(), WHALE_PROGRAM);
  arguments.push_back("--cluster");
  arguments.push_back(coordinator());
  return RunCommand(arguments, tag_, timeout_ms);
}

std::unique_ptr<Client> Cluster::Connect(absl::Duration timeout) const {
  ClientOptions options;
  options.coordinators = absl::StrSplit(coordinator(), ',');
  options.timeout = timeout;
  absl::StatusOr<std::unique_ptr<Client>> client;
  const bool connected = WaitFor(
      [&] {
        client = Client::Connect(options);
        return client.ok();
      },
      kStartTimeoutMs);
  EXPECT_TRUE(connected) << client.status();
  return connected ? *std::move(client) : nullptr;
}

std::unique_ptr<ChildProcess> Cluster::StartServer(uint32_t number) const {
  constexpr uint32_t kHttpPortOffset = 9;  // as whale dev has it
  std::vector<std::string> command = {
      WHALE_PROGRAM,   "serve",
      "--id",          std::to_string(number),
      "--dir",         folder_ + "/data/server-" + std::to_string(number),
      "--coordinator", coordinator(),
      "--http-port",   std::to_string(port_ + kHttpPortOffset + number),
      "--pool-bytes",  "512MiB"};
  // Of the flags of `whale dev` these are for servers.
  for (size_t i = 0; i + 1 < dev_arguments_.size(); i += 2) {
    if (dev_arguments_[i] != "--shards") continue;
    command.insert(command.end(), {dev_arguments_[i], dev_arguments_[i + 1]});
  }
  return std::make_unique<ChildProcess>(
      command, tag_, LogOf("server-" + std::to_string(number)));
}

std::unique_ptr<ChildProcess> Cluster::StartClient(
    std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(),
                   {WHALE_CLIENT_PROCESS, "--cluster", coordinator()});
  return std::make_unique<ChildProcess>(arguments, tag_, folder_ + "/clients");
}

}  // namespace whale::process_test

#include "tools/dev_cluster.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "tools/formation_flags.h"
#include "tools/host.h"
#include "tools/net.h"
#include "tools/pool_open.h"

namespace whale::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHost = "127.0.0.1";
constexpr const char* kSharedMemory = "/dev/shm";
constexpr absl::Duration kStopTimeout = absl::Seconds(20);

std::string ServerDir(const std::string& dir, uint32_t server) {
  return absl::StrCat(dir, "/server-", server);
}

uint64_t SizeOf(const std::string& path) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DevCluster>> DevCluster::Start(
    const DevOptions& options, const std::function<bool()>& interrupted) {
  auto cluster = std::unique_ptr<DevCluster>(new DevCluster(options));
  WHALE_RETURN_IF_ERROR(cluster->Prepare());
  cluster->AddMembers();
  for (Member& member : cluster->members_) {
    WHALE_RETURN_IF_ERROR(cluster->StartMember(&member));
  }
  WHALE_RETURN_IF_ERROR(cluster->WaitUntilReady(interrupted));
  return cluster;
}

DevCluster::~DevCluster() { Stop(); }

std::string DevCluster::coordinator() const {
  return absl::StrCat(kHost, ":", options_.port);
}

std::string DevCluster::http_address(uint32_t server) const {
  return absl::StrCat(kHost, ":", options_.port + kHttpPortOffset + server - 1);
}

absl::Status DevCluster::Prepare() {
  WHALE_RETURN_IF_ERROR(TakeDirectory());
  WHALE_RETURN_IF_ERROR(CheckReplicas());
  WHALE_RETURN_IF_ERROR(CheckPorts());
  WHALE_RETURN_IF_ERROR(CheckPoolSpace());
  for (uint32_t id = 1; id <= replicas(); ++id) {
    WHALE_RETURN_IF_ERROR(MakeDirectory(ServerDir(dir_, id)));
  }
  if (options_.tls) WHALE_RETURN_IF_ERROR(security().Make());
  WHALE_RETURN_IF_ERROR(MakeDirectory(dir_ + "/coordinator"));
  return MakeDirectory(dir_ + "/log");
}

absl::Status DevCluster::TakeDirectory() {
  if (options_.dir.empty()) {
    PrivateDirectory::RemoveLeftOvers(kSharedMemory);
    WHALE_ASSIGN_OR_RETURN(private_, PrivateDirectory::Create(kSharedMemory));
    dir_ = private_->path();
    return absl::OkStatus();
  }
  WHALE_RETURN_IF_ERROR(MakeDirectory(options_.dir));
  std::error_code error;
  dir_ = fs::absolute(options_.dir, error).lexically_normal().string();
  WHALE_ASSIGN_OR_RETURN(lock_, DirectoryLock::Take(dir_));
  return absl::OkStatus();
}

std::vector<std::string> DevCluster::ClientEnvironment(
    const std::string& role) const {
  if (!options_.tls) return {};
  return security().ClientEnvironment(role);
}

absl::Status DevCluster::CheckReplicas() {
  uint32_t existing = 0;
  while (fs::exists(ServerDir(dir_, existing + 1))) ++existing;
  if (existing == 0 || existing == replicas()) return absl::OkStatus();
  if (options_.replicas_given) {
    return absl::FailedPreconditionError(absl::StrCat(
        dir_, " holds a cluster of ", existing, " replicas, not of ",
        replicas(), "; leave out --replicas, or give another --dir"));
  }
  options_.cluster.replicas = existing;
  return absl::OkStatus();
}

absl::Status DevCluster::CheckPorts() const {
  if (options_.port + kHttpPortOffset + replicas() > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--port ", options_.port,
                     " leaves no room for the servers' ports above it; choose "
                     "a smaller one"));
  }
  std::vector<int> ports = {options_.port, options_.port + kHttpPortOffset - 1};
  for (uint32_t i = 0; i < replicas(); ++i) {
    ports.push_back(static_cast<int>(options_.port + kHttpPortOffset + i));
  }
  for (const int port : ports) {
    const absl::Status status =
        CheckPortIsFree(kHost, static_cast<uint16_t>(port));
    if (!status.ok()) {
      return absl::Status(
          status.code(),
          absl::StrCat(status.message(), " (--port; a cluster of ", replicas(),
                       " uses ports ", options_.port, " and ",
                       options_.port + kHttpPortOffset - 1, " to ",
                       options_.port + kHttpPortOffset + replicas() - 1, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status DevCluster::CheckPoolSpace() const {
  uint64_t needed = 0;
  for (uint32_t id = 1; id <= replicas(); ++id) {
    const std::string pool = absl::StrCat(ServerDir(dir_, id), "/", kPoolName);
    if (!fs::exists(pool)) needed += options_.pool_bytes;
  }
  return CheckSpace(dir_, needed);
}

void DevCluster::AddMembers() {
  Member& coordinator = members_.emplace_back();
  coordinator.name = "coordinator";
  coordinator.log_path = dir_ + "/log/coordinator.log";
  coordinator.arguments = {"coordinator",
                           "--store",
                           absl::StrCat("file:", dir_, "/coordinator"),
                           "--port",
                           absl::StrCat(options_.port),
                           "--http-port",
                           absl::StrCat(options_.port + kHttpPortOffset - 1)};
  for (std::string& argument : FormationArguments(options_.cluster)) {
    coordinator.arguments.push_back(std::move(argument));
  }
  if (options_.tls) {
    for (std::string& argument : security().CoordinatorArguments()) {
      coordinator.arguments.push_back(std::move(argument));
    }
  }
  for (uint32_t id = 1; id <= replicas(); ++id) {
    Member& server = members_.emplace_back();
    server.name = absl::StrCat("server ", id);
    server.log_path = absl::StrCat(dir_, "/log/server-", id, ".log");
    server.arguments = {"serve",
                        "--id",
                        absl::StrCat(id),
                        "--dir",
                        ServerDir(dir_, id),
                        "--coordinator",
                        this->coordinator(),
                        "--http-port",
                        absl::StrCat(options_.port + kHttpPortOffset + id - 1),
                        "--pool-bytes",
                        absl::StrCat(options_.pool_bytes),
                        "--shards",
                        absl::StrCat(options_.cluster.shard_count)};
    server.arguments.insert(server.arguments.end(),
                            options_.serve_arguments.begin(),
                            options_.serve_arguments.end());
    if (options_.allow_plaintext) {
      server.arguments.emplace_back("--allow-plaintext");
    }
    if (!options_.tls) continue;
    for (std::string& argument : security().ServerArguments()) {
      server.arguments.push_back(std::move(argument));
    }
  }
}

absl::Status DevCluster::StartMember(Member* member) {
  member->log_start = SizeOf(member->log_path);
  WHALE_ASSIGN_OR_RETURN(
      member->process,
      ChildProcess::Start(member->arguments, member->log_path));
  member->started = absl::Now();
  member->restart_at = absl::InfiniteFuture();
  return absl::OkStatus();
}

std::string DevCluster::LastWords(const Member& member) const {
  std::ifstream file(member.log_path);
  file.seekg(static_cast<std::streamoff>(member.log_start));
  std::string last, error;
  for (std::string line; std::getline(file, line);) {
    last = line;
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "whale: ")) error = std::string(rest);
  }
  if (!error.empty()) return error;
  return last.empty() ? "it said nothing" : last;
}

absl::Status DevCluster::FirstFailure() {
  for (Member& member : members_) {
    const auto ended = member.process->Ended();
    if (!ended) continue;
    return absl::UnavailableError(absl::StrCat(member.name, " failed (", *ended,
                                               "): ", LastWords(member)));
  }
  return absl::OkStatus();
}

std::string DevCluster::WhyNotReady() const {
  for (uint32_t id = 1; id <= replicas(); ++id) {
    const auto address = ParseHostPort(http_address(id));
    const auto answer = HttpGet(*address, "/readyz", absl::Seconds(1));
    if (!answer.ok()) {
      return absl::StrCat("server ", id, " does not answer yet");
    }
    if (answer->status != 200) {
      return absl::StrCat("server ", id, ": ",
                          absl::StripSuffix(answer->body, "\n"));
    }
  }
  return "";
}

absl::Status DevCluster::WaitUntilReady(
    const std::function<bool()>& interrupted) {
  const absl::Time deadline = absl::Now() + options_.start_timeout;
  while (true) {
    WHALE_RETURN_IF_ERROR(FirstFailure());
    const std::string why_not = WhyNotReady();
    if (why_not.empty()) return absl::OkStatus();
    if (interrupted()) return absl::CancelledError("interrupted");
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the cluster does not serve after ",
                       absl::FormatDuration(options_.start_timeout), ": ",
                       why_not, "; see the logs in ", dir_,
                       "/log, or give a longer "
                       "--start-timeout"));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

absl::Status DevCluster::Tend(
    const std::function<void(const std::string&)>& report) {
  for (Member& member : members_) {
    if (member.restart_at == absl::InfiniteFuture()) {
      const auto ended = member.process->Ended();
      if (!ended) continue;
      if (member.process->exit_code() >= 0) {
        return absl::UnavailableError(absl::StrCat(
            member.name, " stopped (", *ended, "): ", LastWords(member)));
      }
      // One that does not live long is not started again at once.
      const absl::Time now = absl::Now();
      member.restart_at = std::max(now, member.started + absl::Seconds(1));
      report(absl::StrCat(member.name, " died (", *ended,
                          "); it is started again"));
    }
    if (absl::Now() >= member.restart_at) {
      WHALE_RETURN_IF_ERROR(StartMember(&member));
    }
  }
  return absl::OkStatus();
}

void DevCluster::Stop() {
  // Servers first: they tell the coordinator that they leave.
  for (const bool servers : {true, false}) {
    const absl::Time deadline = absl::Now() + kStopTimeout;
    for (Member& member : members_) {
      if ((member.name != "coordinator") == servers && member.process) {
        member.process->Signal(SIGTERM);
      }
    }
    for (Member& member : members_) {
      if ((member.name != "coordinator") != servers || !member.process) {
        continue;
      }
      if (!member.process->WaitFor(
              std::max(deadline - absl::Now(), absl::ZeroDuration()))) {
        member.process->Signal(SIGKILL);
        member.process->WaitFor(absl::Seconds(5));
      }
    }
  }
  members_.clear();
}

}  // namespace whale::tools

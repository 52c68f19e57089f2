// A whole cluster on this machine as child processes: what `whale dev` runs.
//
// DIR/coordinator is the configuration store, DIR/server-N a server's pool,
// DIR/log what each process said, DIR/lock keeps a second cluster out. The
// parent itself makes no gRPC call: it forks, and asks its servers by HTTP.
//
// Thread-safety: none; the main thread's, since children end with the thread
// that started them.
#ifndef WHALE_TOOLS_DEV_CLUSTER_H_
#define WHALE_TOOLS_DEV_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control/options.h"
#include "tools/child_process.h"
#include "tools/dev_security.h"
#include "tools/private_directory.h"

namespace whale::tools {

// First HTTP port of the servers, counted from the coordinator's.
inline constexpr uint16_t kHttpPortOffset = 10;

struct DevOptions {
  std::string dir;  // empty: a private one in shared memory, gone afterwards
  uint16_t port = 7400;
  control::ClusterOptions cluster;
  bool replicas_given = false;
  bool allow_plaintext = false;  // on addresses of adapters
  bool tls = false;              // certificates and tokens are made, in DIR/tls
  std::vector<std::string> serve_arguments;  // passed on to every server
  uint64_t pool_bytes = 0;
  absl::Duration start_timeout = absl::Seconds(120);
};

class DevCluster {
 public:
  // Starts everything and returns once all servers serve. `interrupted` is
  // asked now and then while waiting. Errors: kFailedPrecondition (port or
  // directory in use, another number of replicas), kResourceExhausted (no room
  // for the pools), kUnavailable (a process failed: with its own words),
  // kDeadlineExceeded, kCancelled (interrupted).
  static absl::StatusOr<std::unique_ptr<DevCluster>> Start(
      const DevOptions& options, const std::function<bool()>& interrupted);
  ~DevCluster();

  // Restarts processes that have ended, and says so by `report`. Errors:
  // kUnavailable: one that ended by itself, with an error of its own.
  absl::Status Tend(const std::function<void(const std::string&)>& report);
  // Ends all, servers first; returns when they are gone.
  void Stop();

  const std::string& dir() const { return dir_; }
  // What a client with this role needs in its environment; none without TLS.
  std::vector<std::string> ClientEnvironment(const std::string& role) const;
  bool dir_is_private() const { return private_ != nullptr; }
  std::string coordinator() const;
  std::string http_address(uint32_t server) const;
  uint32_t replicas() const { return options_.cluster.replicas; }

 private:
  struct Member {
    std::string name;  // "coordinator", "server 2"
    std::vector<std::string> arguments;
    std::string log_path;
    uint64_t log_start = 0;  // size of the log when it was started last
    std::optional<ChildProcess> process;
    absl::Time started;
    absl::Time restart_at = absl::InfiniteFuture();
  };

  explicit DevCluster(const DevOptions& options) : options_(options) {}
  absl::Status Prepare();
  absl::Status TakeDirectory();
  absl::Status CheckReplicas();
  DevSecurity security() const { return DevSecurity(dir_ + "/tls"); }
  absl::Status CheckPorts() const;
  absl::Status CheckPoolSpace() const;
  void AddMembers();
  absl::Status StartMember(Member* member);
  absl::Status WaitUntilReady(const std::function<bool()>& interrupted);
  std::string WhyNotReady() const;
  // What a process said since its last start that matters.
  std::string LastWords(const Member& member) const;
  absl::Status FirstFailure();

  DevOptions options_;
  std::string dir_;
  std::unique_ptr<PrivateDirectory> private_;
  std::unique_ptr<DirectoryLock> lock_;
  std::vector<Member> members_;  // the coordinator first
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_DEV_CLUSTER_H_

// whale dev: a whole cluster on this machine.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/dev_cluster.h"
#include "tools/formation_flags.h"
#include "tools/program.h"
#include "tools/serve_flags.h"
#include "tools/signals.h"

namespace whale::tools {
namespace {

struct Flags {
  DevOptions dev;
  ServeFlags serve;
  std::string ready_file;
  Options* options = nullptr;
};

bool StopRequested() {
  const int signal = WaitForSignal(absl::ZeroDuration());
  return signal == SIGINT || signal == SIGTERM;
}

void Say(const std::string& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void SayWhatToTry(const DevCluster& cluster) {
  Say(absl::StrCat("whale: a cluster of ", cluster.replicas(),
                   " servers is running on this machine"));
  Say(absl::StrCat("  coordinator  ", cluster.coordinator()));
  for (uint32_t id = 1; id <= cluster.replicas(); ++id) {
    Say(absl::StrCat("  server ", id, "     http://", cluster.http_address(id),
                     "/metrics"));
  }
  Say(absl::StrCat("  data         ", cluster.dir(),
                   cluster.dir_is_private()
                       ? " (removed at the end; --dir DIR keeps it)"
                       : " (kept)"));
  const std::string where = cluster.coordinator() == "127.0.0.1:7400"
                                ? ""
                                : " --cluster " + cluster.coordinator();
  Say("Try, in another terminal:");
  for (const std::string& line : cluster.ClientEnvironment("admin")) {
    Say("  export " + line);
  }
  for (const char* what :
       {"put greeting hello", "get greeting", "status",
        "bench ycsb --workload a --records 100000 --operations 100000"}) {
    Say(absl::StrCat("  whale ", what, where));
  }
  Say("Ctrl-C stops it.");
}

// A file that appears, complete, when the cluster serves, and goes with it.
class ReadyFile {
 public:
  explicit ReadyFile(std::string path) : path_(std::move(path)) {}
  ~ReadyFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }

  absl::Status Write(const DevCluster& cluster) const {
    if (path_.empty()) return absl::OkStatus();
    nlohmann::ordered_json json = {{"pid", getpid()},
                                   {"coordinator", cluster.coordinator()},
                                   {"dir", cluster.dir()},
                                   {"servers", nlohmann::json::array()}};
    for (uint32_t id = 1; id <= cluster.replicas(); ++id) {
      json["servers"].push_back(
          {{"server", id}, {"http", cluster.http_address(id)}});
    }
    const std::string temporary = path_ + ".new";
    std::ofstream(temporary) << json.dump(2) << "\n";
    if (rename(temporary.c_str(), path_.c_str()) != 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot write --ready-file ", path_));
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
};

absl::Status Serve(const Flags& flags) {
  BlockSignals();
  DevOptions dev = flags.dev;
  dev.replicas_given = flags.options->Given("replicas");
  dev.pool_bytes = flags.serve.pool_bytes;
  dev.serve_arguments = ServeArguments(flags.serve);
  const ReadyFile ready_file(flags.ready_file);
  WHALE_ASSIGN_OR_RETURN(const auto cluster,
                         DevCluster::Start(dev, StopRequested));
  WHALE_RETURN_IF_ERROR(ready_file.Write(*cluster));
  SayWhatToTry(*cluster);
  while (true) {
    const int signal = WaitForSignal(absl::Seconds(1));
    if (signal == SIGINT || signal == SIGTERM) break;
    WHALE_RETURN_IF_ERROR(cluster->Tend(
        [](const std::string& event) { Say("whale: " + event); }));
  }
  Say("whale: stopping");
  cluster->Stop();
  return absl::OkStatus();
}

int Run(const Flags& flags) {
  const absl::Status status = Serve(flags);
  return status.ok() || absl::IsCancelled(status) ? kExitOk
                                                  : PrintError(status);
}

}  // namespace

void RegisterDev(Program& program) {
  Command& command = program.Add(
      "dev", "Runs a whole cluster on this machine",
      "A coordinator on --port and servers with HTTP from port + 10, as child "
      "processes; no root,\nno adapter. With --dir the data survives a "
      "restart; without, it lies in shared memory and\ngoes with the cluster. "
      "Ctrl-C stops everything.");
  auto flags = std::make_shared<Flags>();
  Options& options = command.options;
  flags->options = &options;
  flags->serve.pool_bytes = 512 * kMiB;
  options.AddString("dir", &flags->dev.dir, "where the data lies and stays");
  options.AddCount("port", &flags->dev.port, "of the coordinator", 1);
  options.AddFlag("allow-plaintext", &flags->dev.allow_plaintext,
                  "servers on adapters set connections up without TLS");
  options.AddFlag("tls", &flags->dev.tls,
                  "TLS and tokens, made by the openssl program in DIR/tls");
  options.AddDuration("start-timeout", &flags->dev.start_timeout,
                      "until all servers serve");
  options.AddString("ready-file", &flags->ready_file,
                    "JSON file that exists while the cluster serves");
  AddFormationFlags(&options, &flags->dev.cluster);
  AddServeFlags(&options, &flags->serve);
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

// whale status: servers, shards, roles, epochs, watermarks, lag.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "control/cluster_client.h"
#include "tools/cluster_flags.h"
#include "tools/program.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

struct Flags {
  std::vector<std::string> cluster = {"127.0.0.1:7400"};
  absl::Duration timeout = absl::Seconds(5);
  absl::Duration interval = absl::Seconds(1);
  SecurityFlags security;
  bool watch = false;
  bool json = false;
  bool stages = false;
};

absl::Status PrintOnce(control::ClusterClient& client, const Flags& flags) {
  const auto status = client.GetStatus(flags.timeout);
  if (!status.ok()) return WithCure(status.status());
  const std::string text = flags.json     ? StatusJson(*status)
                           : flags.stages ? StagesText(*status)
                                          : StatusText(*status);
  const bool clear = flags.watch && !flags.json && isatty(STDOUT_FILENO);
  std::printf("%s%s", clear ? "\033[H\033[2J" : "", text.c_str());
  std::fflush(stdout);
  return absl::OkStatus();
}

int Run(const Flags& flags) {
  const auto client = OpenCoordinators(flags.cluster, flags.security);
  if (!client.ok()) return PrintError(client.status());
  while (true) {
    const absl::Status status = PrintOnce(**client, flags);
    if (!status.ok()) {
      const int code = PrintError(status);
      if (!flags.watch) return code;
    }
    if (!flags.watch) return kExitOk;
    absl::SleepFor(flags.interval);
  }
}

}  // namespace

void RegisterStatus(Program& program) {
  Command& command = program.Add(
      "status", "Shows servers, shards and their replicas",
      "Watermarks are positions in the shard's log: all below is announced, "
      "committed and so on.\nLAG: bytes, and age of the oldest of them, that a "
      "replica still lacks.");
  auto flags = std::make_shared<Flags>();
  command.options.AddList("cluster", &flags->cluster,
                          "coordinators of the cluster, HOST:PORT with commas");
  command.options.AddDuration("timeout", &flags->timeout, "for the answer");
  AddSecurityFlags(&command.options, &flags->security);
  command.options.AddFlag("watch", &flags->watch, "again and again");
  command.options.AddDuration("interval", &flags->interval, "of --watch");
  command.options.AddFlag("stages", &flags->stages,
                          "instead, what the stages of puts and gets cost at "
                          "each server since it began (in --json always)");
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

// whale admin: operators' requests to the coordinator.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "control/cluster_client.h"
#include "tools/cluster_flags.h"
#include "tools/formation_flags.h"
#include "tools/moves_text.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

using Reply = absl::StatusOr<proto::AdminReply>;

struct Flags {
  std::vector<std::string> cluster = {"127.0.0.1:7400"};
  absl::Duration timeout = absl::Seconds(30);
  absl::Duration interval = absl::Seconds(1);
  SecurityFlags security;
  bool wait = false;
  uint64_t if_epoch = 0;
  std::vector<std::string> arguments;  // numbers, in order
};

// Says how far it is, until all that operators asked for is done.
int WaitForMoves(const Flags& flags, control::ClusterClient& client) {
  std::string said;
  while (true) {
    const auto status = client.GetStatus(flags.timeout);
    if (!status.ok()) return PrintError(WithCure(status.status()));
    std::string line = MovesLine(*status);
    if (line != said) {
      std::printf("%s\n", line.c_str());
      std::fflush(stdout);
      said = std::move(line);
    }
    if (MovesDone(*status)) return kExitOk;
    absl::SleepFor(flags.interval);
  }
}

int Finish(const Flags& flags, control::ClusterClient& client,
           const Reply& reply) {
  if (!reply.ok()) return PrintError(WithCure(reply.status()));
  std::printf("%s\n",
              reply->message().empty() ? "done" : reply->message().c_str());
  std::fflush(stdout);
  return flags.wait ? WaitForMoves(flags, client) : kExitOk;
}

// A command whose arguments are all numbers.
struct Simple {
  const char* words;
  const char* summary;
  std::vector<const char*> arguments;
  Reply (*call)(control::ClusterClient&, const std::vector<uint32_t>&,
                const Flags&);
};

template <Reply (control::ClusterClient::*method)(const proto::ServerRequest&,
                                                  absl::Duration)>
Reply CallWithServer(control::ClusterClient& client,
                     const std::vector<uint32_t>& numbers, const Flags& flags) {
  proto::ServerRequest request;
  request.set_server_id(numbers[0]);
  return (client.*method)(request, flags.timeout);
}

Reply CallReplace(control::ClusterClient& client,
                  const std::vector<uint32_t>& numbers, const Flags& flags) {
  proto::ReplaceServerRequest request;
  request.set_server_id(numbers[0]);
  request.set_by_server_id(numbers[1]);
  return client.ReplaceServer(request, flags.timeout);
}

Reply CallMove(control::ClusterClient& client,
               const std::vector<uint32_t>& numbers, const Flags& flags) {
  proto::MoveShardRequest request;
  request.set_shard(numbers[0]);
  request.set_from_server_id(numbers[1]);
  request.set_to_server_id(numbers[2]);
  request.set_if_epoch(flags.if_epoch);
  return client.MoveShard(request, flags.timeout);
}

const std::vector<Simple>& SimpleCommands() {
  using control::ClusterClient;
  static const auto& commands = *new std::vector<Simple>{
      {"add-server",
       "Lets a server join the cluster",
       {"SERVER"},
       CallWithServer<&ClusterClient::AddServer>},
      {"remove-server",
       "Takes a server out of the cluster",
       {"SERVER"},
       CallWithServer<&ClusterClient::RemoveServer>},
      {"drain",
       "Moves everything off a server",
       {"SERVER"},
       CallWithServer<&ClusterClient::Drain>},
      {"replace-server",
       "Puts another server in a server's place",
       {"SERVER", "BY"},
       CallReplace},
      {"move-shard",
       "Moves a shard's replica to another server",
       {"SHARD", "FROM", "TO"},
       CallMove},
  };
  return commands;
}

int RunSimple(const Simple& simple, const Flags& flags) {
  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < simple.arguments.size(); ++i) {
    const auto number = ParseCount(flags.arguments[i], 0, UINT32_MAX);
    if (!number.ok()) {
      return PrintError(absl::InvalidArgumentError(
          absl::StrCat(simple.arguments[i], ": ", number.status().message())));
    }
    numbers.push_back(static_cast<uint32_t>(*number));
  }
  const auto client = OpenCoordinators(flags.cluster, flags.security);
  if (!client.ok()) return PrintError(client.status());
  return Finish(flags, **client, simple.call(**client, numbers, flags));
}

void AddCommonFlags(Options* options, Flags* flags) {
  options->AddList("cluster", &flags->cluster,
                   "coordinators of the cluster, HOST:PORT with commas");
  options->AddDuration("timeout", &flags->timeout, "for the answer");
  AddSecurityFlags(options, &flags->security);
}

void AddIfEpoch(Options* options, Flags* flags) {
  options->AddCount("if-epoch", &flags->if_epoch,
                    "only if the shards named are in this epoch; 0: in any");
}

void RegisterSimple(Program& program, const Simple& simple) {
  Command& command =
      program.Add(absl::StrCat("admin ", simple.words), simple.summary);
  auto flags = std::make_shared<Flags>();
  AddCommonFlags(&command.options, flags.get());
  command.options.AddFlag("wait", &flags->wait,
                          "say how far it is, until it is done");
  command.options.AddDuration("interval", &flags->interval, "of --wait");
  if (simple.call == CallMove) AddIfEpoch(&command.options, flags.get());
  flags->arguments.resize(simple.arguments.size());
  for (size_t i = 0; i < simple.arguments.size(); ++i) {
    command.options.AddArgument(simple.arguments[i], &flags->arguments[i],
                                "number");
  }
  command.run = [flags, &simple] { return RunSimple(simple, *flags); };
}

struct PolicyFlags {
  Flags common;
  Options* options = nullptr;  // says which of these were given
  uint32_t mirrors = 0;
  uint64_t by_value_max_bytes = 0;
  uint64_t window_bytes = 0;
  absl::Duration lease;
  absl::Duration session_lease;
  uint64_t copy_bytes_per_second = 0;
  uint32_t min_replicas = 0;
  std::vector<std::string> shards;
};

// The policy in force, with what was given put in its place.
proto::Policy Changed(proto::Policy policy, const PolicyFlags& flags) {
  const Options& options = *flags.options;
  if (options.Given("mirrors")) policy.set_mirrors(flags.mirrors);
  if (options.Given("by-value-max-bytes")) {
    policy.set_by_value_max_bytes(flags.by_value_max_bytes);
  }
  if (options.Given("window-bytes")) {
    policy.set_window_bytes(flags.window_bytes);
  }
  if (options.Given("lease")) {
    policy.set_lease_us(absl::ToInt64Microseconds(flags.lease));
  }
  if (options.Given("session-lease")) {
    policy.set_session_lease_us(absl::ToInt64Microseconds(flags.session_lease));
  }
  if (options.Given("copy-bytes-per-second")) {
    policy.set_copy_bytes_per_second(flags.copy_bytes_per_second);
  }
  if (options.Given("min-replicas")) {
    policy.set_min_replicas(flags.min_replicas);
  }
  return policy;
}

Reply SetPolicy(const PolicyFlags& flags, control::ClusterClient& client) {
  proto::SetPolicyRequest request;
  request.set_if_epoch(flags.common.if_epoch);
  for (const std::string& text : flags.shards) {
    WHALE_ASSIGN_OR_RETURN(const uint64_t shard,
                           ParseCount(text, 0, control::kMaxShards - 1));
    request.add_shards(static_cast<uint32_t>(shard));
  }
  WHALE_ASSIGN_OR_RETURN(
      const proto::ClusterMap map,
      client.GetMap(0, absl::ZeroDuration(), flags.common.timeout));
  const uint32_t model = request.shards().empty() ? 0 : request.shards(0);
  if (model >= static_cast<uint32_t>(map.shards_size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no shard ", model, "; the cluster has ", map.shards_size()));
  }
  *request.mutable_policy() = Changed(map.shards(model).policy(), flags);
  return client.SetPolicy(request, flags.common.timeout);
}

int RunSetPolicy(const PolicyFlags& flags) {
  const auto client =
      OpenCoordinators(flags.common.cluster, flags.common.security);
  if (!client.ok()) return PrintError(client.status());
  return Finish(flags.common, **client, SetPolicy(flags, **client));
}

void RegisterSetPolicy(Program& program) {
  Command& command = program.Add(
      "admin set-policy", "Changes the replication policy of running shards",
      "What is not given stays as it is.");
  auto flags = std::make_shared<PolicyFlags>();
  Options& options = command.options;
  flags->options = &options;
  AddCommonFlags(&options, &flags->common);
  options.AddCount("mirrors", &flags->mirrors,
                   "backups that have a value before its write is "
                   "acknowledged",
                   0, control::kMaxReplicas - 1);
  options.AddBytes("by-value-max-bytes", &flags->by_value_max_bytes,
                   "records up to this size go to every backup by value");
  options.AddBytes("window-bytes", &flags->window_bytes,
                   "acknowledged bytes that may lack a copy somewhere");
  options.AddDuration("lease", &flags->lease, "of the servers");
  options.AddDuration("session-lease", &flags->session_lease,
                      "of the clients' sessions");
  options.AddBytes("copy-bytes-per-second", &flags->copy_bytes_per_second,
                   "what a server copies of others' logs at most; at once");
  AddIfEpoch(&options, &flags->common);
  options.AddCount("min-replicas", &flags->min_replicas,
                   "acknowledge no write with fewer", 1, control::kMaxReplicas);
  options.AddList("shards", &flags->shards,
                  "numbers with commas; none: the whole cluster");
  command.run = [flags] { return RunSetPolicy(*flags); };
}

}  // namespace

void RegisterAdmin(Program& program) {
  program.Group("admin", "Changes a running cluster");
  for (const Simple& simple : SimpleCommands()) RegisterSimple(program, simple);
  RegisterSetPolicy(program);
  RegisterDeclareLost(program);
}

}  // namespace whale::tools

// whale admin: operators' requests to the coordinator.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/cluster_client.h"
#include "tools/cluster_flags.h"
#include "tools/formation_flags.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

using Reply = absl::StatusOr<proto::AdminReply>;

struct Flags {
  std::vector<std::string> cluster = {"127.0.0.1:7400"};
  absl::Duration timeout = absl::Seconds(30);
  std::vector<std::string> arguments;  // numbers, in order
};

int Finish(const Reply& reply) {
  if (!reply.ok()) return PrintError(WithCure(reply.status()));
  std::printf("%s\n",
              reply->message().empty() ? "done" : reply->message().c_str());
  return kExitOk;
}

// A command whose arguments are all numbers.
struct Simple {
  const char* words;
  const char* summary;
  std::vector<const char*> arguments;
  Reply (*call)(control::ClusterClient&, const std::vector<uint32_t>&,
                absl::Duration);
};

template <Reply (control::ClusterClient::*method)(const proto::ServerRequest&,
                                                  absl::Duration)>
Reply CallWithServer(control::ClusterClient& client,
                     const std::vector<uint32_t>& numbers,
                     absl::Duration timeout) {
  proto::ServerRequest request;
  request.set_server_id(numbers[0]);
  return (client.*method)(request, timeout);
}

Reply CallReplace(control::ClusterClient& client,
                  const std::vector<uint32_t>& numbers,
                  absl::Duration timeout) {
  proto::ReplaceServerRequest request;
  request.set_server_id(numbers[0]);
  request.set_by_server_id(numbers[1]);
  return client.ReplaceServer(request, timeout);
}

Reply CallMove(control::ClusterClient& client,
               const std::vector<uint32_t>& numbers, absl::Duration timeout) {
  proto::MoveShardRequest request;
  request.set_shard(numbers[0]);
  request.set_from_server_id(numbers[1]);
  request.set_to_server_id(numbers[2]);
  return client.MoveShard(request, timeout);
}

Reply CallDeclareLost(control::ClusterClient& client,
                      const std::vector<uint32_t>& numbers,
                      absl::Duration timeout) {
  proto::DeclareLostRequest request;
  request.set_shard(numbers[0]);
  return client.DeclareLost(request, timeout);
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
      {"declare-lost",
       "Gives up values that no server has any more",
       {"SHARD"},
       CallDeclareLost},
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
  const absl::Status status = CheckAddresses(flags.cluster);
  if (!status.ok()) return PrintError(status);
  control::ClusterClient client(flags.cluster);
  return Finish(simple.call(client, numbers, flags.timeout));
}

void AddCommonFlags(Options* options, Flags* flags) {
  options->AddList("cluster", &flags->cluster,
                   "coordinators of the cluster, HOST:PORT with commas");
  options->AddDuration("timeout", &flags->timeout, "for the answer");
}

void RegisterSimple(Program& program, const Simple& simple) {
  Command& command =
      program.Add(absl::StrCat("admin ", simple.words), simple.summary);
  auto flags = std::make_shared<Flags>();
  AddCommonFlags(&command.options, flags.get());
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
  if (options.Given("min-replicas")) {
    policy.set_min_replicas(flags.min_replicas);
  }
  return policy;
}

Reply SetPolicy(const PolicyFlags& flags) {
  WHALE_RETURN_IF_ERROR(CheckAddresses(flags.common.cluster));
  proto::SetPolicyRequest request;
  for (const std::string& text : flags.shards) {
    WHALE_ASSIGN_OR_RETURN(const uint64_t shard,
                           ParseCount(text, 0, control::kMaxShards - 1));
    request.add_shards(static_cast<uint32_t>(shard));
  }
  control::ClusterClient client(flags.common.cluster);
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
  options.AddCount("min-replicas", &flags->min_replicas,
                   "acknowledge no write with fewer", 1, control::kMaxReplicas);
  options.AddList("shards", &flags->shards,
                  "numbers with commas; none: the whole cluster");
  command.run = [flags] { return Finish(SetPolicy(*flags)); };
}

}  // namespace

void RegisterAdmin(Program& program) {
  program.Group("admin", "Changes a running cluster");
  for (const Simple& simple : SimpleCommands()) RegisterSimple(program, simple);
  RegisterSetPolicy(program);
}

}  // namespace whale::tools

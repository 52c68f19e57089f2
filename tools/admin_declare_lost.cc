// whale admin declare-lost: gives up values that no member of a shard has.
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "control/cluster_client.h"
#include "control/options.h"
#include "tools/cluster_flags.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

using Json = nlohmann::ordered_json;

struct LostFlags {
  std::vector<std::string> cluster = {"127.0.0.1:7400"};
  absl::Duration timeout = absl::Seconds(30);
  SecurityFlags security;
  std::string shard;
  bool confirm = false;
  bool json = false;
};

// By LSN.
using Values = std::map<uint64_t, proto::MissingValue>;

absl::StatusOr<proto::ShardMissing> MissingOf(control::ClusterClient& client,
                                              uint32_t shard,
                                              absl::Duration timeout) {
  WHALE_ASSIGN_OR_RETURN(const proto::ClusterStatus status,
                         client.GetStatus(timeout));
  if (shard >= static_cast<uint32_t>(status.map().shards_size())) {
    return absl::NotFoundError(absl::StrCat("there is no shard ", shard,
                                            "; the cluster has ",
                                            status.map().shards_size()));
  }
  for (const proto::ShardMissing& missing : status.missing()) {
    if (missing.shard() == shard) return missing;
  }
  return proto::ShardMissing();
}

// Until nothing is missing any more; `given_up` has what was given up.
absl::Status GiveUp(control::ClusterClient& client, uint32_t shard,
                    absl::Duration timeout, Values* given_up) {
  const absl::Time until = absl::Now() + timeout;
  while (true) {
    WHALE_ASSIGN_OR_RETURN(const proto::ShardMissing missing,
                           MissingOf(client, shard, timeout));
    if (missing.values() == 0) return absl::OkStatus();
    proto::DeclareLostRequest request;
    request.set_shard(shard);
    for (const proto::MissingValue& value : missing.first()) {
      if (!given_up->emplace(value.lsn(), value).second) continue;
      request.add_lsns(value.lsn());
    }
    if (!request.lsns().empty()) {
      WHALE_RETURN_IF_ERROR(client.DeclareLost(request, timeout).status());
    } else if (absl::Now() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat("the values are given up, but the shard still lists ",
                       missing.values(),
                       " as missing; whale status says whether it "
                       "serves"));
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
}

void Print(const LostFlags& flags, uint32_t shard, const Values& values,
           const proto::ShardMissing& missing) {
  if (flags.json) {
    Json json = {{"shard", shard},
                 {"values", flags.confirm ? values.size() : missing.values()},
                 {"given_up", flags.confirm},
                 {"may_be_at", missing.may_be_at()},
                 {"list", Json::array()}};
    for (const auto& [lsn, value] : values) {
      json["list"].push_back(
          {{"lsn", lsn},
           {"key_hash", absl::StrFormat("%016x", value.key_hash())},
           {"record_bytes", value.record_bytes()}});
    }
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  if (values.empty()) {
    std::printf("shard %u lacks no values\n", shard);
    return;
  }
  std::printf("LSN\tKEY HASH\tRECORD BYTES\n");
  for (const auto& [lsn, value] : values) {
    std::printf("%s\n", absl::StrFormat("%d\t%016x\t%d", lsn, value.key_hash(),
                                        value.record_bytes())
                            .c_str());
  }
  if (flags.confirm) {
    std::printf(
        "%zu values of shard %u are given up: their keys answer "
        "\"data loss\" until they are written again\n",
        values.size(), shard);
    return;
  }
  std::printf(
      "shard %u lacks %s values, which may be in the pools of servers "
      "%s. Nothing was changed: bring those back, or give the values "
      "up for good with --confirm\n",
      shard, absl::StrCat(missing.values()).c_str(),
      absl::StrJoin(missing.may_be_at(), ", ").c_str());
}

int RunDeclareLost(const LostFlags& flags) {
  const auto shard = ParseCount(flags.shard, 0, control::kMaxShards - 1);
  if (!shard.ok()) {
    return PrintError(absl::InvalidArgumentError(
        absl::StrCat("SHARD: ", shard.status().message())));
  }
  const auto number = static_cast<uint32_t>(*shard);
  const auto client = OpenCoordinators(flags.cluster, flags.security);
  if (!client.ok()) return PrintError(client.status());
  const auto missing = MissingOf(**client, number, flags.timeout);
  if (!missing.ok()) return PrintError(WithCure(missing.status()));
  Values values;
  if (flags.confirm) {
    const absl::Status status =
        GiveUp(**client, number, flags.timeout, &values);
    if (!status.ok()) return PrintError(WithCure(status));
  } else {
    for (const proto::MissingValue& value : missing->first()) {
      values.emplace(value.lsn(), value);
    }
  }
  Print(flags, number, values, *missing);
  return kExitOk;
}

}  // namespace

void RegisterDeclareLost(Program& program) {
  Command& command = program.Add(
      "admin declare-lost", "Gives up values that no server has any more",
      "Lists the committed values that no member of the shard has. With "
      "--confirm\ntheir keys answer \"data loss\" from then on, until they are "
      "written again, even\nif a server that has them comes back.");
  auto flags = std::make_shared<LostFlags>();
  Options& options = command.options;
  options.AddList("cluster", &flags->cluster,
                  "coordinators of the cluster, HOST:PORT with commas");
  options.AddDuration("timeout", &flags->timeout, "for each answer");
  AddSecurityFlags(&options, &flags->security);
  options.AddFlag("confirm", &flags->confirm, "give them up for good");
  options.AddFlag("json", &flags->json, "for programs");
  options.AddArgument("SHARD", &flags->shard, "number");
  command.run = [flags] { return RunDeclareLost(*flags); };
}

}  // namespace whale::tools

#include "tools/formation_flags.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace whale::tools {
namespace {

void AddMicroseconds(Options* options, const std::string& name,
                     const std::string& shown, uint64_t* value,
                     const std::string& help) {
  options->Add(name, "TIME", shown, help,
               [value](std::string_view text) -> absl::Status {
                 WHALE_ASSIGN_OR_RETURN(const absl::Duration time,
                                        ParseDuration(text));
                 *value = absl::ToInt64Microseconds(time);
                 return absl::OkStatus();
               });
}

}  // namespace

void AddAutoBytes(Options* options, const std::string& name,
                  std::optional<uint64_t>* value, const std::string& help) {
  options->Add(name, "SIZE|auto", "auto", help,
               [value](std::string_view text) -> absl::Status {
                 if (text == "auto") {
                   value->reset();
                   return absl::OkStatus();
                 }
                 WHALE_ASSIGN_OR_RETURN(*value, ParseBytes(text));
                 return absl::OkStatus();
               });
}

void AddFormationFlags(Options* options, control::ClusterOptions* cluster) {
  cluster->shard_count = kDefaultShards;
  options->AddCount("replicas", &cluster->replicas,
                    "servers that hold each shard", 1, control::kMaxReplicas);
  options->AddCount("shards", &cluster->shard_count,
                    "shards of the cluster; fixed once it is formed", 1,
                    control::kMaxShards);
  options->AddCount("mirrors", &cluster->mirrors,
                    "backups that have a value before its write is "
                    "acknowledged",
                    0, control::kMaxReplicas - 1);
  AddAutoBytes(options, "by-value-max-bytes", &cluster->by_value_max_bytes,
               "records up to this size go to every backup by value at once");
  options->AddBytes("window-bytes", &cluster->window_bytes,
                    "acknowledged bytes that may still lack a copy somewhere");
  AddMicroseconds(options, "lease", "2s", &cluster->lease_us,
                  "a server unheard of for so long is out");
  AddMicroseconds(options, "session-lease", "60s", &cluster->session_lease_us,
                  "a client's session unheard of for so long ends");
  options->AddBytes("copy-bytes-per-second", &cluster->copy_bytes_per_second,
                    "what a server copies of others' logs at most");
  options->Add("min-replicas", "N|auto", "auto",
               "acknowledge no write with fewer; auto is 2 of 3 or more",
               [cluster](std::string_view text) -> absl::Status {
                 if (text == "auto") {
                   cluster->min_replicas.reset();
                   return absl::OkStatus();
                 }
                 WHALE_ASSIGN_OR_RETURN(
                     const uint64_t count,
                     ParseCount(text, 1, control::kMaxReplicas));
                 cluster->min_replicas = static_cast<uint32_t>(count);
                 return absl::OkStatus();
               });
  options->AddCount("primaries-on", &cluster->primaries_on,
                    "place all primaries on this server; 0: spread them", 0,
                    control::kMaxReplicas);
}

std::vector<std::string> FormationArguments(
    const control::ClusterOptions& cluster) {
  const auto number = [](uint64_t value) { return std::to_string(value); };
  const auto optional = [](const auto& value) {
    return value ? std::to_string(*value) : std::string("auto");
  };
  return {"--replicas",
          number(cluster.replicas),
          "--shards",
          number(cluster.shard_count),
          "--mirrors",
          number(cluster.mirrors),
          "--by-value-max-bytes",
          optional(cluster.by_value_max_bytes),
          "--window-bytes",
          number(cluster.window_bytes),
          "--lease",
          absl::StrCat(cluster.lease_us, "us"),
          "--session-lease",
          absl::StrCat(cluster.session_lease_us, "us"),
          "--copy-bytes-per-second",
          number(cluster.copy_bytes_per_second),
          "--min-replicas",
          optional(cluster.min_replicas),
          "--primaries-on",
          number(cluster.primaries_on)};
}

}  // namespace whale::tools

#include "tools/coordinator_metrics.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tools/metric_families.h"

namespace whale::tools {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

void AddOne(MetricFamilies* families, const char* name, const char* help,
            double value) {
  MetricFamilies::Add(families->Family(name, help, MetricType::Gauge), value);
}

void AddStatus(const proto::ClusterStatus& status, MetricFamilies* families) {
  const proto::ClusterMap& map = status.map();
  const auto alive =
      std::count_if(map.servers().begin(), map.servers().end(),
                    [](const proto::ServerEntry& s) { return s.alive(); });
  const auto active =
      std::count_if(map.shards().begin(), map.shards().end(),
                    [](const proto::ShardEntry& s) { return s.active(); });
  MetricFamily& servers = families->Family(
      "coordinator_servers", "Servers of the cluster", MetricType::Gauge);
  MetricFamilies::Add(servers, static_cast<double>(alive),
                      {{"state", "alive"}});
  MetricFamilies::Add(servers, static_cast<double>(map.servers_size() - alive),
                      {{"state", "away"}});
  MetricFamily& shards = families->Family(
      "coordinator_shards", "Shards of the cluster", MetricType::Gauge);
  MetricFamilies::Add(shards, static_cast<double>(active),
                      {{"state", "active"}});
  MetricFamilies::Add(shards, static_cast<double>(map.shards_size() - active),
                      {{"state", "waiting"}});
  AddOne(families, "coordinator_warnings", "What whale status warns of",
         status.warnings_size());
  AddOne(families, "coordinator_moves",
         "Replicas that are to come to a server or to leave it",
         status.moves_size());
  AddOne(families, "coordinator_map_version", "Version of the clients' map",
         static_cast<double>(map.version()));
  MetricFamily& epochs =
      families->Family("coordinator_shard_epoch",
                       "Epoch of the stored configuration", MetricType::Gauge);
  MetricFamily& replicas = families->Family("coordinator_shard_replicas",
                                            "Members of it", MetricType::Gauge);
  for (const proto::ShardEntry& shard : map.shards()) {
    const std::string number = absl::StrCat(shard.shard());
    MetricFamilies::Add(epochs, static_cast<double>(shard.epoch()),
                        {{"shard", number}});
    MetricFamilies::Add(replicas, shard.members_size(), {{"shard", number}});
  }
}

}  // namespace

void CoordinatorMetrics::Note(const control::ChangeRecord& record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (record.abandoned) {
    ++abandoned_;
    return;
  }
  ++done_;
  seconds_ += static_cast<double>(record.TotalNs()) / 1e9;
  for (size_t i = 0; i < control::kChangeSteps; ++i) {
    step_seconds_[i] += static_cast<double>(record.step_ns[i]) / 1e9;
  }
}

std::string CoordinatorMetrics::Text(
    const absl::StatusOr<proto::ClusterStatus>& status) const {
  MetricFamilies families;
  AddOne(&families, "coordinator_leads", "Whether this coordinator leads",
         status.ok());
  if (status.ok()) AddStatus(*status, &families);
  const std::lock_guard<std::mutex> lock(mutex_);
  MetricFamily& changes = families.Family(
      "coordinator_changes_total",
      "Changes of a shard's configuration; those abandoned began again",
      MetricType::Counter);
  MetricFamilies::Add(changes, static_cast<double>(done_),
                      {{"result", "done"}});
  MetricFamilies::Add(changes, static_cast<double>(abandoned_),
                      {{"result", "abandoned"}});
  MetricFamilies::AddSum(
      families.Family("coordinator_change_seconds",
                      "From the reason of a change until all members serve",
                      MetricType::Summary),
      done_, seconds_);
  MetricFamily& steps =
      families.Family("coordinator_change_step_seconds",
                      "The same, step by step", MetricType::Summary);
  for (size_t i = 0; i < control::kChangeSteps; ++i) {
    MetricFamilies::AddSum(
        steps, done_, step_seconds_[i],
        {{"step", std::string(control::kChangeStepNames[i])}});
  }
  return families.Text();
}

}  // namespace whale::tools

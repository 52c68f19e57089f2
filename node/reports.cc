#include "node/reports.h"

#include <algorithm>
#include <string>

namespace whale::node {
namespace {

std::string BytesOf(const logstore::Uuid& uuid) {
  if (uuid == logstore::Uuid{}) return "";
  return {reinterpret_cast<const char*>(uuid.data()), uuid.size()};
}

std::vector<ServerId> BrokenPeers(const Reports::Replicas& replicas) {
  std::vector<ServerId> broken;
  for (const auto& replica : replicas) replica->CollectBroken(&broken);
  std::sort(broken.begin(), broken.end());
  broken.erase(std::unique(broken.begin(), broken.end()), broken.end());
  return broken;
}

}  // namespace

void Reports::FillStages(proto::ServerReport* report) const {
  const StageCosts& stages = context_->stages;
  const uint64_t cycles = CycleCount() - context_->began_cycles;
  const int64_t ns = context_->clock->NowNs() - context_->began_ns;
  const double ns_per_cycle =
      static_cast<double>(ns) /
      static_cast<double>(std::max<uint64_t>(cycles, 1));
  for (size_t i = 0; i < kStages; ++i) {
    const auto summary = stages.Summarize(static_cast<Stage>(i));
    proto::StageReport* stage = report->add_stages();
    stage->set_stage(std::string(kStageNames[i]));
    stage->set_count(summary.count);
    stage->set_samples(summary.samples);
    stage->set_mean_ns(summary.mean * ns_per_cycle);
    stage->set_p50_ns(static_cast<double>(summary.p50) * ns_per_cycle);
    stage->set_p99_ns(static_cast<double>(summary.p99) * ns_per_cycle);
    stage->set_max_ns(static_cast<double>(summary.max) * ns_per_cycle);
  }
}

void Reports::Fill(const Replicas& replicas,
                   proto::ServerReport* report) const {
  const logstore::Geometry& geometry = context_->pool->geometry();
  const pmem::PersistenceDomain& domain = context_->pool->domain();
  report->set_protocol_version(wire::kProtocolVersion);
  report->set_server_id(context_->options.id.value());
  report->set_incarnation(context_->options.incarnation.value());
  report->set_cluster_uuid(BytesOf(geometry.cluster_uuid));
  report->set_pool_uuid(BytesOf(geometry.pool_uuid));
  report->set_fabric(std::string(context_->fabric->name()));
  report->set_fabric_address(context_->fabric->address());
  report->set_fabric_detail(context_->options.fabric_detail);
  report->set_http_address(context_->options.http_address);
  report->set_domain(std::string(domain.name()));
  report->set_survives(std::string(pmem::SurvivesName(
      std::min(domain.survives(), context_->options.survives_at_most))));
  report->set_sequence(sequence_);
  report->set_data_progress(context_->counters.turns);
  report->set_segment_bytes(geometry.segment_bytes);
  report->set_ring_slots(geometry.ring_slots);
  report->set_pool_segments(geometry.segment_slots);
  report->set_free_segments(context_->pool->free_slots());
  report->set_shard_count(geometry.shard_count);
  report->set_leaving(leaving_);
  if (context_->stages.enabled()) FillStages(report);
  for (const ServerId peer : BrokenPeers(replicas)) {
    report->add_dead_peers(peer.value());
  }
  for (const auto& replica : replicas) {
    replica->FillReport(report->add_shards());
    if (report->note().empty()) report->set_note(replica->note());
  }
}

void Reports::Turn(const Replicas& replicas) {
  uint64_t generations = 0;
  for (const auto& replica : replicas) {
    generations += replica->report_generation();
  }
  if (context_->now_ns < next_ns_ && generations == generations_) return;
  generations_ = generations;
  next_ns_ = context_->now_ns + interval_ns_;
  ++sequence_;
  last_.Clear();
  Fill(replicas, &last_);
  for (const auto& replica : replicas) {
    replica->set_next_sequence(sequence_ + 1);
  }
  lease_->OnReportSent(sequence_, context_->clock->NowNs());
  context_->control->Send(last_);
}

}  // namespace whale::node

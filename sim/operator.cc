#include "sim/operator.h"

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "control/plans.h"
#include "sim/workload.h"

namespace whale::sim {

void Operator::AddSpareServers() {
  for (size_t i = cluster_->setup().Replicas(); i < cluster_->server_count();
       ++i) {
    proto::ServerRequest request;
    request.set_server_id(cluster_->server(i).node());
    cluster_->coordinator().Ask([request](proto::StoredState* state) {
      return control::PlanAddServer(request, state);
    });
  }
}

void Operator::Start() { Plan(); }

void Operator::Plan() {
  const int64_t pause = static_cast<int64_t>(random_.Below(600 * kMillisecond));
  cluster_->world().After(pause, [this] {
    if (stopped_) return;
    AskForSomething();
    Plan();
  });
}

void Operator::AskForSomething() {
  const auto ask = [this](const char* what, auto plan, const auto& request) {
    const bool taken =
        cluster_->coordinator().Ask([plan, request](proto::StoredState* state) {
          return plan(request, state);
        });
    accepted_ += taken;
    cluster_->world().Trace(absl::StrCat("operator: ", what, " ",
                                         request.ShortDebugString(),
                                         taken ? "" : ": refused"));
  };
  proto::ServerRequest server;
  server.set_server_id(AnyServer());
  const uint64_t kind = random_.Below(4);
  if (kind == 0) {
    ask("drain", control::PlanDrain, server);
  } else if (kind == 1 && server.server_id() <= cluster_->server_count()) {
    ask("add", control::PlanAddServer, server);
  } else {
    proto::MoveShardRequest move;
    move.set_shard(random_.Below(cluster_->setup().shards + 1));
    move.set_from_server_id(AnyServer());
    move.set_to_server_id(AnyServer());
    ask("move", control::PlanMoveShard, move);
  }
}

void Operator::StartGivingUp(const std::vector<std::string>& keys,
                             checkers::History* history) {
  keys_ = keys;
  history_ = history;
  PlanGivingUp();
}

void Operator::PlanGivingUp() {
  const int64_t pause = static_cast<int64_t>(random_.Below(2 * kSecond));
  cluster_->world().After(pause, [this] {
    if (stopped_) return;
    GiveUp();
    PlanGivingUp();
  });
}

void Operator::GiveUp() {
  const auto status = cluster_->coordinator().Status();
  if (!status) return;
  for (const proto::ShardMissing& shard : status->missing()) {
    proto::DeclareLostRequest request;
    request.set_shard(shard.shard());
    for (const proto::MissingValue& value : shard.first()) {
      if (random_.Chance(0.2)) continue;
      request.add_lsns(value.lsn());
      for (const std::string& key : keys_) {
        if (HashKey(key) != value.key_hash()) continue;
        history_->GiveUp(NameOfKey(key), value.lsn());
      }
    }
    const bool taken = cluster_->coordinator().DeclareLost(request);
    if (taken) given_up_ += request.lsns_size();
    cluster_->world().Trace(absl::StrCat("operator: declare-lost ",
                                         request.ShortDebugString(),
                                         taken ? "" : ": refused"));
  }
}

bool Operator::Done() {
  const auto status = cluster_->coordinator().Status();
  // A coordinator that has just started knows of nothing yet.
  return status.has_value() && !status->map().shards().empty() &&
         status->moves().empty();
}

}  // namespace whale::sim

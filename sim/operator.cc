#include "sim/operator.h"

#include "absl/strings/str_cat.h"
#include "control/plans.h"

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

bool Operator::Done() {
  const auto status = cluster_->coordinator().Status();
  // A coordinator that has just started knows of nothing yet.
  return status.has_value() && !status->map().shards().empty() &&
         status->moves().empty();
}

}  // namespace whale::sim

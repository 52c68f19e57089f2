// What servers and clients are told about one shard.

#include "control/change.h"

namespace whale::control {

proto::ShardStep ShardMachine::StepFor(const ChangeContext& context,
                                       const ServerState& server) const {
  const proto::StoredShard& stored = Stored(context);
  const bool concerned =
      IsMember(context, server.id()) || (change_ && change_->Has(server.id()));
  if (stored.reserved_epoch() != 0 && concerned) {
    const bool sealing =
        change_ && change_->epoch == stored.reserved_epoch() &&
        (change_->step == Step::kSeal || change_->step == Step::kStore);
    return sealing ? proto::STEP_SEAL : proto::STEP_STOP;
  }
  if (!IsMember(context, server.id())) {
    return IsPlaced(context, server.id()) ? proto::STEP_LEARN
                                          : proto::STEP_RELEASE;
  }
  if (!TakesPart(server)) return proto::STEP_NONE;
  return activated_ ? proto::STEP_ACTIVATE : proto::STEP_ADOPT;
}

// Members and, where they are known, their processes.
void ShardMachine::FillMembers(const ChangeContext& context,
                               proto::ShardDirective* directive) const {
  const proto::StoredShard& stored = Stored(context);
  const bool ends = directive->step() == proto::STEP_STOP ||
                    directive->step() == proto::STEP_SEAL;
  directive->set_epoch(ends ? stored.reserved_epoch() : stored.epoch());
  *directive->mutable_members() =
      ends ? stored.reserved_members() : stored.members();
  const bool of_change =
      ends && change_ && change_->epoch == stored.reserved_epoch();
  const auto& processes = of_change ? change_->incarnations : bound_;
  for (const uint32_t member : directive->members()) {
    const auto it = processes.find(member);
    const bool known = (of_change || !ends) && it != processes.end();
    directive->add_member_incarnations(known ? it->second : 0);
  }
}

proto::ShardDirective ShardMachine::DirectiveFor(
    const ChangeContext& context, const ServerState& server) const {
  const proto::StoredShard& stored = Stored(context);
  proto::ShardDirective directive;
  directive.set_shard(shard_);
  directive.set_step(StepFor(context, server));
  FillMembers(context, &directive);
  directive.set_committed(stored.committed());
  directive.set_start(stored.start());
  *directive.mutable_history() = stored.history();
  *directive.mutable_policy() = stored.policy();
  directive.set_free(directive.step() == proto::STEP_RELEASE &&
                     MayFree(context));
  FillMissing(context, &directive);
  if (directive.step() == proto::STEP_SEAL) {
    for (const uint32_t peer : change_->revoke) {
      if (peer != server.id()) directive.add_revoke(peer);
    }
  }
  return directive;
}

proto::ShardEntry ShardMachine::EntryFor(const ChangeContext& context) const {
  const proto::StoredShard& stored = Stored(context);
  proto::ShardEntry entry;
  entry.set_shard(shard_);
  entry.set_epoch(stored.epoch());
  *entry.mutable_members() = stored.members();
  *entry.mutable_policy() = stored.policy();
  *entry.mutable_placed() = stored.placed();
  entry.set_active(!change_ && stored.reserved_epoch() == 0 && activated_ &&
                   why_not_.empty());
  if (!entry.active()) entry.set_why_not(why_not_);
  return entry;
}

bool ShardMachine::Serves(const ChangeContext& context,
                          const ServerState& server) const {
  if (StepFor(context, server) != proto::STEP_ACTIVATE) return false;
  const proto::ShardReport* report = ReportOf(context, server.id());
  return report != nullptr && report->phase() == proto::SHARD_ACTIVE &&
         report->epoch() == Stored(context).epoch();
}

bool ShardMachine::MayConnect(const ChangeContext& context,
                              const ServerState& server) const {
  const proto::StoredShard& stored = Stored(context);
  const proto::ShardReport* report = ReportOf(context, server.id());
  const uint64_t ended = report == nullptr ? 0 : report->ended_epoch();
  const bool concerned =
      IsMember(context, server.id()) || (change_ && change_->Has(server.id()));
  // Who holds nothing, or only copies, has ended all it ever took part in.
  const bool outside =
      report != nullptr && (report->phase() == proto::SHARD_LEARNING ||
                            report->phase() == proto::SHARD_RELEASED ||
                            report->phase() == proto::SHARD_ABSENT);
  if (!concerned && outside) return true;
  if (stored.reserved_epoch() != 0) return ended >= stored.reserved_epoch();
  return ended >= stored.epoch() ||
         (IsMember(context, server.id()) && TakesPart(server));
}

bool ShardMachine::AtRest(const ChangeContext& context) const {
  return EntryFor(context).active() && wanted_primary_ == 0;
}

}  // namespace whale::control

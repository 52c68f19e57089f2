// Values that no member of a shard has: what is known of them, who may have
// them, and what the operator gives up (protocol, section 8, "Holes that
// stay").

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/rare_branch.h"
#include "control/change.h"

namespace whale::control {
namespace {

// What one directive lists at most.
constexpr size_t kMaxListed = 1024;

}  // namespace

std::map<uint64_t, proto::MissingValue> ShardMachine::MissingValues(
    const ChangeContext& context, bool* complete) const {
  const proto::StoredShard& stored = Stored(context);
  std::map<uint64_t, proto::MissingValue> values;
  *complete = !change_ && stored.reserved_epoch() == 0 && activated_ &&
              WhyNotServing(context).empty();
  if (!stored.lacks_values()) return values;
  for (const uint32_t member : stored.members()) {
    const proto::ShardReport* report = ReportOf(context, member);
    if (report == nullptr || report->phase() != proto::SHARD_ACTIVE ||
        report->epoch() != stored.epoch()) {
      continue;
    }
    for (const proto::MissingValue& value : report->missing()) {
      values.emplace(value.lsn(), value);
    }
    // What is not applied yet may be a missing record.
    *complete &= report->applied() >= stored.committed() &&
                 static_cast<uint64_t>(report->missing_size()) ==
                     report->missing_values();
  }
  return values;
}

void ShardMachine::FillMissing(const ChangeContext& context,
                               proto::ShardDirective* directive) const {
  const proto::StoredShard& stored = Stored(context);
  if (!stored.lacks_values()) return;
  directive->set_lacks_values(true);
  if (directive->step() == proto::STEP_STOP ||
      directive->step() == proto::STEP_SEAL) {
    return;
  }
  bool complete = false;
  const auto values = MissingValues(context, &complete);
  for (const auto& [lsn, value] : values) {
    if (directive->missing_size() == kMaxListed) break;
    *directive->add_missing() = value;
  }
  directive->set_missing_is_complete(complete && values.size() <= kMaxListed);
  *directive->mutable_declared_lost() = stored.declared_lost();
}

bool ShardMachine::AnyoneMisses(const ChangeContext& context) const {
  const auto& members = Stored(context).members();
  return std::any_of(members.begin(), members.end(), [&](uint32_t member) {
    const proto::ShardReport* report = ReportOf(context, member);
    return report != nullptr && report->missing_values() > 0;
  });
}

void ShardMachine::SettleMissing(const ChangeContext& context) {
  const proto::StoredShard& stored = Stored(context);
  proto::StoredShard* wanted = Wanted(context);
  if (!stored.lacks_values()) {
    if (!AnyoneMisses(context)) return;
    RareBranch<"missing: listed by one that came later">();
    wanted->set_lacks_values(true);
    *context.wanted_changed = true;
    return;
  }
  bool complete = false;
  const auto values = MissingValues(context, &complete);
  if (!complete) return;
  // What was asked since is not stored yet.
  const bool open = std::any_of(
      wanted->declared_lost().begin(), wanted->declared_lost().end(),
      [&values](uint64_t lsn) { return values.count(lsn) != 0; });
  // Who is away may miss what those have that are here.
  const bool none = values.empty() && AllPlacedAreWhole(context);
  if (open || (!none && wanted->declared_lost().empty())) return;
  RareBranch<"missing: settled">();
  wanted->clear_declared_lost();
  if (none) {
    wanted->clear_lacks_values();
    wanted->clear_missing_at();
  }
  *context.wanted_changed = true;
}

void ShardMachine::AddMissing(const ChangeContext& context,
                              proto::ClusterStatus* status) const {
  const proto::StoredShard& stored = Stored(context);
  uint64_t lost = 0;
  uint64_t missing = 0;
  for (const uint32_t member : stored.members()) {
    const proto::ShardReport* report = ReportOf(context, member);
    if (report == nullptr || report->epoch() != stored.epoch()) continue;
    lost = std::max(lost, report->lost_values());
    missing = std::max(missing, report->missing_values());
  }
  if (!stored.lacks_values() && lost == 0) return;
  proto::ShardMissing* entry = status->add_missing();
  entry->set_shard(shard_);
  entry->set_lost_values(lost);
  entry->set_lacks_values(stored.lacks_values());
  *entry->mutable_may_be_at() = stored.missing_at();
  bool complete = false;
  for (const auto& [lsn, value] : MissingValues(context, &complete)) {
    *entry->add_first() = value;
  }
  entry->set_values(
      std::max(missing, static_cast<uint64_t>(entry->first_size())));
}

absl::StatusOr<std::string> ShardMachine::DeclareLost(
    const ChangeContext& context,
    const google::protobuf::RepeatedField<uint64_t>& lsns) const {
  if (!EntryFor(context).active()) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard ", shard_, " does not serve: ", why_not_,
                     "; what is missing is known once it does"));
  }
  bool complete = false;
  const auto values = MissingValues(context, &complete);
  proto::StoredShard* wanted = Wanted(context);
  int given_up = 0;
  for (const uint64_t lsn : lsns) {
    if (values.count(lsn) == 0) continue;
    ++given_up;
    const auto& already = wanted->declared_lost();
    if (std::find(already.begin(), already.end(), lsn) != already.end()) {
      continue;
    }
    wanted->add_declared_lost(lsn);
    *context.wanted_changed = true;
  }
  if (given_up == 0) return "none of these values is missing";
  return absl::StrCat(given_up, " values of shard ", shard_,
                      " are given up: their keys answer \"data loss\"");
}

}  // namespace whale::control

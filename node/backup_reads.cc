#include "node/backup_reads.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "logstore/record.h"
#include "metadata_mcast/cells.h"

namespace whale::node {
namespace {

// A key that many write may be found pending again and again; each look is
// progress of somebody's, but this one must end.
constexpr uint32_t kMaxTries = 64;

}  // namespace

BackupReads::BackupReads(Context* context, Answers* answers, ReadGate* gate,
                         chain::ReplicaState* state, Landing* landing,
                         BackupRole* role)
    : context_(context),
      answers_(answers),
      gate_(gate),
      state_(state),
      landing_(landing),
      role_(role) {}

WorkCookie BackupReads::Cookie(WorkKind kind, size_t index) const {
  return {
      .kind = kind,
      .shard = state_->shard,
      .index = static_cast<uint8_t>(index),
      .epoch_low = static_cast<uint32_t>(role_->configuration().epoch.value())};
}

void BackupReads::Serve(const Get& get) {
  Waiting waiting{.get = get, .key = std::string(get.key)};
  const bool weak =
      get.level == ReadLevel::kStale ||
      (get.level == ReadLevel::kSession && state_->committed >= get.least_seen);
  Look(std::move(waiting), weak);
}

bool BackupReads::NeedsLease(const Waiting& waiting) const {
  return waiting.get.level != ReadLevel::kStale &&
         (waiting.get.level != ReadLevel::kSession ||
          state_->committed < waiting.get.least_seen);
}

void BackupReads::Look(Waiting waiting, bool final_watermark) {
  if (++waiting.tries > kMaxTries) {
    Refuse(waiting, wire::Result::kUnavailable, wire::Reason::kHole);
    return;
  }
  if (role_->behind() && waiting.get.level != ReadLevel::kStale) {
    Refuse(waiting, wire::Result::kNotServing);
    return;
  }
  const chain::Visible visible =
      FindVisible(*state_, waiting.get.hash, waiting.key, state_->committed,
                  final_watermark, waiting.not_this);
  switch (visible.kind) {
    case chain::Visible::Kind::kUncommitted:
      for_next_cell_.push_back(std::move(waiting));
      StartCommitCellRead();
      return;
    case chain::Visible::Kind::kElsewhere:
      StartHoleRead(std::move(waiting), visible);
      return;
    case chain::Visible::Kind::kAbsent:
      AnswerAbsent(waiting);
      return;
    case chain::Visible::Kind::kMissing:
      Refuse(waiting, wire::Result::kUnavailable, wire::Reason::kHole);
      return;
    case chain::Visible::Kind::kLost:
      AnswerLost(waiting);
      return;
    case chain::Visible::Kind::kHere:
      AnswerRecord(waiting, *visible.record,
                   Cookie(WorkKind::kValueAnswer, 0).Encode());
      return;
  }
}

bool BackupReads::AnswerRecord(const Waiting& waiting,
                               const logstore::RecordHeader& record,
                               uint64_t cookie) {
  if (logstore::IsTombstone(record)) {
    AnswerAbsent(waiting);
    return false;
  }
  if (NeedsLease(waiting) && !gate_->LeaseIsValid()) {
    RareBranch<"read: lease is over when the value is known">();
    Refuse(waiting, wire::Result::kNotServing);
    return false;
  }
  return answers_->Found(waiting.get.connection, waiting.get.tag,
                         waiting.get.buffer, record, state_->committed, cookie);
}

void BackupReads::AnswerAbsent(const Waiting& waiting) {
  if (NeedsLease(waiting) && !gate_->LeaseIsValid()) {
    Refuse(waiting, wire::Result::kNotServing);
    return;
  }
  answers_->NotFound(waiting.get.connection, waiting.get.tag,
                     state_->committed);
}

void BackupReads::AnswerLost(const Waiting& waiting) {
  const bool may = !NeedsLease(waiting) || gate_->LeaseIsValid();
  Refuse(waiting, may ? wire::Result::kDataLoss : wire::Result::kNotServing,
         may ? wire::Reason::kHole : wire::Reason::kNone);
}

void BackupReads::Refuse(const Waiting& waiting, wire::Result result,
                         wire::Reason reason) {
  answers_->Refuse(waiting.get.connection, wire::RequestType::kGet,
                   waiting.get.tag, result, reason);
}

// --- The commit cell ---

void BackupReads::StartCommitCellRead() {
  if (cell_in_flight_ || for_next_cell_.empty()) return;
  const fabric::Grant* cells = role_->commit_cells();
  const bool posted =
      cells != nullptr &&
      role_->primary_link().Post([&](fabric::WorkRequest* out, size_t room) {
        if (room == 0) return size_t{0};
        *out = {.opcode = fabric::Opcode::kRead,
                .signaled = true,
                .local = landing_->commit_cells(),
                .length_bytes = 2 * logstore::kCellBytes,
                .remote_key = cells->key,
                .remote_address = cells->address,
                .cookie = Cookie(WorkKind::kCommitCell, 0).Encode()};
        return size_t{1};
      });
  if (!posted) {
    for (const Waiting& waiting : for_next_cell_) {
      Refuse(waiting, wire::Result::kNotServing);
    }
    for_next_cell_.clear();
    return;
  }
  ++context_->counters.commit_cell_reads;
  cell_in_flight_ = true;
  std::swap(for_this_cell_, for_next_cell_);
}

void BackupReads::AskAgain(Waiting waiting) {
  if (++waiting.tries > kMaxTries) {
    Refuse(waiting, wire::Result::kUnavailable, wire::Reason::kHole);
  } else {
    for_next_cell_.push_back(std::move(waiting));
  }
}

void BackupReads::OnCommitCell(fabric::Outcome outcome) {
  cell_in_flight_ = false;
  std::vector<Waiting> ready = std::move(for_this_cell_);
  for_this_cell_.clear();
  if (outcome == fabric::Outcome::kOk &&
      !metadata_mcast::IsSettled<metadata_mcast::CommitCell>(
          landing_->commit_cells())) {
    RareBranch<"read: commit cells changed under the READ">();
    for (Waiting& waiting : ready) AskAgain(std::move(waiting));
    StartCommitCellRead();
    return;
  }
  const auto cell =
      outcome == fabric::Outcome::kOk
          ? metadata_mcast::NewestWhole<metadata_mcast::CommitCell>(
                landing_->commit_cells(), role_->configuration().epoch)
          : std::nullopt;
  if (!cell) {
    // The primary is gone, or has gone on to another epoch.
    RareBranch<"read: commit cell is of another epoch or gone">();
    for (const Waiting& waiting : ready) {
      Refuse(waiting, wire::Result::kNotServing);
    }
  } else {
    state_->committed = std::max(state_->committed, Lsn(cell->committed));
    role_->Announce();
    for (Waiting& waiting : ready) Look(std::move(waiting), true);
  }
  StartCommitCellRead();
}

// --- Values still to come ---

void BackupReads::StartHoleRead(Waiting waiting,
                                const chain::Visible& visible) {
  const auto slot = std::find_if(holes_.begin(), holes_.end(),
                                 [](const HoleRead& h) { return !h.busy; });
  if (slot == holes_.end()) {
    RareBranch<"read: waits for a landing place">();
    for_hole_slot_.push_back(std::move(waiting));
    return;
  }
  const size_t index = slot - holes_.begin();
  const fabric::Grant* segment =
      role_->PrimarySegment(state_->log.SegmentOf(visible.lsn));
  const uint64_t offset = visible.lsn - state_->log.SegmentStart(
                                            state_->log.SegmentOf(visible.lsn));
  const bool posted =
      segment != nullptr &&
      role_->primary_link().Post([&](fabric::WorkRequest* out, size_t room) {
        if (room == 0) return size_t{0};
        *out = {.opcode = fabric::Opcode::kRead,
                .signaled = true,
                .local = landing_->hole(index),
                .length_bytes = static_cast<uint32_t>(visible.record_bytes),
                .remote_key = segment->key,
                .remote_address = segment->address + offset,
                .cookie = Cookie(WorkKind::kHoleRead, index).Encode()};
        return size_t{1};
      });
  if (!posted) {
    Refuse(waiting, wire::Result::kNotServing);
    return;
  }
  ++context_->counters.forwarded_reads;
  *slot = {.busy = true,
           .waiting = std::move(waiting),
           .lsn = visible.lsn,
           .record_bytes = visible.record_bytes};
}

bool BackupReads::HoleIsValid(size_t slot) const {
  const HoleRead& hole = holes_[slot];
  logstore::RecordHeader header;
  std::memcpy(&header, landing_->hole(slot), sizeof(header));
  return logstore::IsWellFormed(header) && header.lsn == hole.lsn.value() &&
         logstore::RecordBytes(header) == hole.record_bytes &&
         state_->history.Accepts(hole.lsn, header.epoch_low) &&
         logstore::ChecksumInPlace(landing_->hole(slot)) == header.checksum;
}

void BackupReads::OnHole(size_t slot, fabric::Outcome outcome) {
  HoleRead& hole = holes_[slot];
  if (!hole.busy) return;
  Waiting waiting = std::move(hole.waiting);
  hole.waiting.get.connection = waiting.get.connection;
  if (outcome != fabric::Outcome::kOk) {
    Refuse(waiting, wire::Result::kNotServing);
  } else if (!HoleIsValid(slot)) {
    // Freed meanwhile, or torn: the value may be here by now.
    Look(std::move(waiting), true);
  } else {
    const auto* record =
        reinterpret_cast<const logstore::RecordHeader*>(landing_->hole(slot));
    const std::string_view key(reinterpret_cast<const char*>(record + 1),
                               record->key_bytes);
    if (record->type == logstore::RecordType::kMissing) {
      RareBranch<"read: the primary lacks the value, too">();
      Refuse(waiting, wire::Result::kUnavailable, wire::Reason::kHole);
    } else if (key == waiting.key) {
      state_->PlantClean(waiting.get.hash, PlantedBug::kClearForwarded);
      hole.answering = AnswerRecord(
          waiting, *record, Cookie(WorkKind::kHoleAnswer, slot).Encode());
    } else {
      waiting.not_this = hole.lsn;
      Look(std::move(waiting), true);
    }
  }
  if (!hole.answering) FreeHole(slot);
}

void BackupReads::FreeHole(size_t slot) {
  holes_[slot].busy = holes_[slot].answering = false;
  if (!for_hole_slot_.empty()) {
    Waiting next = std::move(for_hole_slot_.front());
    for_hole_slot_.pop_front();
    Look(std::move(next), true);
  }
}

void BackupReads::OnCompletion(const WorkCookie& cookie,
                               const fabric::Event& event) {
  if (cookie.kind == WorkKind::kCommitCell) {
    OnCommitCell(event.outcome);
  } else if (cookie.index >= holes_.size()) {
    return;
  } else if (cookie.kind == WorkKind::kHoleAnswer) {
    FreeHole(cookie.index);
  } else {
    OnHole(cookie.index, event.outcome);
  }
}

void BackupReads::OnConnectionLost(fabric::ConnectionId connection) {
  for (size_t slot = 0; slot < holes_.size(); ++slot) {
    if (holes_[slot].answering &&
        holes_[slot].waiting.get.connection == connection) {
      FreeHole(slot);
    }
  }
}

void BackupReads::Stop() {
  const auto elsewhere = [this](const Waiting& waiting) {
    Refuse(waiting, wire::Result::kWrongEpoch);
  };
  std::for_each(for_next_cell_.begin(), for_next_cell_.end(), elsewhere);
  std::for_each(for_this_cell_.begin(), for_this_cell_.end(), elsewhere);
  std::for_each(for_hole_slot_.begin(), for_hole_slot_.end(), elsewhere);
  for (HoleRead& hole : holes_) {
    if (!hole.busy || hole.answering) continue;
    elsewhere(hole.waiting);
    hole.busy = false;
  }
  // Each was answered: READs that complete now find nobody.
  for_next_cell_.clear();
  for_this_cell_.clear();
  for_hole_slot_.clear();
}

}  // namespace whale::node

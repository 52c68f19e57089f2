#include "node/epoch_confirm.h"

#include <utility>

#include "common/rare_branch.h"
#include "metadata_mcast/cells.h"

namespace whale::node {

void EpochConfirm::Add(Done done) {
  for_next_round_.push_back(std::move(done));
  if (reads_in_flight_ == 0) StartRound();
}

void EpochConfirm::StartRound() {
  if (for_next_round_.empty()) return;
  RareBranch<"read: primary without lease confirms its epoch">();
  std::swap(for_this_round_, for_next_round_);
  round_failed_ = false;
  for (size_t b = 0; b < configuration_.backups(); ++b) {
    if (PostRead(b)) {
      ++reads_in_flight_;
    } else {
      round_failed_ = true;
    }
  }
  if (reads_in_flight_ == 0) FinishRound();
}

bool EpochConfirm::PostRead(size_t backup) {
  const fabric::Grant* cells = role_->epoch_cells(backup);
  if (cells == nullptr) return false;
  const WorkCookie cookie{
      .kind = WorkKind::kEpochCell,
      .shard = shard_,
      .index = static_cast<uint8_t>(backup),
      .epoch_low = static_cast<uint32_t>(configuration_.epoch.value())};
  ++context_->counters.epoch_cell_reads;
  return role_->link(backup).Post([&](fabric::WorkRequest* out, size_t room) {
    if (room == 0) return size_t{0};
    *out = {.opcode = fabric::Opcode::kRead,
            .signaled = true,
            .local = landing_->epoch_cells(backup),
            .length_bytes = 2 * logstore::kCellBytes,
            .remote_key = cells->key,
            .remote_address = cells->address,
            .cookie = cookie.Encode()};
    return size_t{1};
  });
}

bool EpochConfirm::CellConfirms(size_t backup) const {
  const std::byte* cells = landing_->epoch_cells(backup);
  const auto cell =
      metadata_mcast::NewestWhole<metadata_mcast::EpochCell>(cells);
  return metadata_mcast::IsSettled<metadata_mcast::EpochCell>(cells) && cell &&
         cell->active_epoch == configuration_.epoch.value() &&
         cell->ended_epoch <= configuration_.epoch.value();
}

void EpochConfirm::OnCompletion(const WorkCookie& cookie,
                                const fabric::Event& event) {
  if (reads_in_flight_ == 0) return;
  if (event.outcome != fabric::Outcome::kOk || !CellConfirms(cookie.index)) {
    round_failed_ = true;
  }
  if (--reads_in_flight_ == 0) FinishRound();
}

void EpochConfirm::FinishRound() {
  std::vector<Done> round = std::move(for_this_round_);
  for_this_round_.clear();
  for (Done& done : round) done(!round_failed_);
  StartRound();
}

void EpochConfirm::Stop() {
  for (Done& done : for_this_round_) done(false);
  for (Done& done : for_next_round_) done(false);
  for_this_round_.clear();
  for_next_round_.clear();
}

}  // namespace whale::node

// Linearizable reads at a backup (protocol, section 6).
//
// A key with nothing pending is answered from the index. A pending record below
// the commit watermark is served from this server's log, or, while its value is
// still to come, by a one-sided READ of the primary's log. One that is not
// below it asks the primary's commit cell, by one-sided READ: no CPU there.
//
// Reads that wait for the cell share one READ, but only one that began after
// they came. The lease is checked last, by the clock read then.
//
// Thread-safety: none. Lives as long as the backup role.
#ifndef WHALE_NODE_BACKUP_READS_H_
#define WHALE_NODE_BACKUP_READS_H_

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "chain/replica_state.h"
#include "node/answers.h"
#include "node/backup_role.h"
#include "node/context.h"
#include "node/get.h"
#include "node/landing.h"
#include "node/read_gate.h"

namespace whale::node {

class BackupReads {
 public:
  BackupReads(Context* context, Answers* answers, ReadGate* gate,
              chain::ReplicaState* state, Landing* landing, BackupRole* role);

  // REQUIRES: everything delivered before the request came is announced.
  void Serve(const Get& get);
  void OnCompletion(const WorkCookie& cookie, const fabric::Event& event);
  void OnConnectionLost(fabric::ConnectionId connection);
  // The epoch ends: sends whoever waits elsewhere.
  void Stop();

 private:
  // A get that waits for a READ; owns its key.
  struct Waiting {
    Get get;
    std::string key;
    Lsn not_this;  // a hole that proved to be another key's
    uint32_t tries = 0;
  };

  // Answers, or starts waiting. `final_watermark`: the commit cell was read
  // after the request came.
  void Look(Waiting waiting, bool final_watermark);
  // True: a WRITE with `cookie` is in flight from the record.
  bool AnswerRecord(const Waiting& waiting,
                    const logstore::RecordHeader& record, uint64_t cookie);
  void AnswerAbsent(const Waiting& waiting);
  void AnswerLost(const Waiting& waiting);
  void Refuse(const Waiting& waiting, wire::Result result,
              wire::Reason reason = wire::Reason::kNone);
  bool NeedsLease(const Waiting& waiting) const;

  void StartCommitCellRead();
  void OnCommitCell(fabric::Outcome outcome);
  void AskAgain(Waiting waiting);
  void StartHoleRead(Waiting waiting, const chain::Visible& visible);
  void OnHole(size_t slot, fabric::Outcome outcome);
  void FreeHole(size_t slot);
  bool HoleIsValid(size_t slot) const;
  WorkCookie Cookie(WorkKind kind, size_t index) const;

  struct HoleRead {
    bool busy = false;
    bool answering = false;  // the value is on its way to the client
    Waiting waiting;
    Lsn lsn;
    uint64_t record_bytes = 0;
  };

  Context* const context_;
  Answers* const answers_;
  ReadGate* const gate_;
  chain::ReplicaState* const state_;
  Landing* const landing_;
  BackupRole* const role_;

  std::vector<Waiting> for_next_cell_;  // came after the READ in flight began
  std::vector<Waiting> for_this_cell_;
  bool cell_in_flight_ = false;
  std::array<HoleRead, Landing::kHoleSlots> holes_;
  std::deque<Waiting> for_hole_slot_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_BACKUP_READS_H_

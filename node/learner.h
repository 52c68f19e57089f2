// A server that is no member of a shard's configuration copies its log
// (protocol, section 8, "Join, replace, return").
//
// It READs the primary's segments into its own log, at the same LSNs, from its
// own durable watermark up to the commit watermark that the primary tells, and
// learns each record once it has checked it. The primary's CPU only answers
// where segments lie; nobody writes to a learner. Whatever it has survives a
// restart, and copying goes on from there.
//
// Thread-safety: none. Lives for one source in one epoch.
#ifndef WHALE_NODE_LEARNER_H_
#define WHALE_NODE_LEARNER_H_

#include <cstdint>
#include <span>
#include <string>

#include "chain/replica_state.h"
#include "common/ids.h"
#include "metadata_mcast/segment_grants.h"
#include "node/context.h"
#include "node/link.h"
#include "node/peers.h"
#include "proto/control.pb.h"
#include "proto/peer_messages.h"

namespace whale::node {

class Learner {
 public:
  // `state` has the history of `epoch` and nothing that it does not allow.
  // `directive`: outlives it; its policy limits how fast it copies.
  Learner(Context* context, Peers* peers, chain::ReplicaState* state,
          ServerId source, Epoch epoch, const proto::ShardDirective* directive);

  ServerId source() const { return source_; }
  Epoch epoch() const { return epoch_; }

  void OnSegmentGrants(std::span<const wire::SegmentGrantEntry> grants);
  void OnCopyLimit(const wire::CopyLimit& message);
  void OnCompletion(const fabric::Event& event);
  // What was in flight there does not complete.
  void OnConnectionLost(fabric::ConnectionId connection);

  // True if there was anything to do.
  bool Turn();
  int64_t NextDeadlineNs() const;
  // Starts nothing any more.
  void Stop() { stopped_ = true; }
  // Nothing lands in the log any more.
  bool idle() const { return !reading_; }
  // Has all that the primary said was committed; once after each lack.
  bool TakeCaughtUp();
  // Why it does not get on; empty if it does.
  const std::string& note() const { return note_; }

 private:
  Lsn at() const { return state_->backup_log.durable(); }
  int64_t NextReadNs() const;
  void CountRead(uint64_t bytes);
  void Ask();
  void StartRead();
  void AskAnew();
  // Learns what lies whole from at() up to `end`. False: nothing does.
  bool LearnUpTo(Lsn end);

  Context* const context_;
  Peers* const peers_;
  chain::ReplicaState* const state_;
  const ServerId source_;
  const Epoch epoch_;
  const proto::ShardDirective* const directive_;

  metadata_mcast::SegmentGrants segments_;
  Lsn limit_;
  Link link_;
  bool reading_ = false;
  bool stopped_ = false;
  bool caught_up_ = false;
  bool caught_up_is_news_ = false;
  Lsn read_end_;
  uint64_t read_bytes_;
  int64_t ask_at_ns_ = 0;
  int64_t read_at_ns_ = 0;  // after what went wrong
  std::string note_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_LEARNER_H_

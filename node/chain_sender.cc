#include "node/chain_sender.h"

#include "node/grants.h"

namespace whale::node {

ChainSender::ChainSender(Context* context, Peers* peers,
                         const logstore::Log* log,
                         const Configuration* configuration, size_t position)
    : context_(context),
      peers_(peers),
      log_(log),
      configuration_(configuration),
      successor_(configuration->SuccessorOf(position)) {
  if (!successor_) return;
  link_ = Link(context, peers->Find(*successor_)->out_chain);
  drain_ = Drain(context, link_.connection());
}

bool ChainSender::OnSuccessorReady(ServerId from,
                                   const wire::SuccessorReady& message) {
  if (forwarder_ || successor_ != from ||
      !IsUsable(message, *log_, configuration_->start)) {
    return false;
  }
  forwarder_.emplace(chain::ForwarderConfig{
      .epoch = configuration_->epoch,
      .start = Lsn(message.durable),
      .by_value_max_bytes = configuration_->by_value_max_bytes,
      .chain_cells = ToGrant(message.chain_cells)});
  OnSegmentGrants(from, early_grants_);
  early_grants_.clear();
  return true;
}

void ChainSender::OnSegmentGrants(
    ServerId from, std::span<const wire::SegmentGrantEntry> grants) {
  if (successor_ != from) return;
  if (!forwarder_) {
    early_grants_.insert(early_grants_.end(), grants.begin(), grants.end());
    return;
  }
  for (const wire::SegmentGrantEntry& entry : grants) {
    forwarder_->AddSegment(entry.number, ToGrant(entry.grant));
  }
}

bool ChainSender::Forward(Lsn end, bool wake, const WorkCookie& cookie) {
  if (!forwarder_ || forwarder_->sent() >= end) return false;
  const StageTimer timer(&context_->stages, Stage::kForward);
  return link_.Post([&](fabric::WorkRequest* out, size_t capacity) {
    return forwarder_->Plan(*log_, end, out, capacity, cookie.Encode(), wake);
  });
}

void ChainSender::OnCompletion() {
  if (forwarder_ && forwarder_->in_flight() > 0) forwarder_->OnCompletion();
}

void ChainSender::DrainSent(std::byte* scratch, const WorkCookie& cookie) {
  if (!forwarder_ || !forwarder_->has_sent()) return;
  drain_.Post(link_, forwarder_->chain_cells(), scratch, cookie);
}

bool ChainSender::MayLandAt(ServerId peer) const {
  return forwarder_ && successor_ == peer && forwarder_->has_sent() &&
         (forwarder_->in_flight() > 0 || !drain_.over()) &&
         !peers_->ChainReplaced(peer, link_.connection());
}

}  // namespace whale::node

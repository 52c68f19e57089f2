// Time: back-off, deadlines, and what is asked again when nothing comes.
#include <algorithm>

#include "client/core_impl.h"
#include "common/rare_branch.h"

namespace whale::client {
namespace {

constexpr int64_t kBackOffBaseNs = 200'000;
constexpr int64_t kBackOffMostNs = 100'000'000;
// How often connections are looked at, and how old an unanswered request must
// be to suspect that the map is old.
constexpr int64_t kCheckNs = 100'000'000;
// A question to the coordinator is put again after this.
constexpr int64_t kAskAgainNs = 1'000'000'000;

}  // namespace

// base, doubled with every failure, and between half and one and a half of it.
int64_t Core::Impl::Jittered(int64_t base_ns, int64_t most_ns,
                             uint32_t failures) {
  const int64_t pause =
      std::min(most_ns, base_ns << std::min<uint32_t>(failures, 20));
  return pause / 2 + static_cast<int64_t>(prng_.Below(pause));
}

void Core::Impl::BackOff(PendingOperation* operation) {
  const int64_t at =
      now_ns_ + Jittered(kBackOffBaseNs, kBackOffMostNs, operation->failures);
  ++operation->failures;
  operation->stage = Stage::kTimer;
  operation->timer = timers_.emplace(at, operation);
}

void Core::Impl::RunTimers() {
  ResumeBackedOff();
  ExpireOperations();
  SendKeepAlives();
  CheckLinks();
  AskCoordinator();
}

void Core::Impl::ResumeBackedOff() {
  while (!timers_.empty() && timers_.begin()->first <= now_ns_) {
    PendingOperation* operation = timers_.begin()->second;
    Unplace(operation);
    Place(operation);
  }
}

void Core::Impl::ExpireOperations() {
  while (PendingOperation* operation = deadlines_.front()) {
    if (operation->deadline_ns > now_ns_) return;
    Expire(operation);
  }
}

void Core::Impl::Expire(PendingOperation* operation) {
  if (operation->is_internal) {
    ExpireInternal(operation);
    return;
  }
  const absl::Status status = ExpiredStatus(*operation);
  Attempt* attempt = operation->attempt;
  if (operation->number != 0 && attempt != nullptr) {
    // Only the newest attempt's answer can be the last word.
    RareBranch<"client: gives up with a request under way">();
    attempt->settles_number = true;
    attempt->shard = operation->shard;
    attempt->session = operation->session;
    attempt->number = operation->number;
  }
  Unplace(operation);
  if (operation->number != 0 && operation->in_doubt) {
    ReleaseNumber(operation, /*settled=*/false);
  }
  Finish(operation, status);
}

void Core::Impl::CheckLinks() {
  if (now_ns_ < check_at_ns_) return;
  check_at_ns_ = now_ns_ + kCheckNs;
  for (const auto& link : links_) {
    if (link->state == Link::State::kConnecting &&
        now_ns_ >= link->retry_at_ns) {
      LoseLink(link.get(), "it does not answer the connection request");
      continue;
    }
    const Attempt* oldest = link->attempts.front();
    if (oldest != nullptr && now_ns_ - oldest->sent_ns >= kCheckNs) WantMap();
    DropSilentLink(link.get());
  }
}

void Core::Impl::AskCoordinator() {
  if (map_wanted_ && now_ns_ >= map_ask_at_ns_) {
    map_ask_at_ns_ = now_ns_ + kAskAgainNs;
    maps_->RequestMap(has_map_ ? map_.version() : 0);
  }
  if (session_wanted_ && now_ns_ >= session_ask_at_ns_) {
    session_ask_at_ns_ = now_ns_ + kAskAgainNs;
    maps_->RequestSession();
  }
  // With nothing left to do there is no need to know better.
  if (has_map_ && deadlines_.empty()) map_wanted_ = false;
}

}  // namespace whale::client

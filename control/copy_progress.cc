#include "control/copy_progress.h"

namespace whale::control {
namespace {

// Shorter spans say little: learners copy in steps.
constexpr int64_t kSpanNs = 200'000'000;

}  // namespace

void CopyProgress::Note(const proto::ServerReport& report, int64_t now_ns) {
  for (const proto::ShardReport& shard : report.shards()) {
    const auto key = std::make_pair(report.server_id(), shard.shard());
    if (shard.phase() != proto::SHARD_LEARNING) {
      copies_.erase(key);
      continue;
    }
    const auto [it, first] = copies_.insert({key, {shard.durable(), now_ns}});
    Copy& copy = it->second;
    if (shard.durable() < copy.durable) copy = {shard.durable(), now_ns};
    const int64_t span_ns = now_ns - copy.since_ns;
    if (first || span_ns < kSpanNs) continue;
    const double rate = static_cast<double>(shard.durable() - copy.durable) *
                        1e9 / static_cast<double>(span_ns);
    copy.bytes_per_second = copy.bytes_per_second == 0
                                ? rate
                                : 0.7 * copy.bytes_per_second + 0.3 * rate;
    copy.durable = shard.durable();
    copy.since_ns = now_ns;
  }
}

uint64_t CopyProgress::BytesPerSecond(uint32_t server, uint32_t shard) const {
  const auto it = copies_.find({server, shard});
  return it == copies_.end()
             ? 0
             : static_cast<uint64_t>(it->second.bytes_per_second);
}

}  // namespace whale::control

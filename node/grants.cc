#include "node/grants.h"

#include <cstring>
#include <string>

#include "proto/peer_messages.h"

namespace whale::node {

void SendSegmentGrants(Context* context, Peers* peers, const logstore::Log& log,
                       ServerId to, ShardId shard, Epoch epoch, uint64_t first,
                       uint64_t last) {
  wire::PeerHeader header{.type = wire::PeerMessageType::kSegmentGrants,
                          .shard = shard.value(),
                          .epoch = epoch.value()};
  std::string body;
  const auto flush = [&] {
    if (header.count == 0) return;
    std::string message(reinterpret_cast<const char*>(&header), sizeof(header));
    message += body;
    peers->Send(to, std::as_bytes(std::span(message)));
    header.count = 0;
    body.clear();
  };
  for (uint64_t number = first; number <= last; ++number) {
    if (!log.HasSegment(number)) continue;
    const wire::SegmentGrantEntry entry{
        .number = number,
        .grant = ToWire(
            context->GrantOf(log.SegmentBase(number), log.segment_bytes()))};
    body.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
    if (++header.count == wire::kMaxGrantsPerMessage) flush();
  }
  flush();
}

}  // namespace whale::node

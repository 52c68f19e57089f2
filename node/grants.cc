#include "node/grants.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "logstore/metadata_record.h"

namespace whale::node {
namespace {

bool IsPosition(uint64_t lsn, const logstore::Log& log, Lsn end) {
  return lsn % logstore::kRecordAlignment == 0 && Lsn(lsn) >= log.begin() &&
         Lsn(lsn) <= end;
}

}  // namespace

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

bool CoversCells(const wire::BufferGrant& cells, size_t count) {
  return cells.length_bytes >= count * logstore::kCellBytes;
}

bool CoverSegments(std::span<const wire::SegmentGrantEntry> grants,
                   const logstore::Log& log) {
  return std::all_of(grants.begin(), grants.end(), [&](const auto& entry) {
    return entry.grant.length_bytes >= log.segment_bytes();
  });
}

bool IsUsable(const wire::BackupReady& message, const logstore::Log& log,
              Lsn epoch_start, uint32_t ring_slots) {
  const uint64_t ring_bytes =
      uint64_t{ring_slots} * sizeof(logstore::MetadataRecord);
  return message.ring_slots == ring_slots &&
         message.ring.length_bytes >= ring_bytes &&
         CoversCells(message.delivery_cells, logstore::kDeliveryCells) &&
         CoversCells(message.epoch_cells) &&
         IsPosition(message.deliver_from, log, epoch_start) &&
         IsPosition(message.durable, log, epoch_start);
}

bool IsUsable(const wire::SuccessorReady& message, const logstore::Log& log,
              Lsn epoch_start) {
  return CoversCells(message.chain_cells) &&
         IsPosition(message.durable, log, epoch_start);
}

}  // namespace whale::node

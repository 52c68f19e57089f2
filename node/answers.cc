#include "node/answers.h"

#include <string_view>

namespace whale::node {

wire::Reply Answers::Make(wire::RequestType type, uint64_t tag,
                          wire::Result result) const {
  wire::Reply reply{};
  reply.type = type;
  reply.result = result;
  reply.shard = shard_.value();
  reply.tag = tag;
  reply.epoch = epoch_.value();
  return reply;
}

void Answers::Refuse(fabric::ConnectionId connection, wire::RequestType type,
                     uint64_t tag, wire::Result result, wire::Reason reason) {
  wire::Reply reply = Make(type, tag, result);
  reply.detail = static_cast<uint32_t>(reason);
  switch (reason) {
    case wire::Reason::kWindowFull:
    case wire::Reason::kQueueFull:
      ++context_->counters.refused_window;
      break;
    case wire::Reason::kPoolFull:
      ++context_->counters.refused_pool;
      break;
    default:
      if (result == wire::Result::kWrongEpoch) {
        ++context_->counters.refused_epoch;
      }
  }
  clients_->Answer(connection, reply);
}

void Answers::Written(const primary::WaitingReply& waiting, uint32_t copies) {
  wire::Reply reply = Make(waiting.type, waiting.tag, waiting.result);
  reply.version = waiting.version;
  reply.lsn = waiting.after.value();
  reply.copies = copies;
  clients_->Answer(waiting.connection, reply);
}

bool Answers::Found(fabric::ConnectionId connection, uint64_t tag,
                    const wire::BufferGrant& buffer,
                    const logstore::RecordHeader& record, Lsn seen,
                    uint64_t cookie) {
  wire::Reply reply = Make(wire::RequestType::kGet, tag, wire::Result::kOk);
  reply.version = logstore::VersionOf(record);
  reply.lsn = seen.value();
  const auto* value =
      reinterpret_cast<const char*>(&record + 1) + record.key_bytes;
  return clients_->AnswerValue(connection, reply, buffer,
                               std::string_view(value, record.value_bytes),
                               cookie);
}

void Answers::FoundInLog(fabric::ConnectionId connection, uint64_t tag,
                         const wire::BufferGrant& buffer,
                         const logstore::RecordHeader& record, Lsn seen) {
  const WorkCookie cookie{.kind = WorkKind::kValueAnswer, .shard = shard_};
  Found(connection, tag, buffer, record, seen, cookie.Encode());
}

void Answers::Disconnect(fabric::ConnectionId connection) {
  clients_->Close(connection);
}

void Answers::NotFound(fabric::ConnectionId connection, uint64_t tag,
                       Lsn seen) {
  wire::Reply reply =
      Make(wire::RequestType::kGet, tag, wire::Result::kNotFound);
  reply.lsn = seen.value();
  clients_->Answer(connection, reply);
}

}  // namespace whale::node

// Answers of one shard's replica to clients, as wire messages.
//
// Thread-safety: none.
#ifndef WHALE_NODE_ANSWERS_H_
#define WHALE_NODE_ANSWERS_H_

#include <cstdint>

#include "common/ids.h"
#include "logstore/record.h"
#include "node/client_port.h"
#include "node/context.h"
#include "primary/reply_queue.h"
#include "proto/wire.h"

namespace whale::node {

class Answers {
 public:
  Answers(Context* context, ClientPort* clients, ShardId shard)
      : context_(context), clients_(clients), shard_(shard) {}

  // The epoch that replies carry.
  void set_epoch(Epoch epoch) { epoch_ = epoch; }

  void Refuse(fabric::ConnectionId connection, wire::RequestType type,
              uint64_t tag, wire::Result result,
              wire::Reason reason = wire::Reason::kNone);
  void Written(const primary::WaitingReply& reply, uint32_t copies);
  // A get's answer from a valid record in registered memory. True: the record
  // must stay until a completion with `cookie`, see ClientPort::AnswerValue.
  bool Found(fabric::ConnectionId connection, uint64_t tag,
             const wire::BufferGrant& buffer,
             const logstore::RecordHeader& record, Lsn seen, uint64_t cookie);
  // The same for a record in the log, where it stays anyway.
  void FoundInLog(fabric::ConnectionId connection, uint64_t tag,
                  const wire::BufferGrant& buffer,
                  const logstore::RecordHeader& record, Lsn seen);
  // Ends the connection of a client.
  void Disconnect(fabric::ConnectionId connection);
  void NotFound(fabric::ConnectionId connection, uint64_t tag, Lsn seen);

 private:
  wire::Reply Make(wire::RequestType type, uint64_t tag,
                   wire::Result result) const;

  Context* const context_;
  ClientPort* const clients_;
  const ShardId shard_;
  Epoch epoch_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_ANSWERS_H_

// From queue to fabric: credits, the client's buffer, the message itself.
#include <algorithm>
#include <cstring>
#include <utility>

#include "client/core_impl.h"
#include "common/check.h"

namespace whale::client {
namespace {

// A tag is the attempt's index and a generation that never comes again.
constexpr int kIndexBits = 20;
constexpr size_t kMaxAttempts = size_t{1} << kIndexBits;

uint64_t TagOf(const Attempt& attempt) {
  return attempt.generation << kIndexBits | attempt.index;
}

}  // namespace

void Core::Impl::PumpLinks() {
  for (const auto& link : links_) {
    if (!link->queue.empty()) PumpLink(link.get());
  }
  if (unflushed_) fabric_->FlushMessages();
  unflushed_ = false;
}

void Core::Impl::PumpLink(Link* link) {
  if (link->state == Link::State::kIdle) {
    if (link->address.empty()) {
      Disperse(link);
    } else if (now_ns_ >= link->retry_at_ns) {
      Connect(link);
    }
  }
  if (link->state != Link::State::kReady) return;
  link->send_queue_full = false;
  while (PendingOperation* operation = link->queue.front()) {
    if (link->unanswered >= link->credits) return;
    switch (Send(link, operation)) {
      case SendResult::kSent:
        break;
      case SendResult::kLinkBlocked:
        link->send_queue_full = true;
        return;
      case SendResult::kNoBuffer:
        OperationQueue::Remove(operation);
        operation->stage = Stage::kBuffer;
        buffer_queue_.PushBack(operation);
        break;
      case SendResult::kFailed:
        if (operation->in_doubt) ReleaseNumber(operation, /*settled=*/false);
        Finish(operation, buffer_.status());
        break;
    }
  }
}

// Whether the value travels in the request itself.
bool Core::Impl::FitsInline(size_t key_bytes, size_t value_bytes) const {
  return value_bytes <= options_.inline_value_max_bytes &&
         sizeof(wire::Request) + key_bytes + value_bytes <=
             fabric::kMaxMessageBytes;
}

// Straight into the buffer when it is large and there is room.
void Core::Impl::StoreValue(PendingOperation* operation,
                            std::string_view value) {
  operation->value_bytes = static_cast<uint32_t>(value.size());
  if (!FitsInline(operation->key.size(), value.size()) &&
      buffer_queue_.empty()) {
    operation->range = buffer_.Allocate(value.size());
  }
  if (operation->range == nullptr) {
    operation->value.assign(value);
  } else {
    std::memcpy(buffer_.Data(*operation->range), value.data(), value.size());
  }
}

// What the request grants; the attempt's own hold on it.
Core::Impl::SendResult Core::Impl::PrepareBuffer(PendingOperation* operation,
                                                 BufferRange** range) {
  *range = nullptr;
  const bool large_put =
      operation->range != nullptr ||
      !FitsInline(operation->key.size(), operation->value.size());
  if (large_put) {
    if (operation->range == nullptr) {
      operation->range = buffer_.Allocate(operation->value.size());
      if (operation->range != nullptr) {
        std::memcpy(buffer_.Data(*operation->range), operation->value.data(),
                    operation->value.size());
        operation->value.clear();
      }
    }
    *range = operation->range;
    if (*range != nullptr) buffer_.Hold(*range);
  } else if (operation->room_bytes > 0) {
    *range = buffer_.Allocate(operation->room_bytes);
    if (*range == nullptr && operation->room_is_guess) {
      operation->room_bytes = 0;  // do without; the answer tells the size
      return SendResult::kSent;
    }
  } else {
    return SendResult::kSent;
  }
  if (*range != nullptr) return SendResult::kSent;
  return buffer_.status().ok() ? SendResult::kNoBuffer : SendResult::kFailed;
}

Core::Impl::SendResult Core::Impl::Send(Link* link,
                                        PendingOperation* operation) {
  if (free_attempts_.empty() && attempts_.size() >= kMaxAttempts) {
    return SendResult::kLinkBlocked;
  }
  BufferRange* range = nullptr;
  const SendResult prepared = PrepareBuffer(operation, &range);
  if (prepared != SendResult::kSent) return prepared;
  const bool value_inline = operation->range == nullptr;
  const size_t size = sizeof(wire::Request) +
                      (range != nullptr ? sizeof(wire::BufferGrant) : 0) +
                      operation->key.size() +
                      (value_inline ? operation->value.size() : 0);
  std::byte* out = fabric_->BeginMessage(link->connection, size);
  if (out == nullptr) {
    if (range != nullptr) ReleaseRange(range);
    return SendResult::kLinkBlocked;
  }
  Attempt* attempt = NewAttempt();
  attempt->operation = operation;
  attempt->link = link;
  attempt->range = range;
  attempt->type = operation->type;
  attempt->epoch = operation->shard->epoch;
  attempt->sent_ns = now_ns_;
  WriteMessage(*operation, TagOf(*attempt), range, value_inline, out);
  fabric_->EndMessage(link->connection, size);
  unflushed_ = true;
  ++link->unanswered;
  link->attempts.PushBack(attempt);
  OperationQueue::Remove(operation);
  operation->attempt = attempt;
  operation->stage = Stage::kSent;
  if (operation->session != 0) operation->shard->session_used_ns = now_ns_;
  return SendResult::kSent;
}

void Core::Impl::WriteMessage(const PendingOperation& operation, uint64_t tag,
                              const BufferRange* range, bool value_inline,
                              std::byte* out) {
  wire::Request request = {};
  request.type = operation.type;
  request.flags = operation.flags;
  request.shard = operation.shard->number;
  request.key_bytes = static_cast<uint16_t>(operation.key.size());
  request.value_bytes = operation.value_bytes;
  request.tag = tag;
  request.epoch = operation.shard->epoch;
  request.session = operation.session;
  request.request = operation.number;
  request.argument = (operation.flags & wire::kSessionRead) != 0
                         ? operation.shard->seen_lsn
                         : operation.argument;
  if (range != nullptr) request.flags |= wire::kHasBuffer;
  std::memcpy(out, &request, sizeof(request));
  out += sizeof(request);
  if (range != nullptr) {
    const uint64_t length = operation.range != nullptr ? operation.value_bytes
                                                       : range->length_bytes;
    const wire::BufferGrant grant = buffer_.MakeGrant(*range, length);
    std::memcpy(out, &grant, sizeof(grant));
    out += sizeof(grant);
  }
  std::memcpy(out, operation.key.data(), operation.key.size());
  if (value_inline) {
    std::memcpy(out + operation.key.size(), operation.value.data(),
                operation.value.size());
  }
}

Attempt* Core::Impl::NewAttempt() {
  if (free_attempts_.empty()) {
    Attempt* attempt = &attempts_.emplace_back();
    attempt->index = static_cast<uint32_t>(attempts_.size() - 1);
    attempt->generation = 1;
    return attempt;
  }
  Attempt* attempt = free_attempts_.back();
  free_attempts_.pop_back();
  return attempt;
}

// The server has answered or can do so no more.
void Core::Impl::ReleaseAttempt(Attempt* attempt) {
  WHALE_CHECK(attempt->link->unanswered > 0);
  --attempt->link->unanswered;
  AttemptList::Remove(attempt);
  BufferRange* range = std::exchange(attempt->range, nullptr);
  attempt->operation = nullptr;
  attempt->link = nullptr;
  attempt->settles_number = false;
  ++attempt->generation;  // its tag is void
  free_attempts_.push_back(attempt);
  if (range != nullptr) ReleaseRange(range);
}

// The operation no longer waits for this attempt; the server may still act on
// it.
void Core::Impl::DetachAttempt(PendingOperation* operation) {
  Attempt* attempt = std::exchange(operation->attempt, nullptr);
  attempt->operation = nullptr;
  operation->in_doubt |= operation->is_write;
}

Attempt* Core::Impl::FindAttempt(Link* link, uint64_t tag) {
  const uint64_t index = tag & (kMaxAttempts - 1);
  if (index >= attempts_.size()) return nullptr;
  Attempt* attempt = &attempts_[index];
  if (TagOf(*attempt) != tag || attempt->link != link) return nullptr;
  return attempt;
}

void Core::Impl::ReleaseRange(BufferRange* range) {
  buffer_.Release(range);
  PumpBufferQueue();
}

// Sends as many of those that wait for room, in order, back to their
// connections as will probably find it.
void Core::Impl::PumpBufferQueue() {
  uint64_t room_bytes = buffer_.LargestFreeBytes();
  while (PendingOperation* operation = buffer_queue_.front()) {
    const uint64_t need =
        std::max<uint64_t>(operation->room_bytes, operation->value.size());
    if (need > room_bytes) return;
    room_bytes -= need;
    buffer_queue_.PopFront();
    operation->stage = Stage::kFree;
    Place(operation);
  }
}

}  // namespace whale::client

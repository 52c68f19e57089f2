#include "fabric/shm/ring.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "common/units.h"

namespace whale::fabric::shm {
namespace {

constexpr uint64_t kRecordAlignment = 16;

uint64_t RecordBytes(uint64_t payload_bytes) {
  return sizeof(RecordHeader) + RoundUp(payload_bytes, kRecordAlignment);
}

}  // namespace

RingSender::RingSender(Mapping memory, uint64_t ring_bytes)
    : memory_(std::move(memory)),
      data_(memory_.base() + kRingHeaderBytes),
      ring_bytes_(ring_bytes) {}

RingHeader* RingSender::header() const {
  return reinterpret_cast<RingHeader*>(memory_.base());
}

void RingSender::ReadHead() {
  const uint64_t head = __atomic_load_n(&header()->head, __ATOMIC_ACQUIRE);
  if (head - head_ > published_ - head_) {
    broken_ = true;  // went back, or past what it was shown
  } else {
    head_ = head;
  }
}

bool RingSender::Fits(uint64_t bytes) {
  if (committed_ + bytes - head_ <= ring_bytes_) return true;
  ReadHead();
  if (committed_ + bytes - head_ <= ring_bytes_) return true;
  // Ask to be told, then look once more: the receiver may have made room and
  // looked for the wish in between.
  __atomic_store_n(&header()->wants_room, 1, __ATOMIC_SEQ_CST);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ReadHead();
  blocked_ = committed_ + bytes - head_ > ring_bytes_;
  return !blocked_;
}

std::byte* RingSender::Open(size_t payload_bytes) {
  const uint64_t bytes = RecordBytes(payload_bytes);
  const uint64_t to_end = ring_bytes_ - (committed_ & (ring_bytes_ - 1));
  const uint64_t skip = bytes <= to_end ? 0 : to_end;
  if (!Fits(skip + bytes)) return nullptr;
  if (skip != 0) {
    WriteRecord(committed_, RecordType::kSkip,
                static_cast<uint32_t>(skip - sizeof(RecordHeader)), 0);
  }
  open_ = committed_ + skip;
  return data_ + (open_ & (ring_bytes_ - 1)) + sizeof(RecordHeader);
}

void RingSender::CommitMessage(size_t payload_bytes) {
  WriteRecord(open_, RecordType::kMessage, static_cast<uint32_t>(payload_bytes),
              0);
  committed_ = open_ + RecordBytes(payload_bytes);
}

bool RingSender::HasRoomForImmediates(size_t count) {
  return Fits(count * sizeof(RecordHeader));
}

void RingSender::CommitImmediate(uint32_t immediate, uint32_t length_bytes) {
  WriteRecord(committed_, RecordType::kImmediate, length_bytes, immediate);
  committed_ += sizeof(RecordHeader);
}

void RingSender::WriteRecord(uint64_t position, RecordType type,
                             uint32_t length_bytes, uint32_t immediate) {
  auto* words =
      reinterpret_cast<uint64_t*>(data_ + (position & (ring_bytes_ - 1)));
  __atomic_store_n(words,
                   static_cast<uint64_t>(type) | uint64_t{length_bytes} << 32,
                   __ATOMIC_RELAXED);
  __atomic_store_n(words + 1, immediate, __ATOMIC_RELAXED);
}

bool RingSender::Publish(uint64_t limit) {
  if (limit == published_) return false;
  published_ = limit;
  __atomic_store_n(&header()->tail, limit, __ATOMIC_RELEASE);
  return true;
}

void RingSender::AnnouncePacket() {
  __atomic_fetch_add(&header()->control, 1, __ATOMIC_SEQ_CST);
}

RingReceiver::RingReceiver(Mapping memory, uint64_t ring_bytes)
    : memory_(std::move(memory)),
      data_(memory_.base() + kRingHeaderBytes),
      ring_bytes_(ring_bytes) {}

RingHeader* RingReceiver::header() const {
  return reinterpret_cast<RingHeader*>(memory_.base());
}

RingReceiver::Result RingReceiver::Next(Record* record) {
  for (;;) {
    if (position_ == tail_) {
      const uint64_t tail = __atomic_load_n(&header()->tail, __ATOMIC_ACQUIRE);
      if (tail == tail_) return Result::kEmpty;
      // All that was not released may still lie in the ring.
      const uint64_t head = released_;
      if (tail - head > ring_bytes_ || tail - head < position_ - head ||
          tail % kRecordAlignment != 0) {
        return Result::kBroken;
      }
      tail_ = tail;
    }
    const uint64_t offset = position_ & (ring_bytes_ - 1);
    const auto* words = reinterpret_cast<const uint64_t*>(data_ + offset);
    const uint64_t first = __atomic_load_n(words, __ATOMIC_RELAXED);
    const uint64_t second = __atomic_load_n(words + 1, __ATOMIC_RELAXED);
    const auto type = static_cast<RecordType>(static_cast<uint32_t>(first));
    const auto length = static_cast<uint32_t>(first >> 32);
    const uint64_t room = std::min(ring_bytes_ - offset, tail_ - position_);
    switch (type) {
      case RecordType::kSkip:
        // A skip goes exactly to the end, and something follows it.
        if (RecordBytes(length) != ring_bytes_ - offset ||
            ring_bytes_ - offset >= tail_ - position_) {
          return Result::kBroken;
        }
        position_ += ring_bytes_ - offset;
        continue;
      case RecordType::kMessage:
        if (length > kMaxMessageBytes || RecordBytes(length) > room) {
          return Result::kBroken;
        }
        position_ += RecordBytes(length);
        break;
      case RecordType::kImmediate:
        position_ += sizeof(RecordHeader);
        break;
      default:
        return Result::kBroken;
    }
    *record = {.type = type,
               .length_bytes = length,
               .immediate = static_cast<uint32_t>(second),
               .data = data_ + offset + sizeof(RecordHeader)};
    return Result::kRecord;
  }
}

bool RingReceiver::Ready() const {
  return position_ != tail_ ||
         __atomic_load_n(&header()->tail, __ATOMIC_ACQUIRE) != tail_;
}

bool RingReceiver::Release() {
  released_ = position_;
  __atomic_store_n(&header()->head, position_, __ATOMIC_RELEASE);
  // Without a fence a wish may be missed here; the sweep finds it later.
  return TakeWantsRoom();
}

bool RingReceiver::TakeWantsRoom() {
  return __atomic_load_n(&header()->wants_room, __ATOMIC_RELAXED) != 0 &&
         __atomic_exchange_n(&header()->wants_room, 0, __ATOMIC_SEQ_CST) != 0;
}

uint64_t RingReceiver::control() const {
  return __atomic_load_n(&header()->control, __ATOMIC_ACQUIRE);
}

}  // namespace whale::fabric::shm

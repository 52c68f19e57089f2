#include "client/buffers.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/units.h"
#include "fabric/shared_memory.h"

namespace whale::client {
namespace {

constexpr uint64_t kGranuleBytes = 4 * kKiB;

}  // namespace

struct BufferArena {
  fabric::SharedMemory memory;
  fabric::RegionId region;
  std::map<uint64_t, uint64_t> free;  // offset -> length
  bool condemned = false;
};

ClientBuffer::ClientBuffer(fabric::Fabric* fabric, uint64_t capacity_bytes)
    : fabric_(fabric),
      capacity_bytes_(RoundUp(capacity_bytes, kGranuleBytes)) {}

ClientBuffer::~ClientBuffer() {
  for (const auto& arena : arenas_) fabric_->Deregister(arena->region);
}

bool ClientBuffer::AddArena() {
  absl::StatusOr<fabric::SharedMemory> memory =
      fabric::SharedMemory::Create(capacity_bytes_, "whale-client-buffer");
  if (!memory.ok()) {
    status_ = memory.status();
    return false;
  }
  fabric::Access access;
  access.remote_read = access.remote_write = true;
  const absl::StatusOr<fabric::RegionId> id =
      fabric_->Register(memory->memory(), access);
  if (!id.ok()) {
    status_ = id.status();
    return false;
  }
  status_ = absl::OkStatus();
  auto arena = std::make_unique<BufferArena>();
  arena->memory = *std::move(memory);
  arena->region = *id;
  arena->free.emplace(0, capacity_bytes_);
  arenas_.push_back(std::move(arena));
  return true;
}

uint64_t ClientBuffer::LargestFreeBytes() const {
  if (arenas_.empty() || arenas_.back()->condemned) return capacity_bytes_;
  uint64_t largest = 0;
  for (const auto& [offset, length] : arenas_.back()->free) {
    largest = std::max(largest, length);
  }
  return largest;
}

BufferRange* ClientBuffer::Allocate(uint64_t length_bytes) {
  WHALE_CHECK(length_bytes > 0 && length_bytes <= capacity_bytes_);
  if ((arenas_.empty() || arenas_.back()->condemned) && !AddArena()) {
    return nullptr;
  }
  BufferArena* arena = arenas_.back().get();
  const uint64_t length = RoundUp(length_bytes, kGranuleBytes);
  for (auto hole = arena->free.begin(); hole != arena->free.end(); ++hole) {
    if (hole->second < length) continue;
    const uint64_t offset = hole->first;
    const uint64_t rest = hole->second - length;
    arena->free.erase(hole);
    if (rest > 0) arena->free.emplace(offset + length, rest);
    return new BufferRange{arena, offset, length, 1};
  }
  return nullptr;
}

void ClientBuffer::Release(BufferRange* range) {
  if (range == nullptr || --range->references > 0) return;
  auto& free = range->arena->free;
  auto [hole, inserted] = free.emplace(range->offset, range->length_bytes);
  WHALE_CHECK(inserted);
  const auto after = std::next(hole);
  if (after != free.end() && hole->first + hole->second == after->first) {
    hole->second += after->second;
    free.erase(after);
  }
  if (hole != free.begin()) {
    const auto before = std::prev(hole);
    if (before->first + before->second == hole->first) {
      before->second += hole->second;
      free.erase(hole);
    }
  }
  delete range;
}

void ClientBuffer::Condemn(BufferRange* range) {
  range->arena->condemned = true;
}

std::byte* ClientBuffer::Data(const BufferRange& range) const {
  return range.arena->memory.data() + range.offset;
}

wire::BufferGrant ClientBuffer::MakeGrant(const BufferRange& range,
                                          uint64_t length_bytes) const {
  const fabric::Grant grant =
      fabric_->MakeGrant(range.arena->region, range.offset, length_bytes);
  return {grant.key, grant.address, grant.length_bytes};
}

}  // namespace whale::client

#include "node/landing.h"

#include <sys/mman.h>

#include <algorithm>

#include "absl/status/status.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "logstore/record.h"

namespace whale::node {
namespace {

constexpr size_t kPairBytes = 2 * logstore::kCellBytes;
// Pairs of cells: the commit cells, and the epoch cells of every backup.
constexpr size_t kCellsBytes = 4096;
static_assert((1 + logstore::kMaxBackups + 1) * kPairBytes <= kCellsBytes);

}  // namespace

Landing::Landing(fabric::Fabric* fabric, const logstore::Geometry& geometry)
    : fabric_(fabric),
      hole_bytes_(RoundUp(
          std::min(logstore::kMaxRecordBytes, geometry.segment_bytes), 4096)),
      ring_slots_(geometry.ring_slots) {}

absl::StatusOr<std::unique_ptr<Landing>> Landing::Create(
    fabric::Fabric* fabric, const logstore::Geometry& geometry) {
  std::unique_ptr<Landing> landing(new Landing(fabric, geometry));
  const size_t staging_bytes = size_t{landing->ring_slots_} * 64;
  const size_t length_bytes = kCellsBytes +
                              (kHoleSlots + 1) * landing->hole_bytes_ +
                              logstore::kMaxBackups * staging_bytes;
  // Reserved, not touched: what is never used costs nothing.
  void* base = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        "no memory for the buffers of a shard; check ulimit -v");
  }
  landing->base_ = static_cast<std::byte*>(base);
  landing->length_bytes_ = length_bytes;
  WHALE_ASSIGN_OR_RETURN(
      landing->region_,
      fabric->Register({.base = landing->base_, .length_bytes = length_bytes},
                       {}));
  return landing;
}

Landing::~Landing() {
  if (region_.value != 0) fabric_->Deregister(region_);
  if (base_ != nullptr) munmap(base_, length_bytes_);
}

std::byte* Landing::epoch_cells(size_t backup) const {
  return base_ + (1 + backup) * kPairBytes;
}

std::byte* Landing::scratch() const { return base_ + kCellsBytes - kPairBytes; }

std::byte* Landing::hole(size_t slot) const {
  return base_ + kCellsBytes + slot * hole_bytes_;
}

metadata_mcast::MetadataStaging Landing::staging(size_t backup) const {
  return {.base = base_ + kCellsBytes + (kHoleSlots + 1) * hole_bytes_ +
                  backup * size_t{ring_slots_} * 64,
          .slots = ring_slots_};
}

}  // namespace whale::node

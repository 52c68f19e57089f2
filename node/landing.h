// Registered memory of one shard that is not in the pool: where READs land, and
// where metadata records lie while they are sent. Allocated once; kept while
// the server lives, because work of an ended epoch may still be in flight.
#ifndef WHALE_NODE_LANDING_H_
#define WHALE_NODE_LANDING_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "logstore/pool.h"
#include "metadata_mcast/delivery_sender.h"

namespace whale::node {

class Landing {
 public:
  // Values still to come that can be fetched at a time.
  static constexpr size_t kHoleSlots = 4;

  // Errors: as Fabric::Register.
  static absl::StatusOr<std::unique_ptr<Landing>> Create(
      fabric::Fabric* fabric, const logstore::Geometry& geometry);
  ~Landing();
  Landing(const Landing&) = delete;
  Landing& operator=(const Landing&) = delete;

  // A pair of cells each.
  std::byte* commit_cells() const { return base_; }
  std::byte* epoch_cells(size_t backup) const;
  // For READs whose answer nobody looks at: one cell.
  std::byte* scratch() const;
  // Room for one record.
  std::byte* hole(size_t slot) const;
  // The same, for a value that comes back to the primary.
  std::byte* refill() const { return hole(kHoleSlots); }
  metadata_mcast::MetadataStaging staging(size_t backup) const;

 private:
  Landing(fabric::Fabric* fabric, const logstore::Geometry& geometry);

  fabric::Fabric* const fabric_;
  const uint64_t hole_bytes_;
  const uint32_t ring_slots_;
  std::byte* base_ = nullptr;
  size_t length_bytes_ = 0;
  fabric::RegionId region_;
};

}  // namespace whale::node

#endif  // WHALE_NODE_LANDING_H_

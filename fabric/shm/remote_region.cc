#include "fabric/shm/remote_region.h"

#include "common/status_macros.h"

namespace whale::fabric::shm {
namespace {

// Pages of a server's pool exist already; entering them all at once is cheaper
// than a fault each during the first writes. Larger pools are left to faults,
// lest the worker stands still.
constexpr uint64_t kPopulateMaxBytes = uint64_t{256} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteRegion>> RemoteRegion::Open(
    const RegionReplyBody& reply, int descriptor, bool file_ok) {
  uint64_t end = 0;
  if (reply.slot >= kGuardSlots || reply.file_offset < kGuardBytes ||
      __builtin_add_overflow(reply.file_offset, reply.length_bytes, &end)) {
    return absl::InvalidArgumentError("its place or bounds make no sense");
  }
  WHALE_RETURN_IF_ERROR(CheckMappable(descriptor, end, file_ok));
  WHALE_ASSIGN_OR_RETURN(
      Mapping memory,
      Mapping::Map(descriptor, end, reply.writable || reply.atomic,
                   file_ok && end <= kPopulateMaxBytes));
  return std::unique_ptr<RemoteRegion>(
      new RemoteRegion(std::move(memory), reply));
}

RemoteRegion::RemoteRegion(Mapping memory, const RegionReplyBody& reply)
    : memory_(std::move(memory)),
      key_(reply.key),
      base_(memory_.base() + reply.file_offset),
      length_bytes_(reply.length_bytes),
      may_read_(reply.readable != 0),
      may_write_(reply.writable != 0),
      may_swap_(reply.atomic != 0),
      writable_(may_write_ || may_swap_),
      slot_(memory_.base(), reply.slot, reply.incarnation) {}

RemoteRegion::~RemoteRegion() {
  if (writable_) slot_.Quit();
}

}  // namespace whale::fabric::shm

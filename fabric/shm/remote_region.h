// A peer's memory, mapped here: what one-sided work is carried out on.
//
// Thread-safety: none. Failure: the owner may revoke at any moment; every use
// goes through the guard.
#ifndef WHALE_FABRIC_SHM_REMOTE_REGION_H_
#define WHALE_FABRIC_SHM_REMOTE_REGION_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "fabric/fabric.h"
#include "fabric/shm/guard.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/mapping.h"

namespace whale::fabric::shm {

class RemoteRegion {
 public:
  // `file_ok`: the peer is a server.
  // Errors: kInvalidArgument (not what the reply says), kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<RemoteRegion>> Open(
      const RegionReplyBody& reply, int descriptor, bool file_ok);
  // Says that it left, so that its place in the guard is free again.
  ~RemoteRegion();

  uint64_t key() const { return key_; }
  // Whether the request's range and kind are granted.
  bool Allows(const WorkRequest& request) const {
    return request.remote_address <= length_bytes_ &&
           request.length_bytes <= length_bytes_ - request.remote_address &&
           AllowsKind(request.opcode);
  }
  // Brackets everything that is done to the memory. False: revoked.
  bool Enter() { return writable_ ? slot_.Enter() : slot_.Valid(); }
  bool Leave() { return writable_ ? slot_.Leave() : slot_.Valid(); }
  std::byte* At(uint64_t address) const { return base_ + address; }

 private:
  RemoteRegion(Mapping memory, const RegionReplyBody& reply);
  bool AllowsKind(Opcode opcode) const {
    switch (opcode) {
      case Opcode::kWrite:
      case Opcode::kWriteWithImm:
        return may_write_;
      case Opcode::kRead:
        return may_read_;
      case Opcode::kCompareSwap:
        return may_swap_;
      case Opcode::kRemoteFlush:
        return true;
    }
    return false;
  }

  Mapping memory_;
  const uint64_t key_;
  std::byte* const base_;
  const uint64_t length_bytes_;
  const bool may_read_, may_write_, may_swap_;
  const bool writable_;
  WriterSlot slot_;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_REMOTE_REGION_H_

// The client's registered memory: where large values lie while servers READ or
// WRITE them.
//
// Created with the first large value. A range is shared by the operation and
// every attempt whose server may still use it, and is free again when the last
// of them lets go; so a range is never reused under a server (the caller lets
// go of an attempt only after its reply, or after Revoke of its connection).
// When even Revoke could not fence a peer (Revocation::kMoveMemory), the whole
// arena of the range is retired and a fresh one takes its place.
//
// Thread-safety: none. Ownership: the fabric outlives it.
#ifndef WHALE_CLIENT_BUFFERS_H_
#define WHALE_CLIENT_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "fabric/fabric.h"
#include "proto/wire.h"

namespace whale::client {

struct BufferArena;

struct BufferRange {
  BufferArena* arena = nullptr;
  uint64_t offset = 0;  // in the registered region
  uint64_t length_bytes = 0;
  uint32_t references = 0;
};

class ClientBuffer {
 public:
  ClientBuffer(fabric::Fabric* fabric, uint64_t capacity_bytes);
  ~ClientBuffer();

  uint64_t capacity_bytes() const { return capacity_bytes_; }

  // Room for `length_bytes`, held once; nullptr when there is none now.
  // Errors (of creating or registering the memory) are kept in `status()`.
  // REQUIRES: 0 < length_bytes <= capacity_bytes().
  BufferRange* Allocate(uint64_t length_bytes);
  const absl::Status& status() const { return status_; }

  // The longest range that Allocate would find now.
  uint64_t LargestFreeBytes() const;

  void Hold(BufferRange* range) { ++range->references; }
  // Accepts nullptr.
  void Release(BufferRange* range);
  // The range may change at any time from now on; takes its arena out of use.
  void Condemn(BufferRange* range);

  std::byte* Data(const BufferRange& range) const;
  wire::BufferGrant MakeGrant(const BufferRange& range,
                              uint64_t length_bytes) const;

 private:
  bool AddArena();

  fabric::Fabric* const fabric_;
  const uint64_t capacity_bytes_;
  absl::Status status_;
  std::vector<std::unique_ptr<BufferArena>> arenas_;  // the last one is in use
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_BUFFERS_H_

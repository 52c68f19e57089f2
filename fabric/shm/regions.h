// Memory registered here: what local buffers may lie in, and what peers may
// ask for.
//
// Thread-safety: none. Ownership: duplicates the descriptors; the memory stays
// the caller's.
#ifndef WHALE_FABRIC_SHM_REGIONS_H_
#define WHALE_FABRIC_SHM_REGIONS_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_descriptor.h"
#include "fabric/fabric.h"
#include "fabric/shm/guard.h"
#include "fabric/shm/layout.h"
#include "fabric/shm/process.h"

namespace whale::fabric::shm {

class Regions {
 public:
  // `listens`: files may be registered. `wait_us`: for writers in mid-copy.
  Regions(bool listens, int64_t wait_us)
      : listens_(listens), wait_us_(wait_us) {}

  absl::StatusOr<RegionId> Register(const Memory& memory, const Access& access);
  void Deregister(RegionId id);
  Grant MakeGrant(RegionId id, uint64_t offset_bytes,
                  uint64_t length_bytes) const;

  // Whether a work request may use this local memory.
  bool Covers(const void* data, size_t length_bytes) const {
    const auto* begin = static_cast<const std::byte*>(data);
    if (last_ < ranges_.size() && ranges_[last_].Covers(begin, length_bytes)) {
      return true;
    }
    return FindRange(begin, length_bytes);
  }

  // A peer presents a key: what it gets. `descriptor` stays owned here and is
  // read-only unless the region may be written.
  struct Handover {
    RegionReplyBody reply{};
    int descriptor = -1;
  };
  // Errors: kNotFound (no such key), kResourceExhausted (guard slots).
  absl::StatusOr<Handover> HandOver(uint64_t key, ConnectionId connection,
                                    const Process& peer);
  Revocation Revoke(ConnectionId connection);
  void EndReaders(ConnectionId connection);

 private:
  // What regions of one descriptor share.
  struct Descriptor {
    uint64_t device = 0, inode = 0;
    std::unique_ptr<Guard> guard;
    uint32_t users = 0;
  };
  struct Region {
    RegionId id;
    Access access;
    uint64_t key = 0;  // 0: not shared
    uint64_t file_offset = 0, length_bytes = 0;
    const std::byte* base = nullptr;
    FileDescriptor fd;
    Descriptor* descriptor = nullptr;
    bool writable() const {
      return access.remote_write || access.remote_atomic;
    }
  };
  struct Range {
    const std::byte* begin;
    uint64_t length_bytes;
    bool Covers(const std::byte* data, uint64_t length) const {
      return data >= begin && length <= length_bytes &&
             static_cast<uint64_t>(data - begin) <= length_bytes - length;
    }
  };

  absl::Status CheckMemory(const Memory& memory, bool shared) const;
  absl::Status Share(const Memory& memory, Region* region);
  absl::StatusOr<Descriptor*> OpenDescriptor(int fd);
  void CloseDescriptor(Descriptor* descriptor);
  const Region* Find(RegionId id) const;
  bool FindRange(const std::byte* data, size_t length_bytes) const;

  const bool listens_;
  const int64_t wait_us_;
  uint64_t next_id_ = 1;
  std::vector<Region> regions_;
  std::vector<Range> ranges_;  // of regions_, for the data path
  mutable size_t last_ = 0;    // where Covers found its range last
  std::vector<std::unique_ptr<Descriptor>> descriptors_;
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_REGIONS_H_

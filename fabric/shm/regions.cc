#include "fabric/shm/regions.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "fabric/shm/mapping.h"

namespace whale::fabric::shm {
namespace {

// Keys: the region's number below, chance above, so that a stale or invented
// key does not fit another region.
constexpr int kKeyNumberBits = 20;

uint64_t MakeKey(RegionId id) {
  uint64_t chance = 0;
  WHALE_CHECK_MSG(getrandom(&chance, sizeof(chance), 0) == sizeof(chance),
                  "the kernel always has random bytes");
  const uint64_t number = id.value & ((uint64_t{1} << kKeyNumberBits) - 1);
  return (chance | uint64_t{1} << 63) << kKeyNumberBits | number;
}

absl::StatusOr<FileDescriptor> Duplicate(int fd, bool writable) {
  // Opened anew and not dup'ed, so that a reader cannot map it writable.
  const std::string path = absl::StrCat("/proc/self/fd/", fd);
  FileDescriptor copy(
      open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (!copy.valid()) {
    return ErrnoStatus(absl::StatusCode::kInvalidArgument,
                       "shm: open the descriptor again", errno);
  }
  return copy;
}

}  // namespace

absl::StatusOr<RegionId> Regions::Register(const Memory& memory,
                                           const Access& access) {
  const bool shared =
      access.remote_read || access.remote_write || access.remote_atomic;
  WHALE_RETURN_IF_ERROR(CheckMemory(memory, shared));
  Region region;
  region.id = RegionId{next_id_};
  region.access = access;
  region.base = memory.base;
  region.length_bytes = memory.length_bytes;
  if (shared) WHALE_RETURN_IF_ERROR(Share(memory, &region));
  ++next_id_;
  ranges_.push_back({memory.base, memory.length_bytes});
  regions_.push_back(std::move(region));
  return regions_.back().id;
}

absl::Status Regions::CheckMemory(const Memory& memory, bool shared) const {
  if (memory.base == nullptr || memory.length_bytes == 0) {
    return absl::InvalidArgumentError("shm: register: no memory given");
  }
  if (!shared) return absl::OkStatus();
  if (memory.fd < 0) {
    return absl::InvalidArgumentError(
        "shm: register: memory for others needs a descriptor; allocate it "
        "with fabric::SharedMemory or map a pool file");
  }
  if (memory.fd_offset < kGuardBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shm: register: the first ", kGuardBytes,
        " bytes of a shared descriptor belong to the fabric, but the memory "
        "begins at ",
        memory.fd_offset));
  }
  absl::Status mappable = CheckMappable(
      memory.fd, memory.fd_offset + memory.length_bytes, listens_);
  if (mappable.ok()) return mappable;
  return absl::InvalidArgumentError(
      absl::StrCat("shm: register: ", mappable.message()));
}

absl::Status Regions::Share(const Memory& memory, Region* region) {
  WHALE_ASSIGN_OR_RETURN(region->fd, Duplicate(memory.fd, region->writable()));
  WHALE_ASSIGN_OR_RETURN(region->descriptor, OpenDescriptor(memory.fd));
  region->file_offset = memory.fd_offset;
  region->key = MakeKey(region->id);
  return absl::OkStatus();
}

absl::StatusOr<Regions::Descriptor*> Regions::OpenDescriptor(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) {
    return ErrnoStatus(absl::StatusCode::kInvalidArgument, "shm: fstat", errno);
  }
  for (const auto& known : descriptors_) {
    if (known->device == status.st_dev && known->inode == status.st_ino) {
      ++known->users;
      return known.get();
    }
  }
  WHALE_ASSIGN_OR_RETURN(std::unique_ptr<Guard> guard,
                         Guard::Open(fd, wait_us_));
  descriptors_.push_back(std::make_unique<Descriptor>(
      Descriptor{status.st_dev, status.st_ino, std::move(guard), 1}));
  return descriptors_.back().get();
}

void Regions::CloseDescriptor(Descriptor* descriptor) {
  if (--descriptor->users > 0) return;
  std::erase_if(descriptors_,
                [&](const auto& d) { return d.get() == descriptor; });
}

void Regions::Deregister(RegionId id) {
  for (size_t i = 0; i < regions_.size(); ++i) {
    if (regions_[i].id != id) continue;
    if (regions_[i].descriptor != nullptr) {
      regions_[i].descriptor->guard->Revoke(id, wait_us_);
      CloseDescriptor(regions_[i].descriptor);
    }
    regions_.erase(regions_.begin() + i);
    ranges_.erase(ranges_.begin() + i);
    return;
  }
}

const Regions::Region* Regions::Find(RegionId id) const {
  for (const Region& region : regions_) {
    if (region.id == id) return &region;
  }
  return nullptr;
}

Grant Regions::MakeGrant(RegionId id, uint64_t offset_bytes,
                         uint64_t length_bytes) const {
  const Region* region = Find(id);
  WHALE_CHECK_MSG(region != nullptr && region->key != 0,
                  "grants are made of registered, shared memory");
  WHALE_CHECK(offset_bytes <= region->length_bytes &&
              length_bytes <= region->length_bytes - offset_bytes);
  return {.key = region->key,
          .address = offset_bytes,
          .length_bytes = length_bytes};
}

bool Regions::FindRange(const std::byte* data, size_t length_bytes) const {
  for (size_t i = 0; i < ranges_.size(); ++i) {
    if (ranges_[i].Covers(data, length_bytes)) {
      last_ = i;
      return true;
    }
  }
  return false;
}

absl::StatusOr<Regions::Handover> Regions::HandOver(uint64_t key,
                                                    ConnectionId connection,
                                                    const Process& peer) {
  for (const Region& region : regions_) {
    if (region.key != key || key == 0) continue;
    WHALE_ASSIGN_OR_RETURN(const uint32_t slot,
                           region.descriptor->guard->Assign(
                               connection, region.id, peer, region.writable()));
    Handover handover;
    handover.reply = {.key = key,
                      .file_offset = region.file_offset,
                      .length_bytes = region.length_bytes,
                      .incarnation = region.descriptor->guard->incarnation(),
                      .slot = slot,
                      .granted = 1,
                      .readable = region.access.remote_read,
                      .writable = region.access.remote_write,
                      .atomic = region.access.remote_atomic};
    handover.descriptor = region.fd.get();
    return handover;
  }
  return absl::NotFoundError("no memory has this key (any more)");
}

Revocation Regions::Revoke(ConnectionId connection) {
  Revocation result = Revocation::kFenced;
  for (const auto& descriptor : descriptors_) {
    if (descriptor->guard->Revoke(connection, wait_us_) ==
        Revocation::kMoveMemory) {
      result = Revocation::kMoveMemory;
    }
  }
  return result;
}

void Regions::EndReaders(ConnectionId connection) {
  for (const auto& descriptor : descriptors_) {
    descriptor->guard->EndReaders(connection);
  }
}

}  // namespace whale::fabric::shm

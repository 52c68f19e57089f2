#include "fabric/verbs/regions.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"

namespace whale::fabric::verbs {
namespace {

// More threads contend for the memory map without getting done sooner.
constexpr size_t kMostThreads = 8;

int AccessFlags(const Access& access) {
  int flags = IBV_ACCESS_LOCAL_WRITE;
  if (access.remote_read) flags |= IBV_ACCESS_REMOTE_READ;
  if (access.remote_write) flags |= IBV_ACCESS_REMOTE_WRITE;
  if (access.remote_atomic) flags |= IBV_ACCESS_REMOTE_ATOMIC;
  return flags;
}

// In MiB, for messages.
uint64_t Mib(uint64_t bytes) { return bytes >> 20; }

}  // namespace

// With the right to FLUSH if peers may write and the memory has it.
MemoryHandle Regions::RegisterWith(void* base, uint64_t length_bytes,
                                   int access) {
  const auto register_with = [&](uint64_t flags) {
    return MemoryHandle(ibv_reg_mr(config_.domain, base, length_bytes,
                                   static_cast<unsigned>(flags)));
  };
  const auto flags = static_cast<uint64_t>(access);
  const bool flush = config_.flush_access != 0 &&
                     (flags & uint64_t{IBV_ACCESS_REMOTE_WRITE}) != 0;
  if (flush) {
    MemoryHandle handle = register_with(flags | config_.flush_access);
    if (handle != nullptr || errno == ENOMEM || errno == EAGAIN) return handle;
  }
  MemoryHandle handle = register_with(flags);
  if (flush && handle != nullptr) flush_refused_ = true;
  return handle;
}

const absl::Status& Regions::OnDemand() {
  std::call_once(on_demand_tried_,
                 [this] { on_demand_ = config_.try_on_demand(); });
  return on_demand_;
}

absl::StatusOr<MemoryHandle> Regions::RegisterPiece(void* base,
                                                    uint64_t length_bytes,
                                                    int access) {
  MemoryHandle handle = RegisterWith(base, length_bytes, access);
  if (handle != nullptr) return handle;
  int error = errno;
  const std::string what =
      absl::StrCat("register ", Mib(length_bytes), " MiB of memory");
  if (error != EOPNOTSUPP) return VerbsError(what, error);
  if (!OnDemand().ok()) {
    return absl::UnimplementedError(
        absl::StrCat("verbs: ", what,
                     ": this memory (a file on fs-dax?) cannot be pinned, and ",
                     OnDemand().message(), ": use device-dax"));
  }
  handle = RegisterWith(base, length_bytes, access | IBV_ACCESS_ON_DEMAND);
  error = errno;
  if (handle != nullptr) return handle;
  return VerbsError(what, error);
}

absl::Status Regions::AddPieces(const Memory& memory, const Access& access,
                                RegionId id) {
  const uint64_t base = reinterpret_cast<uint64_t>(memory.base);
  const uint64_t length = memory.length_bytes;
  const uint64_t step = config_.piece_bytes;
  const uint64_t overlap = std::min(kPieceOverlapBytes, step);
  std::vector<Piece> pieces;
  for (uint64_t begin = 0; begin < length; begin += step) {
    Piece& piece = pieces.emplace_back();
    piece.begin = base + begin;
    // A rest that the one before covers needs no piece of its own.
    piece.end = base + std::min(length, begin + step + overlap);
    piece.region = id;
    piece.writable = access.remote_write;
    if (piece.end == base + length) break;
  }
  const size_t threads =
      std::min({pieces.size(), kMostThreads,
                std::max<size_t>(std::thread::hardware_concurrency(), 1)});
  std::atomic<size_t> next{0};
  std::mutex mutex;  // guards what follows
  absl::Status failed;
  uint64_t done_bytes = 0;
  const int64_t begun_ns = BootClock().NowNs();
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      Piece& piece = pieces[i];
      auto handle = RegisterPiece(reinterpret_cast<void*>(piece.begin),
                                  piece.end - piece.begin, AccessFlags(access));
      const std::lock_guard lock(mutex);
      if (!handle.ok()) {
        failed.Update(handle.status());
        continue;
      }
      piece.handle = *std::move(handle);
      // The last piece has no other behind it that covers its end, too.
      done_bytes += piece.end == base + length ? piece.end - piece.begin : step;
      if (config_.inform && length >= config_.tell_from_bytes) {
        config_.inform(
            absl::StrCat("registered ", Mib(done_bytes), " of ", Mib(length),
                         " MiB with the adapter in ",
                         (BootClock().NowNs() - begun_ns) / 1'000'000, " ms"));
      }
    }
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  WHALE_RETURN_IF_ERROR(failed);
  std::move(pieces.begin(), pieces.end(), std::back_inserter(pieces_));
  return absl::OkStatus();
}

absl::StatusOr<RegionId> Regions::Register(const Memory& memory,
                                           const Access& access) {
  if (memory.base == nullptr || memory.length_bytes == 0) {
    return absl::InvalidArgumentError("verbs: register: no memory given");
  }
  const RegionId id{next_id_++};
  WHALE_RETURN_IF_ERROR(AddPieces(memory, access, id));
  return id;
}

void Regions::Deregister(RegionId id) {
  std::erase_if(pieces_, [&](const Piece& p) { return p.region == id; });
  last_local_ = 0;
}

Grant Regions::MakeGrant(RegionId id, uint64_t offset_bytes,
                         uint64_t length_bytes) const {
  uint64_t base = 0;
  for (const Piece& piece : pieces_) {
    if (piece.region != id) continue;
    if (base == 0) base = piece.begin;  // the first one comes first
    const uint64_t begin = base + offset_bytes;
    if (begin >= piece.begin && begin + length_bytes <= piece.end) {
      return {.key = piece.handle->rkey,
              .address = begin,
              .length_bytes = length_bytes};
    }
  }
  return {.key = 0, .address = 0, .length_bytes = 0};
}

bool Regions::FindLocalKey(const void* address, uint64_t length_bytes,
                           uint32_t* key) const {
  const uint64_t begin = reinterpret_cast<uint64_t>(address);
  const auto covers = [&](const Piece& piece) {
    return begin >= piece.begin && begin <= piece.end &&
           length_bytes <= piece.end - begin;
  };
  if (last_local_ >= pieces_.size() || !covers(pieces_[last_local_])) {
    const auto found = std::find_if(pieces_.begin(), pieces_.end(), covers);
    if (found == pieces_.end()) return false;
    last_local_ = static_cast<size_t>(found - pieces_.begin());
  }
  *key = pieces_[last_local_].handle->lkey;
  return true;
}

bool Regions::IsWritable(uint64_t key, uint64_t address,
                         uint64_t length_bytes) const {
  return std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    return piece.handle->rkey == key && piece.writable &&
           address >= piece.begin && address <= piece.end &&
           length_bytes <= piece.end - address;
  });
}

}  // namespace whale::fabric::verbs

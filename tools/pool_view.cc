#include "tools/pool_view.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/file_descriptor.h"
#include "common/mappable.h"
#include "common/remote_memory.h"
#include "common/status_macros.h"
#include "logstore/metadata_record.h"
#include "metadata_mcast/cells.h"
#include "pmem/device_dax.h"
#include "pmem/pool_file_header.h"

namespace whale::tools {
namespace {

using metadata_mcast::NewestWhole;

absl::Status OpenError(const std::string& path) {
  const std::string text =
      absl::StrCat("cannot open the pool ", path, ": ", std::strerror(errno));
  return errno == ENOENT ? absl::NotFoundError(text)
                         : absl::PermissionDeniedError(text);
}

absl::Status WithPath(const std::string& path, const absl::Status& status) {
  if (status.message().find(path) != absl::string_view::npos) return status;
  return absl::Status(status.code(),
                      absl::StrCat(path, ": ", status.message()));
}

// What both rings hold, by LSN.
std::vector<logstore::MetadataEntry> RingEntries(
    const logstore::ShardArea& area, uint32_t slots) {
  std::vector<logstore::MetadataEntry> entries;
  for (const std::byte* ring : area.rings) {
    for (uint32_t i = 0; i < slots; ++i) {
      const auto record = LoadRemote<logstore::MetadataRecord>(
          ring + size_t{i} * sizeof(logstore::MetadataRecord));
      if (logstore::CheckMetadataRecord(record)) {
        entries.push_back({record.header, record.hash});
      }
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.header.lsn < b.header.lsn;
  });
  return entries;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PoolView>> PoolView::Open(
    const std::string& path) {
  // Reading a device takes a mapping, which is made writable.
  const int access = pmem::IsDeviceDax(path) ? O_RDWR : O_RDONLY;
  const FileDescriptor file(open(path.c_str(), access | O_CLOEXEC));
  if (file.get() < 0) return OpenError(path);
  const auto header = pmem::ReadPoolFileHeader(file.get(), path);
  if (!header.ok()) return WithPath(path, header.status());
  const size_t length = header->file_bytes;
  WHALE_ASSIGN_OR_RETURN(const Mappable mappable, ExamineMappable(file.get()));
  // Writable, because a pool mends what it can when it is opened: in this
  // mapping only. A device has no private mappings, and is copied.
  const int copied = mappable.is_device_dax ? MAP_ANONYMOUS : 0;
  void* map = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_NORESERVE | copied,
                   copied != 0 ? -1 : file.get(), 0);
  if (map == MAP_FAILED) return OpenError(path);
  auto view = std::unique_ptr<PoolView>(
      new PoolView(path, static_cast<std::byte*>(map), length));
  if (copied != 0) {
    WHALE_RETURN_IF_ERROR(
        pmem::ReadDevice(file.get(), mappable, 0, map, length));
  }
  logstore::Mapping mapping;
  mapping.base = view->map_ + pmem::kGuardBytes;
  mapping.length_bytes = length - pmem::kGuardBytes - 2 * pmem::kPageBytes;
  mapping.domain = &view->domain_;
  auto pool = logstore::Pool::Open(mapping);
  if (!pool.ok()) return WithPath(path, pool.status());
  view->pool_ = *std::move(pool);
  return view;
}

PoolView::~PoolView() {
  pool_.reset();
  munmap(map_, length_);
}

logstore::SegmentMap PoolView::Segments(ShardId shard) const {
  logstore::SegmentMap segments(geometry().segment_bytes);
  for (const logstore::SegmentInfo& segment : pool_->Segments(shard)) {
    segments.Add(segment.number, pool_->SlotBase(segment.slot));
  }
  return segments;
}

Lsn PoolView::KnownCommitted(const logstore::ShardArea& area,
                             const logstore::ShardState& state) const {
  Lsn committed = std::max(state.committed, state.committed_start);
  if (const auto cell = NewestWhole<metadata_mcast::DeliveryCell>(
          area.delivery_cells, state.epoch)) {
    committed = std::max(committed, Lsn(cell->committed));
  }
  if (const auto cell = NewestWhole<metadata_mcast::CommitCell>(
          area.commit_cells, state.epoch)) {
    committed = std::max(committed, Lsn(cell->committed));
  }
  return committed;
}

absl::StatusOr<ShardView> PoolView::Walk(ShardId shard,
                                         logstore::RecordVisitor visit) const {
  ShardView view;
  const auto state = pool_->LoadState(shard);
  if (!state.ok()) return WithPath(path_, state.status());
  view.state = *state;
  const logstore::ShardArea area = pool_->Area(shard);
  view.committed = KnownCommitted(area, view.state);
  logstore::RecoveryFloors floors{.announced = view.state.announced,
                                  .durable = view.state.durable};
  if (const auto cell = NewestWhole<metadata_mcast::DeliveryCell>(
          area.delivery_cells, view.state.epoch)) {
    floors.announced = std::max(floors.announced, Lsn(cell->delivered));
  }
  if (view.state.epoch == Epoch()) return view;  // nothing was ever here
  view.walk = logstore::Walk(Segments(shard), view.state.history,
                             RingEntries(area, geometry().ring_slots),
                             logstore::kLogBegin, floors, visit);
  return view;
}

}  // namespace whale::tools

// What a primary may write into a backup's memory: delivery cells, metadata
// records in the ring, records in the log.
//
// Cells and metadata records are given their checksums, or not; the announcer
// announces only what is whole, each record once and in order, or reports
// damage.
#include <cstring>
#include <optional>

#include "common/check.h"
#include "logstore/log.h"
#include "logstore/metadata_record.h"
#include "logstore/test_memory.h"
#include "metadata_mcast/announcer.h"
#include "tests/fuzz/input.h"

namespace whale::metadata_mcast {
namespace {

using logstore::MetadataRecord;

constexpr Epoch kEpoch{1};
constexpr ShardId kShard{0};

class World {
 public:
  World()
      : pool_(logstore::SmallGeometry(4096, 4, 1)),
        log_(pool_.pool.get(), kShard),
        area_(pool_.pool->Area(kShard)),
        ring_slots_(pool_.pool->geometry().ring_slots) {
    WHALE_CHECK(log_.AddSegment(1).ok());
    WHALE_CHECK(log_.AddSegment(2).ok());
    history_.Add(kEpoch, log_.begin());
    announcer_.emplace(AnnouncerConfig{.epoch = kEpoch,
                                       .start = log_.begin(),
                                       .committed = log_.begin(),
                                       .delivery_cells = area_.delivery_cells,
                                       .ring = area_.rings[0],
                                       .ring_slots = ring_slots_,
                                       .tries_before_damage = 4});
  }

  void Step(fuzz::Input& input) {
    switch (input.Take<uint8_t>() % 4) {
      case 0:
        return WriteCell(input);
      case 1:
        return WriteMetadata(input);
      case 2:
        return WriteLog(input);
      default:
        return Announce();
    }
  }

 private:
  void WriteCell(fuzz::Input& input) {
    const bool sealed = input.Take<uint8_t>() % 8 != 0;
    auto cell = input.Take<DeliveryCell>();
    if (sealed) {
      cell.epoch = kEpoch.value();
      cell.sequence %= 64;
      SealCell(cell);
    }
    std::memcpy(area_.delivery_cells + CellOffset<DeliveryCell>(cell.sequence),
                &cell, sizeof(cell));
  }
  void WriteMetadata(fuzz::Input& input) {
    const bool sealed = input.Take<uint8_t>() % 8 != 0;
    const uint64_t slot = input.TakeBelow(ring_slots_);
    auto record = input.Take<MetadataRecord>();
    if (sealed) {
      logstore::RecordHeader& header = record.header;
      header.magic = logstore::kRecordMagic;
      header.type = static_cast<logstore::RecordType>(
          1 + static_cast<int>(header.type) % 9);
      header.zero16 = 0;
      header.zero32 = 0;
      header.epoch_low = 1;
      if (header.flags % 2 == 0) header.lsn = announcer_->announced().value();
      record = logstore::MakeMetadataRecord(header, record.hash);
    }
    std::memcpy(area_.rings[0] + slot * sizeof(record), &record,
                sizeof(record));
  }
  void WriteLog(fuzz::Input& input) {
    const uint64_t segment = 1 + input.TakeBelow(2);
    const uint64_t at = input.TakeBelow(4096);
    const std::string_view bytes = input.TakeString().substr(0, 4096 - at);
    std::memcpy(log_.SegmentBase(segment) + at, bytes.data(), bytes.size());
  }
  void Announce() {
    Lsn last = announcer_->announced();
    announcer_->Announce(log_, history_, [&](const Announced& record) {
      WHALE_CHECK(record.lsn >= last);
      WHALE_CHECK(logstore::IsWellFormed(record.header));
      WHALE_CHECK(record.header.lsn == record.lsn.value());
      last = record.lsn;
    });
    WHALE_CHECK(announcer_->announced() >= last);
    announcer_->ReleaseRing(announcer_->announced());
  }

  logstore::TestPool pool_;
  logstore::Log log_;
  const logstore::ShardArea area_;
  const uint32_t ring_slots_;
  logstore::History history_;
  std::optional<Announcer> announcer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  fuzz::Input input(data, length);
  World world;
  for (int i = 0; i < 64 && !input.empty(); ++i) world.Step(input);
  return 0;
}

}  // namespace whale::metadata_mcast

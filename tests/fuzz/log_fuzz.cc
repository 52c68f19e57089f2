// The bytes of a log, and the metadata records of its rings, are anything.
//
// The input is a list of things to find there: records that check themselves
// with whatever fields, bytes at whatever place, metadata records, cut
// histories. Reading the log again never goes beyond it, tells only of valid
// records, and gives the same when it is done twice.
#include <cstring>
#include <vector>

#include "common/check.h"
#include "logstore/log.h"
#include "logstore/metadata_record.h"
#include "logstore/recovery.h"
#include "logstore/test_memory.h"
#include "tests/fuzz/input.h"

namespace whale::logstore {
namespace {

constexpr uint64_t kSegments = 4;

class World {
 public:
  World()
      : pool_(SmallGeometry(4096, 8, 1)), log_(pool_.pool.get(), ShardId(0)) {
    for (uint64_t number = 1; number <= kSegments; ++number) {
      WHALE_CHECK(log_.AddSegment(number).ok());
    }
    log_.set_end(log_.begin());
    history_.Add(Epoch(1), log_.begin());
  }

  void Step(fuzz::Input& input) {
    switch (input.Take<uint8_t>() % 6) {
      case 0:
        return Append(input);
      case 1:
        return Overwrite(input);
      case 2:
        return AddMetadata(input);
      case 3:
        return CutHistory(input);
      case 4:
        return FreeSegment(input);
      default:
        return Floors(input);
    }
  }

  void Check() {
    std::vector<Lsn> seen;
    const auto visit = [&](Lsn lsn, const RecordHeader& header) {
      WHALE_CHECK(seen.empty() || seen.back() < lsn);
      WHALE_CHECK(IsWellFormed(header));
      seen.push_back(lsn);
    };
    const RecoveryResult first =
        Walk(log_.segments(), history_, metadata_, kLogBegin, floors_, visit);
    seen.clear();
    const RecoveryResult second =
        Recover(log_, history_, metadata_, kLogBegin, floors_, visit);
    WHALE_CHECK(first.end == second.end);
    WHALE_CHECK(first.holes.size() == second.holes.size());
    WHALE_CHECK(log_.end() == second.end);
    const size_t records = seen.size();
    seen.clear();
    const RecoveryResult third =
        Recover(log_, history_, metadata_, kLogBegin, floors_, visit);
    WHALE_CHECK(third.end == second.end && third.restored == 0);
    WHALE_CHECK(seen.size() == records);
  }

 private:
  Lsn TakeLsn(fuzz::Input& input) {
    return Lsn(input.TakeBelow((kSegments + 2) * 4096) / 16 * 16);
  }
  RecordHeader TakeHeader(fuzz::Input& input, Lsn lsn) {
    auto header = input.Take<RecordHeader>();
    header.magic = kRecordMagic;
    header.type =
        static_cast<RecordType>(1 + static_cast<int>(header.type) % 9);
    header.zero16 = 0;
    header.zero32 = 0;
    header.epoch_low %= 4;
    header.lsn = lsn.value();
    return header;
  }
  // A record with a right checksum, whatever it claims, at the end.
  void Append(fuzz::Input& input) {
    const Lsn lsn = log_.end();
    RecordHeader header = TakeHeader(input, lsn);
    const uint64_t room = 4096 - lsn.value() % 4096;
    if (!log_.HasSegment(log_.SegmentOf(lsn)) || room < sizeof(header)) return;
    const uint64_t body = room - sizeof(header);
    header.key_bytes %= std::min<uint64_t>(body, kMaxKeyBytes) + 1;
    header.value_bytes %= body - header.key_bytes + 1;
    std::byte* to = log_.At(lsn);
    const std::string_view bytes = input.TakeString().substr(0, body);
    std::memcpy(to + sizeof(header), bytes.data(), bytes.size());
    std::memcpy(to, &header, sizeof(header));
    header.checksum = header.type == RecordType::kPad ? HeaderChecksum(header)
                                                      : ChecksumInPlace(to);
    std::memcpy(to, &header, sizeof(header));
    log_.set_end(log_.After(lsn, RecordBytes(header)));
  }
  void Overwrite(fuzz::Input& input) {
    const uint64_t number = 1 + input.TakeBelow(kSegments);
    const uint64_t at = input.TakeBelow(4096);
    const std::string_view bytes = input.TakeString().substr(0, 4096 - at);
    if (!log_.HasSegment(number)) return;
    std::memcpy(log_.SegmentBase(number) + at, bytes.data(), bytes.size());
  }
  // As the rings are read: what does not check itself is not handed on.
  void AddMetadata(fuzz::Input& input) {
    const bool at_end = input.Take<uint8_t>() % 2 == 0;
    RecordHeader header =
        TakeHeader(input, at_end ? log_.end() : TakeLsn(input));
    header.checksum =
        IsWholeInMetadata(header) ? HeaderChecksum(header) : header.checksum;
    const MetadataRecord record =
        MakeMetadataRecord(header, input.Take<uint64_t>());
    if (!CheckMetadataRecord(record)) return;
    metadata_.push_back({record.header, record.hash});
    if (at_end && log_.HasSegment(log_.SegmentOf(log_.end()))) {
      log_.set_end(log_.After(log_.end(), RecordBytes(header)));
    }
  }
  void CutHistory(fuzz::Input& input) {
    history_.Add(Epoch(++epoch_), TakeLsn(input));
  }
  void FreeSegment(fuzz::Input& input) {
    const uint64_t number = 1 + input.TakeBelow(kSegments);
    if (log_.HasSegment(number)) log_.FreeSegment(number);
  }
  void Floors(fuzz::Input& input) {
    floors_ = {.announced = TakeLsn(input), .durable = TakeLsn(input)};
  }

  TestPool pool_;
  Log log_;
  History history_;
  uint64_t epoch_ = 1;
  std::vector<MetadataEntry> metadata_;
  RecoveryFloors floors_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  fuzz::Input input(data, length);
  World world;
  for (int i = 0; i < 64 && !input.empty(); ++i) world.Step(input);
  world.Check();
  return 0;
}

}  // namespace whale::logstore

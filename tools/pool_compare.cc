#include "tools/pool_compare.h"

#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/pool_view.h"

namespace whale::tools {
namespace {

using Views = std::map<uint32_t, std::unique_ptr<PoolView>>;

// The commit watermark of a shard by its primary's newest report.
absl::StatusOr<Lsn> CommittedOf(const proto::ClusterStatus& status,
                                const proto::ShardEntry& shard) {
  for (const proto::ServerReport& report : status.reports()) {
    if (report.server_id() != shard.members(0)) continue;
    for (const proto::ShardReport& s : report.shards()) {
      if (s.shard() == shard.shard()) return Lsn(s.committed());
    }
  }
  return absl::UnavailableError(
      absl::StrCat("no report of the primary of shard ", shard.shard()));
}

// Compares one member's log with the records of another's.
class LogComparison {
 public:
  LogComparison(ShardId shard, Lsn committed, uint32_t server,
                const PoolView& view, uint32_t model_server)
      : shard_(shard),
        committed_(committed),
        server_(server),
        segments_(view.Segments(shard)),
        model_server_(model_server) {}

  void Check(Lsn lsn, const logstore::RecordHeader& header) {
    if (lsn >= committed_ || difference_) return;
    const uint64_t bytes = logstore::TransferBytes(header);
    bytes_ += bytes;
    if (IsMissingInOne(lsn, header)) return;
    if (!segments_.Has(segments_.NumberOf(lsn)) ||
        std::memcmp(&header, segments_.At(lsn), bytes) != 0) {
      difference_ = lsn;
    }
  }

  absl::StatusOr<uint64_t> Result() const {
    if (!difference_) return bytes_;
    return absl::DataLossError(absl::StrCat(
        "servers ", model_server_, " and ", server_, " differ in shard ",
        shard_.value(), " at LSN ", difference_->value()));
  }

 private:
  // A value that came back too late for its own place.
  bool IsMissingInOne(Lsn lsn, const logstore::RecordHeader& header) const {
    if (!segments_.Has(segments_.NumberOf(lsn))) return false;
    const auto& other =
        *reinterpret_cast<const logstore::RecordHeader*>(segments_.At(lsn));
    return other.lsn == header.lsn &&
           (other.type == logstore::RecordType::kMissing) !=
               (header.type == logstore::RecordType::kMissing);
  }

  const ShardId shard_;
  const Lsn committed_;
  const uint32_t server_;
  const logstore::SegmentMap segments_;
  const uint32_t model_server_;
  std::optional<Lsn> difference_;
  uint64_t bytes_ = 0;
};

absl::StatusOr<uint64_t> CompareShard(const Views& views,
                                      const proto::ShardEntry& shard,
                                      Lsn committed) {
  const ShardId id(static_cast<uint16_t>(shard.shard()));
  uint64_t bytes = 0;
  // Around the ring: each is the model of the next, so that a record that only
  // one of them has is seen whoever it is.
  for (int i = 0; i < shard.members_size(); ++i) {
    const uint32_t model = shard.members(i);
    const uint32_t other = shard.members((i + 1) % shard.members_size());
    LogComparison comparison(id, committed, other, *views.at(other), model);
    WHALE_ASSIGN_OR_RETURN(
        const ShardView view,
        views.at(model)->Walk(
            id, [&](Lsn lsn, const logstore::RecordHeader& header) {
              comparison.Check(lsn, header);
            }));
    if (view.walk.end < committed || !view.walk.damage.empty() ||
        !view.walk.holes.empty()) {
      return absl::DataLossError(absl::StrCat(
          "server ", model, ": the log of shard ", shard.shard(),
          " is not whole below LSN ", committed.value(), " (whole up to ",
          view.walk.end.value(), ", ", view.walk.damage.size(),
          " damaged places, ", view.walk.holes.size(), " holes)"));
    }
    WHALE_ASSIGN_OR_RETURN(bytes, comparison.Result());
  }
  return bytes;
}

}  // namespace

absl::StatusOr<uint64_t> ComparePools(
    const std::map<uint32_t, std::string>& pools,
    const proto::ClusterStatus& status) {
  Views views;
  for (const auto& [server, path] : pools) {
    WHALE_ASSIGN_OR_RETURN(views[server], PoolView::Open(path));
  }
  uint64_t bytes = 0;
  for (const proto::ShardEntry& shard : status.map().shards()) {
    for (const uint32_t server : shard.members()) {
      if (!views.contains(server)) {
        return absl::NotFoundError(
            absl::StrCat("no pool file of server ", server, " is given"));
      }
    }
    WHALE_ASSIGN_OR_RETURN(const Lsn committed, CommittedOf(status, shard));
    WHALE_ASSIGN_OR_RETURN(const uint64_t shard_bytes,
                           CompareShard(views, shard, committed));
    bytes += shard_bytes;
  }
  return bytes;
}

}  // namespace whale::tools

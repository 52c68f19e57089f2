#include "bench/ycsb/verify.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/ycsb/generators.h"
#include "bench/ycsb/values.h"
#include "common/hash.h"
#include "common/status_macros.h"

namespace whale::bench::ycsb {
namespace {

const proto::ShardReport* ReportOf(const proto::ClusterStatus& status,
                                   uint32_t server, uint32_t shard) {
  for (const proto::ServerReport& report : status.reports()) {
    if (report.server_id() != server) continue;
    for (const proto::ShardReport& s : report.shards()) {
      if (s.shard() == shard) return &s;
    }
  }
  return nullptr;
}

// The newest report's number of each server.
std::map<uint32_t, uint64_t> Sequences(const proto::ClusterStatus& status) {
  std::map<uint32_t, uint64_t> sequences;
  for (const proto::ServerReport& report : status.reports()) {
    sequences[report.server_id()] = report.sequence();
  }
  return sequences;
}

// Empty when every server has reported twice since `before` was taken: the
// first of the two may have been under way already, and be old.
std::string WhoIsSilent(const std::map<uint32_t, uint64_t>& before,
                        const proto::ClusterStatus& status) {
  const auto now = Sequences(status);
  for (const auto& [server, sequence] : before) {
    const auto it = now.find(server);
    // A number below the old one is a new life's: both are newer.
    if (it == now.end() ||
        (it->second >= sequence && it->second < sequence + 2)) {
      return absl::StrCat("server ", server, " has not reported since");
    }
  }
  return "";
}

// Empty when every member of every shard has the same, all of it applied.
std::string WhoIsBehind(const proto::ClusterStatus& status) {
  if (status.map().shards().empty()) return "the cluster has no shards";
  for (const proto::ShardEntry& shard : status.map().shards()) {
    std::optional<uint64_t> end;
    for (const uint32_t server : shard.members()) {
      const proto::ShardReport* report =
          ReportOf(status, server, shard.shard());
      const auto behind = [&](std::string_view why) {
        return absl::StrCat("server ", server, ", shard ", shard.shard(), ": ",
                            std::string(why));
      };
      if (report == nullptr) return behind("has not reported");
      if (report->phase() != proto::SHARD_ACTIVE) return behind("not active");
      if (!end) end = report->announced();
      if (report->announced() != *end || report->committed() != *end ||
          report->durable() != *end || report->applied() != *end) {
        return behind(absl::StrCat(
            "the log ends at ", *end, ", announced ", report->announced(),
            ", committed ", report->committed(), ", durable ",
            report->durable(), ", applied ", report->applied()));
      }
    }
  }
  return "";
}

// Keeps reads of one record at all its replicas in step.
class ReadComparison {
 public:
  ReadComparison(Client* client, uint64_t value_bytes)
      : client_(client), values_(value_bytes) {}

  absl::Status Compare(
      uint64_t number,
      const google::protobuf::RepeatedField<uint32_t>& servers) {
    const std::string key = KeyName(number);
    std::optional<absl::StatusOr<ReadResult>> first;
    for (const uint32_t server : servers) {
      ReadOptions options;
      options.replica = server;
      absl::StatusOr<ReadResult> result = client_->Get(key, options);
      if (!result.ok() && !absl::IsNotFound(result.status())) {
        return absl::Status(result.status().code(),
                            absl::StrCat("reading ", key, " at server ", server,
                                         ": ", result.status().message()));
      }
      ++reads_;
      if (result.ok() && !values_.Matches(number, result->value)) {
        return absl::DataLossError(absl::StrCat(
            "server ", server, " has bytes under ", key,
            " that the workload never wrote (another --value-bytes?)"));
      }
      if (!first) {
        first = std::move(result);
      } else if (result.ok() != first->ok() ||
                 (result.ok() && (result->value != (*first)->value ||
                                  result->version != (*first)->version))) {
        return absl::DataLossError(absl::StrCat("servers ", servers[0], " and ",
                                                server, " differ in ", key));
      }
    }
    return absl::OkStatus();
  }

  uint64_t reads() const { return reads_; }

 private:
  Client* client_;
  Values values_;
  uint64_t reads_ = 0;
};

}  // namespace

absl::StatusOr<proto::ClusterStatus> WaitUntilReplicated(
    control::ClusterClient* coordinators, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  std::optional<std::map<uint32_t, uint64_t>> before;
  while (true) {
    WHALE_ASSIGN_OR_RETURN(proto::ClusterStatus status,
                           coordinators->GetStatus(absl::Seconds(5)));
    if (!before) before = Sequences(status);
    std::string behind = WhoIsSilent(*before, status);
    if (behind.empty()) behind = WhoIsBehind(status);
    if (behind.empty()) return status;
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("not replicated after ", absl::FormatDuration(timeout),
                       ": ", behind));
    }
    absl::SleepFor(absl::Milliseconds(100));
  }
}

absl::StatusOr<uint64_t> CompareReads(const ClientOptions& options,
                                      const proto::ClusterStatus& status,
                                      uint64_t records, uint64_t samples,
                                      uint64_t value_bytes) {
  WHALE_ASSIGN_OR_RETURN(const auto client, Client::Connect(options));
  ReadComparison comparison(client.get(), value_bytes);
  const uint64_t step = std::max<uint64_t>(records / samples, 1);
  const auto shards = static_cast<uint32_t>(status.map().shards_size());
  for (uint64_t number = 0; number < records; number += step) {
    const ShardId shard = ShardOfHash(HashKey(KeyName(number)), shards);
    WHALE_RETURN_IF_ERROR(comparison.Compare(
        number, status.map().shards(shard.value()).members()));
  }
  return comparison.reads();
}

}  // namespace whale::bench::ycsb

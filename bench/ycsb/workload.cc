#include "bench/ycsb/workload.h"

#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace whale::bench::ycsb {
namespace {

constexpr std::array<Workload, 6> kWorkloads = {{
    {.letter = 'a', .reads = 0.5, .updates = 0.5},
    {.letter = 'b', .reads = 0.95, .updates = 0.05},
    {.letter = 'c', .reads = 1},
    {.letter = 'd',
     .reads = 0.95,
     .inserts = 0.05,
     .distribution = Distribution::kLatest},
    {.letter = 'f', .reads = 0.5, .read_modify_writes = 0.5},
    {.letter = 'w', .updates = 1},
}};

}  // namespace

std::string_view OperationName(OperationKind kind) {
  switch (kind) {
    case OperationKind::kRead:
      return "READ";
    case OperationKind::kUpdate:
      return "UPDATE";
    case OperationKind::kInsert:
      return "INSERT";
    case OperationKind::kReadModifyWrite:
      return "READ-MODIFY-WRITE";
  }
  WHALE_CHECK(false);
}

std::string_view DistributionName(Distribution distribution) {
  switch (distribution) {
    case Distribution::kZipfian:
      return "zipfian";
    case Distribution::kLatest:
      return "latest";
    case Distribution::kUniform:
      return "uniform";
  }
  WHALE_CHECK(false);
}

absl::StatusOr<Distribution> ParseDistribution(std::string_view name) {
  for (const Distribution d : {Distribution::kZipfian, Distribution::kLatest,
                               Distribution::kUniform}) {
    if (name == DistributionName(d)) return d;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no distribution is called \"", std::string(name),
                   "\"; there are zipfian, latest and uniform"));
}

absl::StatusOr<Workload> WorkloadByName(std::string_view name) {
  const std::string lower =
      absl::AsciiStrToLower(absl::string_view(name.data(), name.size()));
  if (lower == "e") {
    return absl::UnimplementedError(
        "workload E consists of scans, which are not supported: keys are "
        "hashed to shards and have no order; use a, b, c, d, f or w");
  }
  for (const Workload& workload : kWorkloads) {
    if (lower.size() == 1 && lower[0] == workload.letter) return workload;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no workload is called \"", lower, "\"; use a, b, c, d, f or w"));
}

void InsertSequence::Stored(uint64_t record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  uint64_t stored = stored_.load(std::memory_order_relaxed);
  if (record != stored) {
    early_.insert(record);
    return;
  }
  ++stored;
  while (!early_.empty() && *early_.begin() == stored) {
    early_.erase(early_.begin());
    ++stored;
  }
  stored_.store(stored, std::memory_order_release);
}

Chooser::Chooser(const Workload& workload, InsertSequence* sequence,
                 uint64_t seed)
    : workload_(workload), sequence_(sequence), prng_(seed) {
  const uint64_t records = sequence->stored();
  WHALE_CHECK(records > 0);
  if (workload.distribution == Distribution::kZipfian)
    zipfian_.emplace(records);
  if (workload.distribution == Distribution::kLatest) latest_.emplace(records);
}

OperationKind Chooser::NextKind() {
  double u = prng_.NextDouble();
  if ((u -= workload_.reads) < 0) return OperationKind::kRead;
  if ((u -= workload_.updates) < 0) return OperationKind::kUpdate;
  if ((u -= workload_.inserts) < 0) return OperationKind::kInsert;
  if ((u -= workload_.read_modify_writes) < 0) {
    return OperationKind::kReadModifyWrite;
  }
  return OperationKind::kRead;  // the shares' sum, rounded below 1
}

uint64_t Chooser::NextRecord() {
  if (zipfian_) return zipfian_->Next(prng_);
  const uint64_t records = sequence_->stored();
  return sequence_->NumberOf(latest_ ? latest_->Next(prng_, records)
                                     : prng_.Below(records));
}

}  // namespace whale::bench::ycsb

// The log store alone: append, lookup, index, scan, recovery.
//
// Run on an otherwise idle machine; `--benchmark_filter` picks. The pool is
// anonymous memory, prefaulted, in a domain whose persist is free: what is
// measured is the code, not the medium.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/hash.h"
#include "common/prng.h"
#include "logstore/index.h"
#include "logstore/index_loader.h"
#include "logstore/log.h"
#include "logstore/pool.h"
#include "logstore/recovery.h"
#include "pmem/shm_domain.h"

namespace whale::logstore {
namespace {

constexpr ShardId kShard{0};
constexpr Epoch kEpoch{1};
constexpr uint64_t kSegmentBytes = 8 * kMiB;

Geometry GeometryFor(uint64_t log_bytes) {
  Geometry geometry;
  geometry.shard_count = 1;
  geometry.segment_bytes = kSegmentBytes;
  geometry.segment_slots = static_cast<uint32_t>(log_bytes / kSegmentBytes + 2);
  geometry.ring_slots = 1024;
  return geometry;
}

// A pool with one shard whose log has room for `log_bytes`.
class BenchLog {
 public:
  explicit BenchLog(uint64_t log_bytes) {
    const Geometry geometry = GeometryFor(log_bytes);
    bytes_ = RoundUp(Pool::BytesNeeded(geometry), 4096);
    void* mapped =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
    WHALE_CHECK_MSG(mapped != MAP_FAILED, "not enough memory to measure");
    base_ = static_cast<std::byte*>(mapped);
    pool_ = *Pool::Format(
        {.base = base_, .length_bytes = bytes_, .domain = &domain_}, geometry);
    log_ = std::make_unique<Log>(pool_.get(), kShard);
    for (uint32_t i = 1; i <= geometry.segment_slots; ++i) {
      WHALE_CHECK(log_->AddSegment(i).ok());
    }
  }
  ~BenchLog() { munmap(base_, bytes_); }

  Log& log() { return *log_; }
  const std::byte* base() const { return base_; }
  uint64_t last_segment() const { return pool_->geometry().segment_slots; }

  const RecordHeader* Append(std::string_view key, std::string_view value) {
    if (!log_->Fits(RecordBytes(key.size(), value.size()))) {
      log_->EnterNextSegment(kEpoch);
    }
    const Lsn lsn = log_->Reserve(key.size(), value.size());
    log_->Write(lsn, {.type = RecordType::kPut, .epoch = kEpoch}, key, value);
    return &log_->HeaderAt(lsn);
  }

 private:
  pmem::ShmDomain domain_;
  uint64_t bytes_ = 0;
  std::byte* base_ = nullptr;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Log> log_;
};

// Keys of one length, as in YCSB.
std::string Key(uint64_t i) {
  std::string key = "user";
  const std::string digits = std::to_string(i);
  key.append(16 - digits.size(), '0');
  return key + digits;
}

void Append(benchmark::State& state) {
  BenchLog bench(1024 * kMiB);
  const std::string value(state.range(0), 'v');
  const std::string key = Key(7);
  const uint64_t bytes = RecordBytes(key.size(), value.size());
  for (auto _ : state) {
    if (!bench.log().Fits(bytes) &&
        bench.log().SegmentOf(bench.log().end()) == bench.last_segment()) {
      bench.log().set_end(bench.log().begin());  // round and round
    }
    benchmark::DoNotOptimize(bench.Append(key, value));
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}
BENCHMARK(Append)->Arg(100)->Arg(1024)->Arg(4096)->Arg(65536);

// A whole index of `range(0)` keys, filled and asked; bytes per record are
// the worst that was seen from 100,000 on.
void IndexInsert(benchmark::State& state) {
  const uint64_t keys = state.range(0);
  BenchLog bench(keys * RecordBytes(20, 0) * 21 / 20);
  std::vector<std::pair<uint64_t, const RecordHeader*>> records;
  records.reserve(keys);
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = Key(i);
    records.emplace_back(HashKey(key), bench.Append(key, ""));
  }
  double worst = 0, last = 0;
  for (auto _ : state) {
    Index index(bench.base());
    IndexLoader loader(&index);
    for (uint64_t i = 0; i < keys; ++i) {
      loader.Apply(records[i].first, records[i].second);
      if (i >= 99'999 && i % 4096 == 0) {
        worst = std::max(worst, double(index.memory_bytes()) / index.size());
      }
    }
    loader.Flush();
    last = double(index.memory_bytes()) / index.size();
  }
  state.SetItemsProcessed(state.iterations() * keys);
  state.counters["bytes_per_record"] = last;
  state.counters["worst_bytes_per_record"] = std::max(worst, last);
}
BENCHMARK(IndexInsert)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Arg(10'000'000)
    ->Unit(benchmark::kMillisecond);

void Lookup(benchmark::State& state) {
  const uint64_t keys = state.range(0);
  BenchLog bench(keys * RecordBytes(20, 100) * 21 / 20);
  Index index(bench.base());
  const std::string value(100, 'v');
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = Key(i);
    index.Apply(HashKey(key), bench.Append(key, value));
  }
  Prng prng(1);
  std::vector<std::string> asked;
  for (int i = 0; i < 1 << 16; ++i) asked.push_back(Key(prng.Below(keys)));
  size_t next = 0;
  for (auto _ : state) {
    const std::string& key = asked[next++ & (asked.size() - 1)];
    const RecordHeader* found = index.Find(HashKey(key), key);
    benchmark::DoNotOptimize(found);
    if (found == nullptr) state.SkipWithError("a key is missing");
  }
}
BENCHMARK(Lookup)->Arg(1'000)->Arg(1'000'000)->Arg(5'000'000);

// Over the headers of a log, without looking at what lies between them.
void Scan(benchmark::State& state) {
  constexpr uint64_t kLogBytes = 128 * kMiB;
  BenchLog bench(kLogBytes);
  const std::string value(state.range(0), 'v');
  const uint64_t count =
      (kLogBytes - 16 * kMiB) / RecordBytes(20, value.size());
  for (uint64_t i = 0; i < count; ++i) bench.Append(Key(i), value);
  const Log& log = bench.log();
  for (auto _ : state) {
    uint64_t seen = 0;
    for (Lsn lsn = log.begin(); lsn < log.end();) {
      const RecordHeader& header = log.HeaderAt(lsn);
      seen += IsKeyed(header);
      lsn = lsn + RecordBytes(header);
    }
    if (seen != count) state.SkipWithError("records are missing");
  }
  state.SetItemsProcessed(state.iterations() * count);
  state.SetBytesProcessed(state.iterations() * (log.end() - log.begin()));
}
BENCHMARK(Scan)->Arg(100)->Arg(4096)->Unit(benchmark::kMillisecond);

// From the bytes of a pool to the end of the log, with and without an index.
void Recovery(benchmark::State& state) {
  constexpr uint64_t kLogBytes = 512 * kMiB;
  BenchLog bench(kLogBytes);
  const std::string value(state.range(0), 'v');
  const bool with_index = state.range(1) != 0;
  const uint64_t count =
      (kLogBytes - 16 * kMiB) / RecordBytes(20, value.size());
  for (uint64_t i = 0; i < count; ++i) bench.Append(Key(i), value);
  History history;
  history.Add(kEpoch, Lsn(0));
  uint64_t bytes = 0, records = 0;
  for (auto _ : state) {
    Index index(bench.base());
    IndexLoader loader(&index);
    const RecoveryResult result =
        Recover(bench.log(), history, {}, kLogBegin, {},
                [&](Lsn, const RecordHeader& header) {
                  if (with_index && IsKeyed(header)) {
                    loader.Apply(HashKey(KeyOf(header)), &header);
                  }
                });
    loader.Flush();
    if (result.Count(RecordType::kPut) != count) {
      state.SkipWithError("records are missing");
    }
    bytes += result.bytes;
    records += result.records;
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(records);
}
BENCHMARK(Recovery)
    ->ArgNames({"value_bytes", "index"})
    ->Args({100, 0})
    ->Args({100, 1})
    ->Args({1024, 0})
    ->Args({1024, 1})
    ->Args({65536, 0})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace whale::logstore

BENCHMARK_MAIN();

// whale dump: writes keys and values to a file.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "chain/missing_values.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "logstore/missing.h"
#include "tools/cluster_flags.h"
#include "tools/line_reader.h"
#include "tools/pool_view.h"
#include "tools/program.h"
#include "tools/records.h"

namespace whale::tools {
namespace {

struct Flags {
  ClusterFlags cluster;
  ReadOptions read;
  std::string format = "auto";
  std::vector<std::string> pools;
  std::string keys;
  bool quiet = false;
  std::string file;
};

// Standard output or a file; errors are found at the end.
class Output {
 public:
  absl::Status Open(const std::string& path) {
    name_ = path;
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    if (file_ == nullptr) return Error();
    return absl::OkStatus();
  }
  void Write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), file_);
    ++records_;
  }
  absl::Status Close() {
    const bool failed = std::ferror(file_) != 0;
    const int closed =
        file_ == stdout ? std::fflush(file_) : std::fclose(file_);
    return failed || closed != 0 ? Error() : absl::OkStatus();
  }
  uint64_t records() const { return records_; }

 private:
  absl::Status Error() const {
    return absl::UnavailableError(
        absl::StrCat("cannot write ", name_, ": ", std::strerror(errno)));
  }
  std::string name_;
  std::FILE* file_ = nullptr;
  uint64_t records_ = 0;
};

// The newest committed record of each key of one shard, by the pool that knows
// most of it.
using Newest =
    std::unordered_map<std::string_view, const logstore::RecordHeader*>;

// What is older than a value that was lost is no key's newest. kUnavailable:
// one is missing and not given up.
absl::Status EraseHidden(const chain::MissingValues& missing, ShardId shard,
                         Newest* newest) {
  if (missing.missing_count() > 0) {
    return absl::UnavailableError(absl::StrCat(
        missing.missing_count(), " values of shard ", shard.value(),
        " are not in this pool, nor in others of its configuration; bring the "
        "servers that have them back, or see whale admin declare-lost"));
  }
  if (missing.empty()) return absl::OkStatus();
  std::erase_if(*newest, [&missing](const auto& entry) {
    return missing.Hiding(HashKey(entry.first), entry.first.size(),
                          logstore::VersionOf(*entry.second)) != nullptr;
  });
  return absl::OkStatus();
}

absl::Status CollectShard(const PoolView& pool, ShardId shard, Newest* newest) {
  WHALE_ASSIGN_OR_RETURN(
      const ShardView state,
      pool.Walk(shard, [](Lsn, const logstore::RecordHeader&) {}));
  if (!state.walk.damage.empty()) {
    return absl::DataLossError(absl::StrCat(
        pool.path(), ": the log of shard ", shard.value(),
        " is damaged; give another server's pool (whale log verify says "
        "more)"));
  }
  for (const logstore::Hole& hole : state.walk.holes) {
    if (hole.lsn >= state.committed) continue;
    return absl::UnavailableError(
        absl::StrCat(pool.path(), ": values of shard ", shard.value(),
                     " had not come yet, the first at LSN ", hole.lsn.value(),
                     "; give its primary's pool"));
  }
  chain::MissingValues missing;
  WHALE_RETURN_IF_ERROR(
      pool.Walk(shard,
                [&](Lsn lsn, const logstore::RecordHeader& header) {
                  if (lsn >= state.committed) return;
                  if (header.type == logstore::RecordType::kMissing) {
                    missing.OnMissing(header);
                  } else if (header.type == logstore::RecordType::kLost) {
                    missing.OnLost(header);
                  }
                  if (!logstore::IsKeyed(header)) return;
                  missing.OnKeyed(logstore::KeyHashOf(header), header);
                  auto& entry = (*newest)[KeyOf(header)];
                  if (entry == nullptr || logstore::VersionOf(*entry) <=
                                              logstore::VersionOf(header)) {
                    entry = &header;
                  }
                })
          .status());
  return EraseHidden(missing, shard, newest);
}

// Which pool knows the most committed records of a shard; nullptr: none has it.
absl::StatusOr<const PoolView*> BestPool(
    const std::vector<std::unique_ptr<PoolView>>& pools, ShardId shard) {
  const PoolView* best = nullptr;
  Lsn most;
  for (const auto& pool : pools) {
    WHALE_ASSIGN_OR_RETURN(
        const ShardView view,
        pool->Walk(shard, [](Lsn, const logstore::RecordHeader&) {}));
    if (view.state.epoch == Epoch()) continue;
    if (best == nullptr || view.committed > most) {
      best = pool.get();
      most = view.committed;
    }
  }
  return best;
}

absl::Status DumpPools(const Flags& flags, RecordFormat format,
                       Output* output) {
  std::vector<std::unique_ptr<PoolView>> pools;
  for (const std::string& path : flags.pools) {
    WHALE_ASSIGN_OR_RETURN(auto pool, PoolView::Open(path));
    pools.push_back(std::move(pool));
  }
  for (uint32_t i = 0; i < pools[0]->geometry().shard_count; ++i) {
    const ShardId shard(static_cast<uint16_t>(i));
    WHALE_ASSIGN_OR_RETURN(const PoolView* pool, BestPool(pools, shard));
    if (pool == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("shard ", i,
                       " is in none of these pools; give those of "
                       "all servers"));
    }
    Newest newest;
    WHALE_RETURN_IF_ERROR(CollectShard(*pool, shard, &newest));
    for (const auto& [key, header] : newest) {
      if (logstore::IsTombstone(*header)) continue;
      output->Write(FormatRecord(format, key, ValueOf(*header)));
    }
  }
  return absl::OkStatus();
}

absl::Status DumpKeys(const Flags& flags, RecordFormat format, Output* output) {
  std::ifstream file(flags.keys, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot read ", flags.keys));
  }
  WHALE_ASSIGN_OR_RETURN(const auto client, ConnectTo(flags.cluster));
  LineReader lines(&file);
  uint64_t missing = 0;
  std::string line;
  while (true) {
    WHALE_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (!more) break;
    if (line.empty()) continue;
    WHALE_ASSIGN_OR_RETURN(const std::string key,
                           UnescapeField(line.substr(0, line.find('\t'))));
    const auto result = client->Get(key, flags.read);
    if (absl::IsNotFound(result.status())) {
      ++missing;
      continue;
    }
    if (!result.ok()) return result.status();
    output->Write(FormatRecord(format, key, result->value));
  }
  if (missing > 0 && !flags.quiet) {
    std::fprintf(stderr, "dump: %llu keys of the list are not there\n",
                 static_cast<unsigned long long>(missing));
  }
  return absl::OkStatus();
}

absl::Status Dump(const Flags& flags, Output* output) {
  RecordFormat format = FormatOfFile(flags.file);
  if (flags.format != "auto") {
    WHALE_ASSIGN_OR_RETURN(format, ParseRecordFormat(flags.format));
  }
  if (format == RecordFormat::kDpkg) {
    return absl::InvalidArgumentError("--format dpkg can only be loaded");
  }
  if (flags.pools.empty() == flags.keys.empty()) {
    return absl::InvalidArgumentError(
        "the cluster has no list of its keys: give --pool DIR/server-1/pool to "
        "dump a server's pool, or --keys FILE to read these keys from the "
        "cluster");
  }
  WHALE_RETURN_IF_ERROR(output->Open(flags.file));
  const absl::Status status = flags.keys.empty()
                                  ? DumpPools(flags, format, output)
                                  : DumpKeys(flags, format, output);
  const absl::Status closed = output->Close();
  return status.ok() ? closed : status;
}

int Run(const Flags& flags) {
  Output output;
  const absl::Status status = Dump(flags, &output);
  if (!status.ok()) return PrintError(status);
  if (!flags.quiet) {
    std::fprintf(stderr, "dumped %llu records\n",
                 static_cast<unsigned long long>(output.records()));
  }
  return kExitOk;
}

}  // namespace

void RegisterDump(Program& program) {
  Command& command = program.Add(
      "dump", "Writes keys and values to a file",
      "Keys are hashed to shards and cannot be listed through the cluster. So "
      "either --pool reads\nwhat is committed in the pools of servers on this "
      "machine (exact while they are stopped), or\n--keys names the keys to "
      "read, one per line (as in a tsv file). The order is any; whale load\n"
      "reads the result.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddReadFlags(&command.options, &flags->read);
  command.options.AddString("format", &flags->format,
                            "tsv or json; auto goes by the name's end");
  command.options.AddList("pool", &flags->pools,
                          "pools of servers, with commas");
  command.options.AddString("keys", &flags->keys, "file with keys");
  command.options.AddFlag("quiet", &flags->quiet, "no summary");
  command.options.AddArgument("FILE", &flags->file, "to write, or -");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

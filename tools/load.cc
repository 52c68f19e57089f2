// whale load: writes the records of a file, many at a time.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "tools/cluster_flags.h"
#include "tools/program.h"
#include "tools/records.h"

namespace whale::tools {
namespace {

struct Flags {
  ClusterFlags cluster;
  WriteOptions write;
  std::string format = "auto";
  uint32_t in_flight = 256;
  bool quiet = false;
  bool json = false;
  std::string file;
};

// Keeps writes in flight, and counts.
class Loader {
 public:
  Loader(const Flags& flags, Client* client) : flags_(flags), client_(client) {}

  absl::Status Run(RecordReader* reader) {
    while (true) {
      WHALE_ASSIGN_OR_RETURN(const auto record, reader->Next());
      if (!record) break;
      // Writes that are on their way together may take effect in any order;
      // of two under one key the file's last shall win.
      while (keys_.size() >= flags_.in_flight || keys_.contains(record->key)) {
        Turn();
      }
      WHALE_RETURN_IF_ERROR(status_);
      Submit(*record);
    }
    while (!keys_.empty()) Turn();
    return status_;
  }

  uint64_t records() const { return records_; }
  uint64_t bytes() const { return bytes_; }
  double seconds() const {
    return std::max(absl::ToDoubleSeconds(absl::Now() - start_), 1e-9);
  }

 private:
  void Submit(const KeyValue& record) {
    const auto position = keys_.insert(record.key).first;
    const uint64_t size = record.key.size() + record.value.size();
    client_->PutAsync(record.key, record.value, flags_.write,
                      [this, position, size](absl::StatusOr<WriteResult> r) {
                        Done(position, size, r.status());
                      });
  }

  void Done(std::set<std::string>::iterator position, uint64_t size,
            const absl::Status& status) {
    if (status.ok()) {
      ++records_;
      bytes_ += size;
    } else if (status_.ok()) {
      status_ = absl::Status(
          status.code(), absl::StrCat("writing key \"", EscapeField(*position),
                                      "\" failed: ", status.message()));
    }
    keys_.erase(position);
  }

  void Turn() {
    client_->Poll(absl::Milliseconds(100));
    const absl::Time now = absl::Now();
    if (flags_.quiet || now - reported_ < absl::Seconds(1)) return;
    std::fprintf(stderr, "load: %.0f s, %llu records, %.0f records/s\n",
                 seconds(), static_cast<unsigned long long>(records_),
                 static_cast<double>(records_ - reported_records_) /
                     absl::ToDoubleSeconds(now - reported_));
    reported_ = now;
    reported_records_ = records_;
  }

  const Flags& flags_;
  Client* const client_;
  std::set<std::string> keys_;  // on their way
  absl::Status status_;         // the first failure
  uint64_t records_ = 0;
  uint64_t bytes_ = 0;
  uint64_t reported_records_ = 0;
  const absl::Time start_ = absl::Now();
  absl::Time reported_ = start_;
};

void PrintSummary(const Loader& loader, bool json) {
  const double rate = static_cast<double>(loader.records()) / loader.seconds();
  if (json) {
    const nlohmann::ordered_json out = {{"records", loader.records()},
                                        {"bytes", loader.bytes()},
                                        {"seconds", loader.seconds()},
                                        {"records_per_second", rate}};
    std::printf("%s\n", out.dump().c_str());
    return;
  }
  std::printf("loaded %llu records, %llu bytes in %.2f s (%.0f records/s)\n",
              static_cast<unsigned long long>(loader.records()),
              static_cast<unsigned long long>(loader.bytes()), loader.seconds(),
              rate);
}

int Run(const Flags& flags) {
  auto format = flags.format == "auto"
                    ? absl::StatusOr<RecordFormat>(FormatOfFile(flags.file))
                    : ParseRecordFormat(flags.format);
  if (!format.ok()) return PrintError(format.status());
  std::ifstream file;
  if (flags.file != "-") {
    file.open(flags.file, std::ios::binary);
    if (!file) {
      return PrintError(
          absl::InvalidArgumentError(absl::StrCat("cannot read ", flags.file)));
    }
  }
  std::istream& input = flags.file == "-" ? std::cin : file;
  const auto client = ConnectTo(flags.cluster);
  if (!client.ok()) return PrintError(client.status());
  const auto reader = NewRecordReader(*format, &input);
  Loader loader(flags, client->get());
  const absl::Status status = loader.Run(reader.get());
  if (!status.ok()) {
    return PrintError(absl::Status(
        status.code(),
        absl::StrCat(flags.file, ": ", status.message(), " (", loader.records(),
                     " records were written; loading again is safe)")));
  }
  PrintSummary(loader, flags.json);
  return kExitOk;
}

}  // namespace

void RegisterLoad(Program& program) {
  Command& command = program.Add(
      "load", "Writes the records of a file",
      "Formats: tsv  (key TAB value; \\t \\n \\r \\\\ escaped),\n"
      "         json (one {\"key\": .., \"value\": ..} per line; key_base64 "
      "and "
      "value_base64 for bytes),\n"
      "         dpkg (a dpkg status file, each paragraph under its package's "
      "name).\n"
      "Where a key occurs twice, the last one wins.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddDurabilityFlag(&command.options, &flags->write);
  command.options.AddString("format", &flags->format,
                            "tsv, json or dpkg; auto goes by the name's end");
  command.options.AddCount("in-flight", &flags->in_flight,
                           "writes on their way at a time", 1, 65536);
  command.options.AddFlag("quiet", &flags->quiet, "no progress lines");
  command.options.AddFlag("json", &flags->json, "print the summary as JSON");
  command.options.AddArgument("FILE", &flags->file, "what to load, or -");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

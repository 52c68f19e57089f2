// whale log: reads a pool's log offline.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tools/pool_view.h"
#include "tools/program.h"
#include "tools/records.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  bool json = false;
  bool values = false;
  std::string shard = "all";
  std::string file;
};

const char* TypeName(logstore::RecordType type) {
  switch (type) {
    case logstore::RecordType::kPut:
      return "put";
    case logstore::RecordType::kDelete:
      return "delete";
    case logstore::RecordType::kRelocated:
      return "relocated";
    case logstore::RecordType::kOutcome:
      return "outcome";
    case logstore::RecordType::kSessionOpen:
      return "session-open";
    case logstore::RecordType::kSessionEnd:
      return "session-end";
    case logstore::RecordType::kPad:
      return "pad";
    case logstore::RecordType::kSegmentFreed:
      return "segment-freed";
    case logstore::RecordType::kEpochStart:
      return "epoch-start";
    case logstore::RecordType::kMissing:
      return "missing";
    case logstore::RecordType::kLost:
      return "lost";
  }
  return "unknown";
}

std::string Uuid(const logstore::Uuid& uuid) {
  return absl::BytesToHexString(absl::string_view(
      reinterpret_cast<const char*>(uuid.data()), uuid.size()));
}

void PrintRecord(ShardId shard, Lsn lsn, const logstore::RecordHeader& header,
                 const Flags& flags) {
  const bool keyed = logstore::IsKeyed(header);
  if (!flags.json) {
    std::string line = absl::StrCat(
        shard.value(), "\t", lsn.value(), "\t", TypeName(header.type), "\t",
        header.epoch_low, "\t", header.session, "\t", header.request, "\t",
        header.value_bytes, "\t", keyed ? EscapeField(KeyOf(header)) : "");
    if (flags.values && keyed) {
      absl::StrAppend(&line, "\t", EscapeField(ValueOf(header)));
    }
    std::printf("%s\n", line.c_str());
    return;
  }
  Json json = {
      {"shard", shard.value()},           {"lsn", lsn.value()},
      {"type", TypeName(header.type)},    {"epoch_low", header.epoch_low},
      {"session", header.session},        {"request", header.request},
      {"value_bytes", header.value_bytes}};
  if (keyed) {
    Json fields = Json::parse(
        FormatRecord(RecordFormat::kJson, KeyOf(header), ValueOf(header)));
    if (!flags.values) {
      fields.erase("value");
      fields.erase("value_base64");
    }
    json.update(fields);
  }
  std::printf("%s\n", json.dump().c_str());
}

// Calls `run` for the shards asked for.
template <typename Run>
absl::Status ForShards(const PoolView& view, const Flags& flags, Run run) {
  std::optional<uint64_t> only;
  if (flags.shard != "all") {
    const auto shard =
        ParseCount(flags.shard, 0, view.geometry().shard_count - 1);
    if (!shard.ok()) return shard.status();
    only = *shard;
  }
  for (uint32_t i = 0; i < view.geometry().shard_count; ++i) {
    if (only && *only != i) continue;
    const absl::Status status = run(ShardId(static_cast<uint16_t>(i)));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

int RunDump(const Flags& flags) {
  const auto view = PoolView::Open(flags.file);
  if (!view.ok()) return PrintError(view.status());
  if (!flags.json) {
    std::printf(
        "# shard\tLSN\ttype\tepoch\tsession\trequest\tvalue bytes\t"
        "key%s\n",
        flags.values ? "\tvalue" : "");
  }
  const absl::Status status =
      ForShards(**view, flags, [&](ShardId shard) -> absl::Status {
        return (*view)
            ->Walk(shard,
                   [&](Lsn lsn, const logstore::RecordHeader& header) {
                     PrintRecord(shard, lsn, header, flags);
                   })
            .status();
      });
  return status.ok() ? kExitOk : PrintError(status);
}

Json ShardJson(ShardId shard, const ShardView& view) {
  Json json = {{"shard", shard.value()},
               {"epoch", view.state.epoch.value()},
               {"begin", view.walk.begin.value()},
               {"end", view.walk.end.value()},
               {"committed", view.committed.value()},
               {"records", view.walk.records},
               {"bytes", view.walk.bytes},
               {"holes", view.walk.holes.size()},
               {"torn_tail", view.walk.torn_tail},
               {"damage", Json::array()}};
  for (const logstore::Damage& damage : view.walk.damage) {
    json["damage"].push_back(
        {{"begin", damage.begin.value()}, {"end", damage.end.value()}});
  }
  return json;
}

std::string ShardText(ShardId shard, const ShardView& view) {
  if (view.state.epoch == Epoch()) {
    return absl::StrCat("shard ", shard.value(), ": nothing here\n");
  }
  std::string text = absl::StrCat(
      "shard ", shard.value(), ": epoch ", view.state.epoch.value(), ", LSN ",
      view.walk.begin.value(), " to ", view.walk.end.value(), ", committed ",
      view.committed.value(), ", ", view.walk.records, " records, ",
      HumanBytes(view.walk.bytes));
  if (!view.walk.holes.empty()) {
    absl::StrAppend(&text, ", ", view.walk.holes.size(),
                    " values still to come, the first at LSN ",
                    view.walk.holes.front().lsn.value());
  }
  if (view.walk.torn_tail) {
    absl::StrAppend(&text, ", a torn record at the end (as after a kill)");
  }
  absl::StrAppend(&text, "\n");
  for (const logstore::Damage& damage : view.walk.damage) {
    absl::StrAppend(&text, "shard ", shard.value(), ": DAMAGED from LSN ",
                    damage.begin.value(), " to ", damage.end.value(), "\n");
  }
  return text;
}

int RunVerify(const Flags& flags) {
  const auto view = PoolView::Open(flags.file);
  if (!view.ok()) return PrintError(view.status());
  const logstore::Geometry& geometry = (*view)->geometry();
  Json json = {{"file", flags.file},
               {"server", geometry.server.value()},
               {"pool_uuid", Uuid(geometry.pool_uuid)},
               {"cluster_uuid", Uuid(geometry.cluster_uuid)},
               {"segment_bytes", geometry.segment_bytes},
               {"shards", Json::array()}};
  std::string text =
      absl::StrCat("pool of server ", geometry.server.value(), ", cluster ",
                   Uuid(geometry.cluster_uuid), "\n");
  uint64_t damaged = 0;
  const absl::Status status =
      ForShards(**view, flags, [&](ShardId shard) -> absl::Status {
        const auto walked =
            (*view)->Walk(shard, [](Lsn, const logstore::RecordHeader&) {});
        if (!walked.ok()) return walked.status();
        damaged += walked->walk.damage.size();
        json["shards"].push_back(ShardJson(shard, *walked));
        absl::StrAppend(&text, ShardText(shard, *walked));
        return absl::OkStatus();
      });
  json["damaged_places"] = damaged;
  if (status.ok()) {
    std::printf("%s",
                flags.json ? (json.dump(2) + "\n").c_str() : text.c_str());
  }
  if (!status.ok()) return PrintError(status);
  if (damaged == 0) return kExitOk;
  return PrintError(absl::DataLossError(absl::StrCat(
      flags.file, ": ", damaged,
      " damaged places; this replica must be refilled from the others")));
}

void AddCommonFlags(Command& command, Flags* flags) {
  command.options.AddString("shard", &flags->shard, "a number, or all");
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.options.AddArgument("FILE", &flags->file,
                              "a server's pool, DIR/pool");
}

}  // namespace

void RegisterLog(Program& program) {
  program.Group("log", "Reads the log in a pool, offline");
  {
    Command& command =
        program.Add("log dump", "Prints the records of a pool's logs",
                    "Reads the file only; best while its server is stopped.");
    auto flags = std::make_shared<Flags>();
    AddCommonFlags(command, flags.get());
    command.options.AddFlag("values", &flags->values, "values too");
    command.run = [flags] { return RunDump(*flags); };
  }
  Command& command = program.Add(
      "log verify", "Checks every record of a pool's logs",
      "Checksums, positions and epochs of all records, and that nothing is "
      "missing that was made\ndurable. Exit code 2 when something is damaged. "
      "Reads the file only.");
  auto flags = std::make_shared<Flags>();
  AddCommonFlags(command, flags.get());
  command.run = [flags] { return RunVerify(*flags); };
}

}  // namespace whale::tools

// whale cas: writes one key if it still has a version.
#include <limits>
#include <memory>
#include <string>

#include "tools/cluster_flags.h"
#include "tools/operation.h"
#include "tools/program.h"
#include "tools/value_parse.h"

namespace whale::tools {
namespace {

struct Flags {
  ClusterFlags cluster;
  WriteOptions write;
  bool json = false;
  std::string key;
  std::string version;
  std::string value;
};

int Run(const Flags& flags) {
  const auto version =
      ParseCount(flags.version, 0, std::numeric_limits<uint64_t>::max());
  if (!version.ok()) return PrintError(version.status());
  const auto value = ValueOf(flags.value);
  if (!value.ok()) return PrintError(value.status());
  const auto client = ConnectTo(flags.cluster);
  if (!client.ok()) return PrintError(client.status());
  return PrintWrite(
      flags.key,
      (*client)->CompareAndPut(flags.key, *version, *value, flags.write),
      flags.json);
}

}  // namespace

void RegisterCas(Program& program) {
  Command& command = program.Add(
      "cas", "Writes a value if the key still has a version",
      "VERSION is what put, cas or get --json printed; 0 means that the key "
      "must be absent.\nExit code 1 when it has another version. A VALUE of - "
      "is read from standard input.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddDurabilityFlag(&command.options, &flags->write);
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.options.AddArgument("KEY", &flags->key, "1 B to 4 KiB");
  command.options.AddArgument("VERSION", &flags->version, "expected version");
  command.options.AddArgument("VALUE", &flags->value, "0 B to 4 MiB, or -");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

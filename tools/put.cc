// whale put: writes one key.
#include <memory>
#include <string>

#include "tools/cluster_flags.h"
#include "tools/operation.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

struct Flags {
  ClusterFlags cluster;
  WriteOptions write;
  bool json = false;
  std::string key;
  std::string value;
};

int Run(const Flags& flags) {
  const auto value = ValueOf(flags.value);
  if (!value.ok()) return PrintError(value.status());
  const auto client = ConnectTo(flags.cluster);
  if (!client.ok()) return PrintError(client.status());
  return PrintWrite(flags.key, (*client)->Put(flags.key, *value, flags.write),
                    flags.json);
}

}  // namespace

void RegisterPut(Program& program) {
  Command& command = program.Add(
      "put", "Writes a value under a key",
      "Prints the key's new version and how many durable copies the value has "
      "so far.\nA VALUE of - is read from standard input.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddDurabilityFlag(&command.options, &flags->write);
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.options.AddArgument("KEY", &flags->key, "1 B to 4 KiB");
  command.options.AddArgument("VALUE", &flags->value, "0 B to 4 MiB, or -");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

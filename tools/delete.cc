// whale delete: deletes one key.
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
  uint64_t if_version = 0;
  std::string key;
};

int Run(const Flags& flags) {
  const auto client = ConnectTo(flags.cluster);
  if (!client.ok()) return PrintError(client.status());
  return PrintWrite(
      flags.key,
      flags.if_version == 0
          ? (*client)->Delete(flags.key, flags.write)
          : (*client)->DeleteIf(flags.key, flags.if_version, flags.write),
      flags.json);
}

}  // namespace

void RegisterDelete(Program& program) {
  Command& command = program.Add(
      "delete", "Deletes a key",
      "Exit code 1 when the key is not there, or has another version than "
      "--if-version.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddDurabilityFlag(&command.options, &flags->write);
  command.options.AddCount("if-version", &flags->if_version,
                           "delete only while the key has this version; 0: "
                           "whatever it has");
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.options.AddArgument("KEY", &flags->key, "1 B to 4 KiB");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

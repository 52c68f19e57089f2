// whale get: reads one key.
#include <memory>
#include <string>

#include "tools/cluster_flags.h"
#include "tools/operation.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

struct Flags {
  ClusterFlags cluster;
  ReadOptions read;
  bool json = false;
  std::string key;
};

int Run(const Flags& flags) {
  const auto client = ConnectTo(flags.cluster);
  if (!client.ok()) return PrintError(client.status());
  return PrintRead(flags.key, (*client)->Get(flags.key, flags.read),
                   flags.json);
}

}  // namespace

void RegisterGet(Program& program) {
  Command& command = program.Add(
      "get", "Reads a key's value",
      "Prints exactly the value's bytes (with --json also the version). Exit "
      "code 1 when the\nkey is not there.");
  auto flags = std::make_shared<Flags>();
  AddClusterFlags(&command.options, &flags->cluster);
  AddReadFlags(&command.options, &flags->read);
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.options.AddArgument("KEY", &flags->key, "1 B to 4 KiB");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools

#include "tools/serve_flags.h"

#include "absl/strings/str_cat.h"

namespace whale::tools {

void AddPoolFlags(Options* options, ServeFlags* flags) {
  options->AddBytes("pool-bytes", &flags->pool_bytes,
                    "size of a server's pool when it is made");
  options->AddBytes("segment-bytes", &flags->segment_bytes,
                    "size of the log's segments when a pool is made; a power "
                    "of two, the same on all servers");
  options->AddCount("ring-slots", &flags->ring_slots,
                    "metadata records on their way when a pool is made; a "
                    "power of two",
                    64, 1 << 20);
  options->AddString("domain", &flags->domain,
                     "memory of the pool: shm (survives processes), pmem "
                     "(persistent memory, DAX)");
  options->AddFlag("allow-non-dax", &flags->allow_non_dax,
                   "take domain pmem on a file system without DAX; survives "
                   "processes only");
  options->AddDuration("spin", &flags->spin,
                       "the longest that an idle worker looks for work before "
                       "it sleeps; less where that brought nothing");
}

void AddServeFlags(Options* options, ServeFlags* flags) {
  AddPoolFlags(options, flags);
  options->AddString("fabric", &flags->fabric,
                     "network between processes: shm (one machine), verbs "
                     "(RDMA adapters), auto (verbs where there is one)");
  options->AddString("fabric-listen", &flags->fabric_listen,
                     "verbs: HOST:PORT on which peers set connections up; "
                     "left out: the address of the chosen GID, any port");
  options->AddString("verbs", &flags->verbs,
                     "verbs: what not to choose by itself, e.g. "
                     "device=mlx5_0,gid-index=3,mtu=4096,traffic-class=106");
  AddLogFlags(options, &flags->log);
}

std::vector<std::string> ServeArguments(const ServeFlags& flags) {
  std::vector<std::string> arguments = {
      "--segment-bytes",
      absl::StrCat(flags.segment_bytes),
      "--ring-slots",
      absl::StrCat(flags.ring_slots),
      "--fabric",
      flags.fabric,
      "--fabric-listen",
      flags.fabric_listen.empty() ? "127.0.0.1:0" : flags.fabric_listen,
      "--verbs",
      flags.verbs,
      "--domain",
      flags.domain,
      "--spin",
      absl::FormatDuration(flags.spin),
      "--log-level",
      flags.log.level,
      "--log-format",
      flags.log.format};
  if (flags.allow_non_dax) arguments.emplace_back("--allow-non-dax");
  return arguments;
}

}  // namespace whale::tools
